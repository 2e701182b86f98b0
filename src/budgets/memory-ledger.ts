/**
 * The memory budget's books: rows with running sums, holds by id and by once key, and what falls due. Holds have
 * their rows by reference: where one was purged, and perhaps made anew under its key, a settlement changes the old
 * one only.
 */
import type { CommitLine, Once, ReserveLine, ReserveRequest } from '../core/budget.js';
import { createDeadlines, type Deadlines, type Timed } from './deadlines.js';

// The contract wants 24 hours for settled and lapsed ids, and one for tombstones; one figure serves all.
const KEEP_CLOSED_MS = 24 * 3_600_000;

// More than a call can add, so that purging keeps up, and few enough that no call pays for a long idle time.
const PURGES_PER_CALL = 16;

// One for all of the many that are closed.
const NONE: readonly HeldLine[] = [];

/** One bucket. `dueAt` is when it may be purged. */
export interface Row extends Timed {
  readonly key: string;
  spent: number;
  held: number;
}

/** One line of a hold. */
export interface HeldLine {
  readonly key: string;
  readonly amount: number;
  readonly row: Row;
}

/** One id. `dueAt` is when its lease ends while it is pending, and when it may be forgotten afterwards. */
export interface HoldRecord extends Timed {
  readonly id: string;
  readonly once: Once | undefined;
  state: 'pending' | 'lapsed' | 'settled' | 'released';
  /** Empty once settled or released. */
  lines: readonly HeldLine[];
  outcome: string | undefined;
}

/** All there is. */
export interface Ledger {
  readonly rows: Map<string, Row>;
  readonly holds: Map<string, HoldRecord>;
  /** Every hold that was not released, by its once key. */
  readonly holdsByOnce: Map<string, HoldRecord>;
  /** Pending holds. */
  readonly leases: Deadlines<HoldRecord>;
  /** Holds that are not pending. */
  readonly closed: Deadlines<HoldRecord>;
  /** Rows that expire. */
  readonly expiring: Deadlines<Row>;
}

/** Makes empty books. */
export function createLedger(): Ledger {
  return {
    rows: new Map(),
    holds: new Map(),
    holdsByOnce: new Map(),
    leases: createDeadlines(),
    closed: createDeadlines(),
    expiring: createDeadlines(),
  };
}

/** Comes before every operation: lapses what has to, forgets a little of what may go, and answers the time. */
export function catchUp(ledger: Ledger): number {
  const now = Date.now();
  for (let record = ledger.leases.takeDue(now); record; record = ledger.leases.takeDue(now)) {
    for (const { row, amount } of record.lines) {
      row.held -= amount;
      row.spent = addUp(row.spent, amount);
    }
    record.state = 'lapsed';
    keep(ledger, record, now);
  }
  for (let purged = 0; purged < PURGES_PER_CALL; purged += 1) {
    const record = ledger.closed.takeDue(now);
    const row = ledger.expiring.takeDue(now);
    if (record === undefined && row === undefined) break;
    if (record) forget(ledger, record);
    if (row) ledger.rows.delete(row.key);
  }
  return now;
}

/** Opens a hold on lines that fit. */
export function open(ledger: Ledger, request: ReserveRequest, now: number): HoldRecord {
  const lines = request.lines.map((line) => {
    const row = rowFor(ledger, line);
    row.held += line.amount;
    return { key: line.key, amount: line.amount, row };
  });
  const { id, once } = request;
  const record = createRecord({ id, once: once && { ...once }, state: 'pending', lines });
  record.dueAt = now + request.leaseMs;
  ledger.holds.set(id, record);
  if (once) ledger.holdsByOnce.set(once.key, record);
  ledger.leases.add(record);
  return record;
}

/** Books lines in place of what a pending hold holds, or a lapsed one has spent. */
export function settle(
  ledger: Ledger,
  record: HoldRecord,
  to: {
    readonly state: 'settled' | 'released';
    readonly lines: readonly CommitLine[];
    readonly outcome: string | undefined;
    readonly now: number;
  },
): void {
  const pending = record.state === 'pending';
  for (const { key, row, amount } of record.lines) {
    if (pending) row.held -= amount;
    else row.spent -= amount;
    const booked = to.lines.find((line) => line.key === key);
    if (booked) row.spent = addUp(row.spent, booked.amount);
  }
  if (pending) ledger.leases.remove(record);
  else ledger.closed.remove(record);
  if (to.state === 'released' && record.once) ledger.holdsByOnce.delete(record.once.key);
  record.state = to.state;
  record.lines = NONE;
  record.outcome = record.once && to.outcome;
  keep(ledger, record, to.now);
}

/** Keeps a released id that was never seen, so that its reserve comes too late. */
export function leaveTombstone(ledger: Ledger, id: string, now: number): void {
  const record = createRecord({ id, once: undefined, state: 'released', lines: [] });
  ledger.holds.set(id, record);
  keep(ledger, record, now);
}

function createRecord(parts: Pick<HoldRecord, 'id' | 'once' | 'state' | 'lines'>): HoldRecord {
  const { id, once, state, lines } = parts;
  return { id, once, state, lines, outcome: undefined, dueAt: 0, position: 0 };
}

/** The row of a line, made when there is none. It stays until the latest expiry anybody named. */
function rowFor(ledger: Ledger, { key, expiresAt }: ReserveLine): Row {
  const dueAt = expiresAt ?? Number.POSITIVE_INFINITY;
  const known = ledger.rows.get(key);
  if (known !== undefined && known.dueAt >= dueAt) return known;
  if (known !== undefined) ledger.expiring.remove(known);
  const row = known ?? { key, spent: 0, held: 0, dueAt, position: 0 };
  row.dueAt = dueAt;
  ledger.rows.set(key, row);
  if (expiresAt !== null) ledger.expiring.add(row);
  return row;
}

function keep(ledger: Ledger, record: HoldRecord, now: number): void {
  record.dueAt = now + KEEP_CLOSED_MS;
  ledger.closed.add(record);
}

function forget(ledger: Ledger, record: HoldRecord): void {
  ledger.holds.delete(record.id);
  // A released hold has given its key up, and another may have it now.
  if (record.once && record.state !== 'released') ledger.holdsByOnce.delete(record.once.key);
}

/** Booking above the hold could leave the integers a number can tell apart; the sum then stays at the last of them. */
function addUp(spent: number, amount: number): number {
  return Math.min(spent + amount, Number.MAX_SAFE_INTEGER);
}

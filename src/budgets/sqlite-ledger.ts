/**
 * The SQLite budget's books. Every operation runs whole within a transaction, and others wait for it. A hold that is
 * `pending` past its lease counts as lapsed wherever one looks; moving its amounts from held to spent is tidying,
 * done a little with each reserve. Holds name their buckets by number, so that one made anew after it was purged is
 * left alone.
 */
import type {
  Balance,
  BudgetStore,
  CommitLine,
  Once,
  ReserveLine,
  ReserveRequest,
  ReserveResult,
  Seen,
} from '../core/budget.js';
import { rows, type SqliteDatabase } from '../database/sqlite.js';
import { decodeText, encodeText } from '../database/text.js';
import { checkCommit } from './arguments.js';
import { type BalanceRow, type HoldRow, openStatements, type Statements } from './sqlite-statements.js';

// The contract wants 24 hours for settled and lapsed ids, and one for tombstones; one figure serves all.
const KEEP_CLOSED_MS = 24 * 3_600_000;

/** The operations of a budget store, answered at once. Arguments were checked, but for the keys of a commit. */
export type SqliteLedger = {
  readonly [Name in 'reserve' | 'recall' | 'commit' | 'release' | 'read']: (
    ...values: Parameters<BudgetStore[Name]>
  ) => Awaited<ReturnType<BudgetStore[Name]>>;
} & {
  /** What a reserve is answered that changes nothing; `undefined` when it can be granted. Reads only. */
  look(request: ReserveRequest): ReserveResult | undefined;
};

/** One line of a hold, as it is kept. */
interface HeldLine extends CommitLine {
  readonly bucket: number;
}

/** Opens the books of a database, making the tables first where there are none. */
export function openLedger(database: SqliteDatabase): SqliteLedger {
  const statements = openStatements(database);
  return {
    look: (request) => look(statements, request, Date.now()),
    reserve(request) {
      const now = Date.now();
      tidy(statements, now);
      const answer = look(statements, request, now);
      return answer ?? granted(statements, request.id, open(statements, request, now));
    },
    recall(once) {
      const hold = holdByOnce(statements, once);
      return hold && describe(hold, once, Date.now());
    },
    commit(hold, lines, outcome) {
      const record = holdById(statements, hold.id);
      const unsettled = record !== undefined && !isSettled(record);
      checkCommit(unsettled ? linesOf(record) : hold.lines, lines);
      if (record === undefined) return 'unknown';
      if (!unsettled) return 'already';
      book(statements, record, lines);
      const kept = outcome === undefined ? null : encodeText(outcome);
      statements.settle.run(kept, Date.now() + KEEP_CLOSED_MS, record.id);
      return 'settled';
    },
    release(id) {
      const record = holdById(statements, id);
      if (record && isSettled(record)) return 'already';
      if (record) book(statements, record, []);
      statements.release.run(encodeText(id), Date.now() + KEEP_CLOSED_MS);
      return record ? 'released' : 'unknown';
    },
    read: (keys) => balances(statements, keys, Date.now()),
  };
}

function look(statements: Statements, request: ReserveRequest, now: number): ReserveResult | undefined {
  const known = holdById(statements, request.id);
  if (known && !isPending(known, now)) return { ok: false, closed: true };
  if (known) return granted(statements, request.id, linesOf(known));
  const { once } = request;
  const other = once && holdByOnce(statements, once);
  if (once && other) return { ok: false, seen: describe(other, once, now) };
  const refused = shortages(statements, request.lines, now);
  return refused.length > 0 ? { ok: false, refused } : undefined;
}

/** The lines that do not fit, with what is left there. */
function shortages(
  statements: Statements,
  lines: readonly ReserveLine[],
  now: number,
): { readonly key: string; readonly left: number }[] {
  const keys = lines.map(({ key }) => key);
  return balances(statements, keys, now).flatMap(({ key, spent, held }, place) => {
    const { limit, amount } = lines[place] as ReserveLine;
    const left = limit - spent - held;
    return amount > left ? [{ key, left: Math.max(0, left) }] : [];
  });
}

function open(statements: Statements, request: ReserveRequest, now: number): readonly HeldLine[] {
  const { id, once, leaseMs } = request;
  const lines = request.lines.map(({ key, amount, expiresAt }) => {
    const [row] = rows<{ readonly number: number }>(statements.hold, encodeText(key), amount, expiresAt);
    return { bucket: Number(row?.number), key, amount };
  });
  const [onceKey, fingerprint] = once ? [encodeText(once.key), encodeText(once.fingerprint)] : [null, null];
  statements.open.run(encodeText(id), onceKey, fingerprint, JSON.stringify(lines), now + leaseMs);
  return lines;
}

/** Books lines in place of what a pending hold holds, or a lapsed one has spent. */
function book(statements: Statements, record: HoldRow, lines: readonly CommitLine[]): void {
  const pending = record.state === 'pending';
  for (const { bucket, key, amount } of linesOf(record)) {
    const booked = lines.find((line) => line.key === key)?.amount ?? 0;
    statements.book.run(pending ? amount : 0, pending ? 0 : amount, booked, bucket);
  }
}

/** Lapses and forgets a little: more than a reserve can add, and little enough that none pays for a long idle time. */
function tidy(statements: Statements, now: number): void {
  for (const record of rows<HoldRow>(statements.holdsDue, now)) {
    book(statements, record, linesOf(record));
    statements.lapse.run(now + KEEP_CLOSED_MS, record.id);
  }
  statements.forgetHolds.run(now);
  statements.forgetBuckets.run(now);
}

function balances(statements: Statements, keys: readonly string[], now: number): readonly Balance[] {
  const found = rows<BalanceRow>(statements.balances, now, JSON.stringify(keys.map(encodeText)));
  return found.map((row, place) => {
    const [spent, held, lapsed] = [Number(row.spent), Number(row.held), Number(row.lapsed)];
    const total = Math.min(spent + lapsed, Number.MAX_SAFE_INTEGER);
    return { key: keys[place] as string, spent: total, held: held - lapsed };
  });
}

function granted(statements: Statements, id: string, held: readonly HeldLine[]): ReserveResult {
  const lines = held.map(({ key, amount }) => ({ key, amount }));
  const keys = lines.map(({ key }) => key);
  return { ok: true, hold: { id, lines }, balances: balances(statements, keys, Date.now()) };
}

function describe(record: HoldRow, { fingerprint }: Once, now: number): Seen {
  if (record.fingerprint !== encodeText(fingerprint)) return { state: 'conflict' };
  if (record.state !== 'settled') return { state: isPending(record, now) ? 'pending' : 'lapsed' };
  return { state: 'settled', outcome: record.outcome === null ? undefined : decodeText(record.outcome) };
}

function holdById(statements: Statements, id: string): HoldRow | undefined {
  return rows<HoldRow>(statements.holdById, encodeText(id))[0];
}

function holdByOnce(statements: Statements, { key }: Once): HoldRow | undefined {
  return rows<HoldRow>(statements.holdByOnce, encodeText(key))[0];
}

function linesOf(record: HoldRow): readonly HeldLine[] {
  return JSON.parse(record.lines) as readonly HeldLine[];
}

function isPending({ state, dueAt }: HoldRow, now: number): boolean {
  return state === 'pending' && dueAt > now;
}

function isSettled({ state }: HoldRow): boolean {
  return state === 'settled' || state === 'released';
}

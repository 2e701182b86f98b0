/**
 * A budget store in this process's memory: for development, tests, and a single process that may forget on restart.
 * Each operation runs without a pause, which is what makes it atomic here. No timers: leases and expiry are looked
 * at when somebody calls.
 */
import type {
  Balance,
  BudgetStore,
  Once,
  ReserveLine,
  ReserveRequest,
  ReserveResult,
  Seen,
} from '../core/budget.js';
import { checkCommit, checkOnce, checkReserve, checkText } from './arguments.js';
import {
  catchUp,
  createLedger,
  type HoldRecord,
  type Ledger,
  leaveTombstone,
  open,
  type Row,
  settle,
} from './memory-ledger.js';

/**
 * Keeps budgets in memory. Exact under concurrency within one process; everything is forgotten when it ends, so use
 * a durable store where money is at stake. Rows go after their `expiresAt`, ids a day after they were closed.
 */
export function memoryBudget(): BudgetStore {
  const ledger = createLedger();
  return {
    async reserve(request) {
      checkReserve(request);
      return reserve(ledger, request, catchUp(ledger));
    },
    async recall(once) {
      checkOnce(once);
      catchUp(ledger);
      const record = ledger.holdsByOnce.get(once.key);
      return record && describe(record, once);
    },
    async commit(hold, lines, outcome) {
      checkText('hold.id', hold.id);
      const now = catchUp(ledger);
      const record = ledger.holds.get(hold.id);
      const unsettled = record !== undefined && !isSettled(record);
      checkCommit(unsettled ? record.lines : hold.lines, lines);
      if (record === undefined) return 'unknown';
      if (!unsettled) return 'already';
      settle(ledger, record, { state: 'settled', lines, outcome, now });
      return 'settled';
    },
    async release(id) {
      checkText('id', id);
      const now = catchUp(ledger);
      const record = ledger.holds.get(id);
      if (record === undefined) {
        leaveTombstone(ledger, id, now);
        return 'unknown';
      }
      if (isSettled(record)) return 'already';
      settle(ledger, record, { state: 'released', lines: [], outcome: undefined, now });
      return 'released';
    },
    async read(keys) {
      catchUp(ledger);
      return keys.map((key) => balanceOf(key, ledger.rows.get(key)));
    },
  };
}

function reserve(ledger: Ledger, request: ReserveRequest, now: number): ReserveResult {
  const known = ledger.holds.get(request.id);
  if (known !== undefined) return known.state === 'pending' ? granted(known) : { ok: false, closed: true };
  const { once } = request;
  const other = once && ledger.holdsByOnce.get(once.key);
  if (once && other) return { ok: false, seen: describe(other, once) };
  const exceeds = (line: ReserveLine) => line.amount > leftFor(ledger, line);
  if (!request.lines.some(exceeds)) return granted(open(ledger, request, now));
  return {
    ok: false,
    refused: request.lines
      .filter(exceeds)
      .map((line) => ({ key: line.key, left: Math.max(0, leftFor(ledger, line)) })),
  };
}

function leftFor(ledger: Ledger, { key, limit }: ReserveLine): number {
  const row = ledger.rows.get(key);
  return row === undefined ? limit : limit - row.spent - row.held;
}

function isSettled({ state }: HoldRecord): boolean {
  return state === 'settled' || state === 'released';
}

function describe(record: HoldRecord, { fingerprint }: Once): Seen {
  if (record.once?.fingerprint !== fingerprint) return { state: 'conflict' };
  if (record.state === 'settled') return { state: 'settled', outcome: record.outcome };
  return { state: record.state === 'lapsed' ? 'lapsed' : 'pending' };
}

function granted({ id, lines }: HoldRecord): ReserveResult {
  return {
    ok: true,
    hold: { id, lines: lines.map(({ key, amount }) => ({ key, amount })) },
    balances: lines.map(({ key, row }) => balanceOf(key, row)),
  };
}

function balanceOf(key: string, row: Row | undefined): Balance {
  return { key, spent: row?.spent ?? 0, held: row?.held ?? 0 };
}

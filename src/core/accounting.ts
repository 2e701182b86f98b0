/**
 * Writing rows of usage off the path of requests: they wait in a bounded queue, are written in batches, and again
 * until they land, or until a row is found that alone is refused. A row that is lost is told, whole; the money it speaks of is in the budget store all the same.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Emit, UsageLost } from './events.js';
import type { UsageRow, UsageStore } from './usage.js';
import { within } from './wait.js';

/** What writing takes. */
export interface AccountingOptions {
  /** Where rows are kept. */
  readonly store: UsageStore;
  /** It has this long to answer. */
  readonly timeoutMs: number;
  /** Rows that may wait. */
  readonly maxWaiting: number;
  /** Raises events. */
  readonly emit: Emit;
}

/** Writes rows. */
export interface Accounting {
  /** Takes a row to be written soon. Never throws, and never waits. */
  record(row: UsageRow): void;
  /** Waits until every row is written, until `signal` aborts; what is left then is lost. */
  drain(signal: AbortSignal): Promise<void>;
}

/** Takes no rows. */
export const NO_ACCOUNTING: Accounting = { record: () => undefined, drain: async () => undefined };

const BATCH = 100;
// What comes within a moment is written together.
const LINGER_MS = 50;
const FIRST_RETRY_MS = 50;
const LAST_RETRY_MS = 30_000;
const LONGEST_HURRIED_MS = 500;
// A store that fails now and then refuses a good row a few times too.
const MAX_REFUSALS = 5;

/** How often a row was refused alone, and how many batches had landed the last time. */
interface Refusals {
  readonly count: number;
  readonly landings: number;
}

/** Makes a writer of rows. */
export function createAccounting({ store, timeoutMs, maxWaiting, emit }: AccountingOptions): Accounting {
  const waiting: UsageRow[] = [];
  const refusals = new WeakMap<UsageRow, Refusals>();
  let landings = 0;
  let working: Promise<void> | undefined;
  let ended = false;
  const hurry = new AbortController();

  function lose(rows: readonly UsageRow[], reason: UsageLost['reason']): void {
    if (rows.length === 0) return;
    emit({ type: 'usage.lost', level: 'error', requestId: undefined, rows, reason });
  }

  async function attempt(rows: readonly UsageRow[], attempts: number): Promise<boolean> {
    const about = { requestId: undefined, rows: rows.length, attempts };
    try {
      const late = () => new Error(`the usage store did not answer within ${timeoutMs} ms`);
      await within((async () => store.append(rows))(), timeoutMs, late);
      if (attempts > 1) emit({ type: 'usage.written', level: 'info', ...about });
      return true;
    } catch (cause) {
      emit({ type: 'usage.unwritten', level: 'error', ...about, cause });
      return false;
    }
  }

  /** Jitter, so that a store that comes back is not met by everybody at once; whoever drains is in a hurry. */
  async function pause(waitMs: number): Promise<void> {
    const jittered = waitMs * (0.5 + Math.random() / 2);
    // Unreferenced, so that a process that has nothing else to do may end.
    const options = { ref: false, signal: hurry.signal };
    if (hurry.signal.aborted) await sleep(Math.min(jittered, LONGEST_HURRIED_MS), undefined, { ref: false });
    else await sleep(jittered, undefined, options).catch(() => undefined);
  }

  /** Puts the first row last; gives it up once it was refused too often between landings of others. */
  function setAside(): void {
    for (const row of waiting.splice(0, 1)) {
      const before = refusals.get(row);
      // Without a landing since, the store may be down.
      const count = before?.landings === landings ? before.count : (before?.count ?? 0) + 1;
      if (count >= MAX_REFUSALS) lose([row], 'refused');
      else waiting.push(row);
      refusals.set(row, { count, landings });
    }
  }

  /** Writes until nothing waits. */
  async function work(): Promise<void> {
    await sleep(LINGER_MS);
    let size = BATCH;
    let failures = 0;
    let waitMs = FIRST_RETRY_MS;
    while (waiting.length > 0 && !ended) {
      const rows = waiting.slice(0, size);
      const landed = await attempt(rows, failures + 1);
      if (ended) return;
      if (landed) {
        // Not before: until they have landed they count among those that wait.
        waiting.splice(0, rows.length);
        landings += 1;
        [size, failures, waitMs] = [BATCH, 0, FIRST_RETRY_MS];
        continue;
      }
      failures += 1;
      await pause(waitMs);
      // One row that a store cannot take must not keep the others from it: it is found by halving, and goes last.
      // Only when not one can be taken is the store itself down, and asked ever less often.
      if (rows.length === 1 && !ended) {
        setAside();
        waitMs = Math.min(waitMs * 2, LAST_RETRY_MS);
      }
      size = Math.ceil(rows.length / 2);
    }
  }

  function wake(): void {
    working ??= work().finally(() => {
      working = undefined;
      if (waiting.length > 0 && !ended) wake();
    });
  }

  return {
    record(row) {
      if (ended || waiting.length >= maxWaiting) return lose([row], ended ? 'closed' : 'full');
      waiting.push(row);
      wake();
    },
    async drain(signal) {
      hurry.abort();
      const aborted = new Promise<void>((resolve) => {
        if (signal.aborted) resolve();
        else signal.addEventListener('abort', () => resolve(), { once: true });
      });
      // Retries wait on timers that let a process end; whoever drains wants it to stay.
      const stay = setInterval(() => undefined, 1_000);
      while (working !== undefined && !signal.aborted) await Promise.race([working, aborted]);
      clearInterval(stay);
      ended = true;
      lose(waiting.splice(0), 'closed');
    },
  };
}

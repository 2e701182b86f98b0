/**
 * Writing rows of usage off the path of requests: they wait in a bounded queue, are written in batches, and again
 * until they land. A row that is lost is told, whole; the money it speaks of is in the budget store all the same.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Emit } from './events.js';
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

/** Makes a writer of rows. */
export function createAccounting({ store, timeoutMs, maxWaiting, emit }: AccountingOptions): Accounting {
  const waiting: UsageRow[] = [];
  let working: Promise<void> | undefined;
  let ended = false;
  const hurry = new AbortController();

  function lose(rows: readonly UsageRow[], reason: 'full' | 'closed'): void {
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
        [size, failures, waitMs] = [BATCH, 0, FIRST_RETRY_MS];
        continue;
      }
      failures += 1;
      await pause(waitMs);
      // One row that a store cannot take must not keep the others from it: it is found by halving, and goes last.
      // Only when not one can be taken is the store itself down, and asked ever less often.
      if (size === 1) {
        waiting.push(...waiting.splice(0, 1));
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

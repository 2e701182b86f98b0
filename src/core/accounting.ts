/**
 * Writing rows of usage off the path of requests: they wait in a bounded queue, are written in batches, and again until
 * they land, or until a row is found that alone is refused. A row that is lost is told, whole; the money it speaks of
 * is in the budget store all the same.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { createBackOff, untilIdle } from './back-off.js';
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
// A store that fails now and then refuses a good row a few times too.
const MAX_REFUSALS = 5;

/** How often a row was refused alone, and how many signs of life the store had given the last time. */
interface Refusals {
  readonly count: number;
  readonly signs: number;
}

/** Makes a writer of rows. */
export function createAccounting({ store, timeoutMs, maxWaiting, emit }: AccountingOptions): Accounting {
  const waiting: UsageRow[] = [];
  const refusals = new WeakMap<UsageRow, Refusals>();
  let signsOfLife = 0;
  let draining = false;
  let working: Promise<void> | undefined;
  let ended = false;
  const backOff = createBackOff();

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

  /** A store that is asked for a row and answers is not down. */
  async function answers({ tenant }: UsageRow): Promise<boolean> {
    const asked = (async () => store.query({ tenant }, { limit: 1 }))();
    return within(asked, timeoutMs, () => new Error()).then(
      () => true,
      () => false,
    );
  }

  /** Puts the first row last; gives it up once it was refused too often by a store that gave signs of life between. */
  async function setAside(row: UsageRow): Promise<void> {
    // Others that land are a sign; when the router closes, there may be no others.
    if (draining && (await answers(row))) signsOfLife += 1;
    if (ended) return;
    waiting.shift();
    const before = refusals.get(row);
    // Without a sign since, the store may be down.
    const count = before?.signs === signsOfLife ? before.count : (before?.count ?? 0) + 1;
    if (count >= MAX_REFUSALS) lose([row], 'refused');
    else waiting.push(row);
    refusals.set(row, { count, signs: signsOfLife });
  }

  /** Writes until nothing waits. */
  async function work(): Promise<void> {
    await sleep(LINGER_MS);
    let size = BATCH;
    let failures = 0;
    while (waiting.length > 0 && !ended) {
      const rows = waiting.slice(0, size);
      const landed = await attempt(rows, failures + 1);
      if (ended) return;
      if (landed) {
        // Not before: until they have landed they count among those that wait.
        waiting.splice(0, rows.length);
        signsOfLife += 1;
        [size, failures] = [BATCH, 0];
        backOff.reset();
        continue;
      }
      failures += 1;
      await backOff.pause();
      // One row that a store cannot take must not keep the others from it: it is found by halving, and goes last.
      // Only when not one can be taken is the store itself down, and asked ever less often.
      const [row] = rows;
      if (row !== undefined && rows.length === 1 && !ended) {
        await setAside(row);
        backOff.grow();
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
      draining = true;
      backOff.hurry();
      await untilIdle(() => working, signal);
      ended = true;
      lose(waiting.splice(0), 'closed');
    },
  };
}

/**
 * The router's side of the budget store: which buckets a caller's budgets are, holding the ceiling before a request
 * and booking its cost after it. A settlement the store did not take is tried again until it does.
 */
import { createHash, randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { ImagesError } from '../errors.js';
import type { Balance, BudgetStore, CommitLine, Hold, ReserveResult } from './budget.js';
import type { Budget, Caller } from './caller.js';
import type { Emit } from './events.js';
import { refusal } from './refusal.js';
import type { Calendar } from './windows.js';

/** Amounts of a request in each unit budgets can have. */
export interface Amounts {
  /** Micro-dollars. */
  readonly microUsd: number;
  /** Pictures. */
  readonly images: number;
}

/** One of a caller's budgets in its present turn. */
export interface Bucket {
  /** The budget. */
  readonly budget: Budget;
  /** Its ledger key. */
  readonly key: string;
  /** Epoch milliseconds; `null` never. */
  readonly resetsAt: number | null;
}

/** A hold on a caller's budgets. Settle it exactly once. */
export interface Reservation {
  /** The buckets and what they have, this hold included; empty for an unlimited caller. */
  readonly balances: readonly { readonly bucket: Bucket; readonly balance: Balance }[];
  /** Books what the request cost. Never throws: a settlement that fails goes on in the background. */
  commit(amounts: Amounts): Promise<void>;
  /** Frees the hold of a request that never started. Never throws. */
  release(): Promise<void>;
}

/** What the ledger needs. */
export interface LedgerOptions {
  /** Where money is kept. */
  readonly store: BudgetStore;
  /** Finds windows. */
  readonly calendar: Calendar;
  /** Unsettled holds lapse after this. */
  readonly leaseMs: number;
  /** The store has this long to answer. */
  readonly timeoutMs: number;
  /** What to do when the store is down: refuse, or draw unmetered. */
  readonly onStoreFailure: 'deny' | 'allow';
  /** Raises events. */
  readonly emit: Emit;
}

/** The router's side of the budget store. */
export interface Ledger {
  /** A caller's buckets at an instant. Throws `INTERNAL_ERROR` when `identify` gave two budgets of one key. */
  buckets(caller: Caller, at: number): readonly Bucket[];
  /** Holds amounts on all of a caller's budgets, or throws `BUDGET_EXCEEDED`, `RATE_LIMITED` or `BUDGET_UNAVAILABLE`. */
  reserve(request: { caller: Caller; amounts: Amounts; requestId: string }): Promise<Reservation>;
  /** Waits for settlements that go on in the background, until `signal` aborts. */
  drain(signal: AbortSignal): Promise<void>;
}

const DAY_MS = 86_400_000;
const FIRST_RETRY_MS = 50;
const LAST_RETRY_MS = 30_000;

function hashed(parts: readonly string[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 32);
}

function ownerOf(budget: Budget, caller: Caller): string {
  if (budget.per === 'everyone') return '-';
  return budget.per === 'tenant' ? hashed([caller.tenant]) : hashed([caller.tenant, caller.user ?? '']);
}

function bucketsOf(calendar: Calendar, caller: Caller, at: number): readonly Bucket[] {
  if (caller.budgets === 'unlimited') return [];
  const buckets = caller.budgets.map((budget): Bucket => {
    const { label, resetsAt } = calendar.turn(budget, at);
    const key = [budget.per, ownerOf(budget, caller), budget.unit, budget.name, label].join('/');
    return { budget, key, resetsAt };
  });
  if (new Set(buckets.map((bucket) => bucket.key)).size < buckets.length) {
    throw new ImagesError('INTERNAL_ERROR', 'The server has a fault in its configuration of budgets.', {
      cause: new Error(
        'identify answered two budgets with the same scope, unit and name: give one another name',
      ),
    });
  }
  return buckets;
}

function amountIn(budget: Budget, amounts: Amounts): number {
  return budget.unit === 'usd' ? amounts.microUsd : amounts.images;
}

/** Makes the router's side of a budget store. */
export function createLedger(options: LedgerOptions): Ledger {
  const { store, calendar, emit } = options;
  const background = new Set<Promise<void>>();

  /** A store that hangs is a store that is down. */
  async function answered<T>(operation: Promise<T>): Promise<T> {
    const timer = new AbortController();
    const timeout = sleep(options.timeoutMs, undefined, { signal: timer.signal }).then(() => {
      throw new Error(`the budget store did not answer within ${options.timeoutMs} ms`);
    });
    try {
      return await Promise.race([operation, timeout]);
    } finally {
      timer.abort();
      timeout.catch(() => undefined);
      operation.catch(() => undefined);
    }
  }

  interface Settlement {
    readonly action: 'commit' | 'release';
    readonly holdId: string;
    readonly requestId: string;
    readonly attempt: () => Promise<unknown>;
  }

  async function retryUntilItLands(settlement: Settlement): Promise<void> {
    const { action, holdId, requestId } = settlement;
    let waitMs = FIRST_RETRY_MS;
    for (let attempts = 2; ; attempts += 1) {
      await sleep(waitMs * (0.5 + Math.random() / 2), undefined, { ref: false });
      try {
        await answered(settlement.attempt());
        emit({ type: 'hold.settled', level: 'info', requestId, holdId, action, attempts });
        return;
      } catch (cause) {
        emit({ type: 'hold.unsettled', level: 'error', requestId, holdId, action, attempts, cause });
        waitMs = Math.min(waitMs * 2, LAST_RETRY_MS);
      }
    }
  }

  async function settleHold(settlement: Settlement): Promise<void> {
    const { action, holdId, requestId } = settlement;
    try {
      await answered(settlement.attempt());
    } catch (cause) {
      emit({ type: 'hold.unsettled', level: 'error', requestId, holdId, action, attempts: 1, cause });
      const retrying = retryUntilItLands(settlement).finally(() => background.delete(retrying));
      background.add(retrying);
    }
  }

  function release(holdId: string, requestId: string): Promise<void> {
    return settleHold({ action: 'release', holdId, requestId, attempt: () => store.release(holdId) });
  }

  function reservation(hold: Hold, balances: Reservation['balances'], requestId: string): Reservation {
    const unitOf = new Map(balances.map(({ bucket }) => [bucket.key, bucket.budget]));
    return {
      balances,
      commit(amounts) {
        const lines: CommitLine[] = hold.lines.map(({ key, amount }) => {
          const budget = unitOf.get(key);
          return { key, amount: budget === undefined ? amount : amountIn(budget, amounts) };
        });
        return settleHold({
          action: 'commit',
          holdId: hold.id,
          requestId,
          attempt: () => store.commit(hold, lines),
        });
      },
      release: () => release(hold.id, requestId),
    };
  }

  const unmetered: Reservation = {
    balances: [],
    commit: async () => undefined,
    release: async () => undefined,
  };

  async function askStore(request: {
    readonly buckets: readonly Bucket[];
    readonly amounts: Amounts;
    readonly requestId: string;
  }): Promise<ReserveResult | undefined> {
    const id = randomUUID();
    const lines = request.buckets.map(({ key, budget, resetsAt }) => ({
      key,
      limit: budget.limit,
      amount: amountIn(budget, request.amounts),
      // Kept a day longer than its turn, so that a late settlement still finds it.
      expiresAt: resetsAt === null ? null : resetsAt + DAY_MS,
    }));
    try {
      return await answered(store.reserve({ id, lines, leaseMs: options.leaseMs }));
    } catch (cause) {
      // The reserve may have landed with its answer lost; only we know its id, so only we can free it.
      const releasing = release(id, request.requestId).finally(() => background.delete(releasing));
      background.add(releasing);
      if (options.onStoreFailure === 'deny') {
        const message =
          'The budget cannot be checked at the moment, so nothing was drawn. Try again shortly.';
        throw new ImagesError('BUDGET_UNAVAILABLE', message, { retryAfter: 5, cause });
      }
      emit({ type: 'hold.skipped', level: 'error', requestId: request.requestId, cause });
      return undefined;
    }
  }

  return {
    buckets: (caller, at) => bucketsOf(calendar, caller, at),

    async reserve({ caller, amounts, requestId }) {
      const buckets = bucketsOf(calendar, caller, Date.now());
      if (buckets.length === 0) return unmetered;
      const result = await askStore({ buckets, amounts, requestId });
      if (result === undefined) return unmetered;
      if (!result.ok) {
        if ('refused' in result) throw refusal({ refused: result.refused, buckets, amounts });
        throw new ImagesError('BUDGET_UNAVAILABLE', 'The budget store answered something unexpected.', {
          cause: new Error(`reserve of a fresh id answered ${JSON.stringify(result)}`),
        });
      }
      const byKey = new Map(result.balances.map((balance) => [balance.key, balance]));
      const balances = buckets.flatMap((bucket) => {
        const balance = byKey.get(bucket.key);
        return balance === undefined ? [] : [{ bucket, balance }];
      });
      return reservation(result.hold, balances, requestId);
    },

    async drain(signal) {
      const aborted = new Promise<void>((resolve) => {
        if (signal.aborted) resolve();
        else signal.addEventListener('abort', () => resolve(), { once: true });
      });
      while (background.size > 0 && !signal.aborted) {
        await Promise.race([Promise.allSettled(background), aborted]);
      }
    },
  };
}

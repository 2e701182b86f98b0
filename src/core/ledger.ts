/**
 * The router's side of the budget store: which buckets a caller's budgets are, holding the ceiling before a request
 * and booking its cost after it.
 */
import { hash, randomUUID } from 'node:crypto';
import { ImagesError } from '../errors.js';
import type { BudgetStore, CommitLine, Hold, Once, ReserveResult, Seen } from './budget.js';
import type { Budget, Caller } from './caller.js';
import type { Emit } from './events.js';
import { refusal } from './refusal.js';
import { answered, createSettlements, type Settlement } from './settlements.js';
import { watchSoftLimits } from './soft-limits.js';
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

/** What one of a caller's buckets has. */
export interface BucketBalance {
  /** Which one. */
  readonly bucket: Bucket;
  /** Booked, in the budget's unit. */
  readonly spent: number;
  /** Held for requests under way. */
  readonly held: number;
  /** What is left, at least 0. */
  readonly left: number;
}

/** What is left in one of a caller's buckets. */
export interface BucketRoom {
  /** Which one. */
  readonly bucket: Bucket;
  /** In the budget's unit, at least 0. */
  readonly left: number;
}

/** The answer to a reservation, and what is left: of every bucket when granted, else of those that had no room. */
export type ReserveOutcome =
  | { readonly ok: true; readonly reservation: Reservation; readonly rooms: readonly BucketRoom[] }
  | { readonly ok: false; readonly error: ImagesError; readonly rooms: readonly BucketRoom[] }
  /** Another request with the same `once` key came first. */
  | { readonly ok: false; readonly twin: true };

/** A hold on a caller's budgets. Settle it exactly once. */
export interface Reservation {
  /**
   * Books what the request cost, and keeps its outcome for twins. Never throws: a settlement that fails goes on in
   * the background.
   */
  commit(amounts: Amounts, outcome: string | undefined): Promise<void>;
  /** Frees the hold of a request that cost nothing. Never throws. */
  release(): Promise<void>;
}

/** Who wants to spend how much. */
export interface ReserveOrder {
  /** Who pays. */
  readonly caller: Caller;
  /** The most it can cost. */
  readonly amounts: Amounts;
  /** The request's id. */
  readonly requestId: string;
  /** Makes the request findable by twins. */
  readonly once: Once | undefined;
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
  /** What a caller's buckets have now, in the order of its budgets. Throws `BUDGET_UNAVAILABLE`. */
  read(caller: Caller): Promise<readonly BucketBalance[]>;
  /** What is known of an earlier request with this `once` key. Throws `BUDGET_UNAVAILABLE`. */
  recall(once: Once): Promise<Seen | undefined>;
  /** Holds amounts on all of a caller's budgets, or on none. Throws `BUDGET_UNAVAILABLE`. */
  reserve(order: ReserveOrder): Promise<ReserveOutcome>;
  /** Waits for settlements that go on in the background, until `signal` aborts; the rest is told, and given up. */
  drain(signal: AbortSignal): Promise<void>;
}

const DAY_MS = 86_400_000;

function hashed(parts: readonly string[]): string {
  return hash('sha256', JSON.stringify(parts)).slice(0, 32);
}

function ownerOf(budget: Budget, caller: Caller): string {
  if (budget.per === 'everyone') return '-';
  return budget.per === 'tenant' ? hashed([caller.tenant]) : hashed([caller.tenant, caller.user ?? '']);
}

function amountIn(budget: Budget, amounts: Amounts): number {
  return budget.unit === 'usd' ? amounts.microUsd : amounts.images;
}

function roomsOf(buckets: readonly Bucket[], left: ReadonlyMap<string, number>): readonly BucketRoom[] {
  return buckets.flatMap((bucket) => {
    const room = left.get(bucket.key);
    return room === undefined ? [] : [{ bucket, left: room }];
  });
}

/** Makes the router's side of a budget store. */
export function createLedger(options: LedgerOptions): Ledger {
  const { store, calendar, emit, timeoutMs } = options;
  const settlements = createSettlements({ timeoutMs, emit });
  const softLimits = watchSoftLimits(emit);

  function bucketsOf(caller: Caller, at: number): readonly Bucket[] {
    if (caller.budgets === 'unlimited') return [];
    return caller.budgets.map((budget) => {
      const { label, resetsAt } = calendar.turn(budget, at);
      const key = [budget.per, ownerOf(budget, caller), budget.unit, budget.name, label].join('/');
      return { budget, key, resetsAt };
    });
  }

  function releasing(holdId: string, requestId: string): Settlement {
    return { action: 'release', holdId, requestId, attempt: () => store.release(holdId) };
  }

  function reservation(hold: Hold, buckets: readonly Bucket[], requestId: string): Reservation {
    return {
      commit(amounts, outcome) {
        const lines: CommitLine[] = buckets.map(({ key, budget }) => ({
          key,
          amount: amountIn(budget, amounts),
        }));
        const attempt = () => store.commit(hold, lines, outcome);
        return settlements.settle({ action: 'commit', holdId: hold.id, requestId, attempt, amounts });
      },
      release: () => settlements.settle(releasing(hold.id, requestId)),
    };
  }

  async function askStore(
    buckets: readonly Bucket[],
    order: ReserveOrder,
  ): Promise<ReserveResult | 'skipped'> {
    const { amounts, requestId, once } = order;
    const id = randomUUID();
    const lines = buckets.map(({ key, budget, resetsAt }) => ({
      key,
      limit: budget.limit,
      amount: amountIn(budget, amounts),
      // Kept a day longer than its turn, so that a late settlement still finds it.
      expiresAt: resetsAt === null ? null : resetsAt + DAY_MS,
    }));
    if (settlements.full)
      return withoutStore(order, new Error('the budget store is behind with settlements'));
    try {
      return await answered(store.reserve({ id, once, lines, leaseMs: options.leaseMs }), timeoutMs);
    } catch (cause) {
      // The reserve may have landed with its answer lost; only we know its id, so only we can free it.
      settlements.settleLater(releasing(id, requestId));
      return withoutStore(order, cause);
    }
  }

  function withoutStore({ requestId, once }: ReserveOrder, cause: unknown): 'skipped' {
    // Drawn without the store, a request with a key could be drawn again by its retry.
    if (options.onStoreFailure === 'deny' || once !== undefined) throw unavailable(cause);
    emit({ type: 'hold.skipped', level: 'error', requestId, cause });
    return 'skipped';
  }

  async function reserve(order: ReserveOrder): Promise<ReserveOutcome> {
    const { caller, amounts, requestId, once } = order;
    const buckets = bucketsOf(caller, Date.now());
    const free = buckets.length === 0 && once === undefined;
    const result = free ? 'skipped' : await askStore(buckets, order);
    if (result === 'skipped') return { ok: true, reservation: UNMETERED, rooms: [] };
    if (result.ok) {
      const limits = new Map(buckets.map(({ key, budget }) => [key, budget.limit]));
      const left = result.balances.map(({ key, spent, held }): [string, number] => {
        return [key, Math.max(0, (limits.get(key) ?? 0) - spent - held)];
      });
      const rooms = roomsOf(buckets, new Map(left));
      softLimits.look(rooms, order);
      return { ok: true, reservation: reservation(result.hold, buckets, requestId), rooms };
    }
    if ('seen' in result) return { ok: false, twin: true };
    if (!('refused' in result)) {
      throw unavailable(new Error(`reserve of a fresh id answered ${JSON.stringify(result)}`));
    }
    const rooms = roomsOf(buckets, new Map(result.refused.map(({ key, left }) => [key, left])));
    return { ok: false, error: refusal(rooms, amounts), rooms };
  }

  async function read(caller: Caller): Promise<readonly BucketBalance[]> {
    const buckets = bucketsOf(caller, Date.now());
    if (buckets.length === 0) return [];
    try {
      const balances = await answered(store.read(buckets.map(({ key }) => key)), timeoutMs);
      return buckets.map((bucket, place) => {
        const { spent = 0, held = 0 } = balances[place] ?? {};
        return { bucket, spent, held, left: Math.max(0, bucket.budget.limit - spent - held) };
      });
    } catch (cause) {
      throw unavailable(cause);
    }
  }

  async function recall(once: Once): Promise<Seen | undefined> {
    try {
      return await answered(store.recall(once), timeoutMs);
    } catch (cause) {
      throw unavailable(cause);
    }
  }

  return { read, recall, reserve, drain: settlements.drain };
}

const UNMETERED: Reservation = { commit: async () => undefined, release: async () => undefined };

function unavailable(cause: unknown): ImagesError {
  const message = 'The budget cannot be checked at the moment. Try again shortly.';
  return new ImagesError('BUDGET_UNAVAILABLE', message, { retryAfter: 5, cause });
}

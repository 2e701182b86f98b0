/** Telling the host of budgets that are nearly spent, once for each turn of their windows. */
import type { Emit } from './events.js';
import type { BucketRoom, ReserveOrder } from './ledger.js';

/** Sees what is left in buckets. */
export interface SoftLimits {
  /** Raises an event for each bucket that passed its soft limit, unless it was raised in this turn of its window. */
  look(rooms: readonly BucketRoom[], order: Pick<ReserveOrder, 'caller' | 'requestId'>): void;
}

const MAX_REMEMBERED = 10_000;

/** Begins to watch. What was told is remembered in this process, of the last ten thousand buckets. */
export function watchSoftLimits(emit: Emit): SoftLimits {
  /** Bucket keys, and when the turns end that they are of. */
  const passed = new Map<string, number>();

  /** Makes room: first of what belongs to turns that are over, then of what passed first. */
  function forget(): void {
    if (passed.size <= MAX_REMEMBERED) return;
    const now = Date.now();
    for (const [key, resetsAt] of passed) if (resetsAt <= now) passed.delete(key);
    const [oldest] = passed.keys();
    if (passed.size > MAX_REMEMBERED && oldest !== undefined) passed.delete(oldest);
  }

  return {
    look(rooms, { caller, requestId }) {
      for (const { bucket, left } of rooms) {
        const { limit, softLimit, name } = bucket.budget;
        const used = limit - left;
        if (softLimit === undefined || used < limit * softLimit || passed.has(bucket.key)) continue;
        passed.set(bucket.key, bucket.resetsAt ?? Number.POSITIVE_INFINITY);
        forget();
        const { tenant } = caller;
        emit({ type: 'budget.soft_limit', level: 'warn', requestId, tenant, budget: name, used, limit });
      }
    },
  };
}

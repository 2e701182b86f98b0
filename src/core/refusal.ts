/** How a refused reservation reads: which budget, how much is left, when it resets. */
import { type ErrorDetail, ImagesError } from '../errors.js';
import type { Budget } from './caller.js';
import type { Amounts, BucketRoom } from './ledger.js';
import { formatUsd } from './prices.js';

interface RefusedRoom extends BucketRoom {
  readonly asked: number;
}

/** True for a budget that limits the rate of pictures rather than an amount. */
export function isRateLimit(budget: Budget): boolean {
  return budget.unit === 'images' && (budget.window === 'minute' || budget.window === 'hour');
}

function amount(budget: Budget, value: number): string {
  return budget.unit === 'usd' ? `$${formatUsd(value)}` : `${value} ${value === 1 ? 'picture' : 'pictures'}`;
}

function describe({ bucket: { budget, resetsAt }, left, asked }: RefusedRoom): ErrorDetail {
  const reset =
    resetsAt === null ? 'It does not reset.' : `It resets at ${new Date(resetsAt).toISOString()}.`;
  // What everyone together has spent is nobody's business, and `left` would tell.
  const standing =
    budget.per === 'everyone'
      ? `The budget ${budget.name} has no room for this request`
      : `The budget ${budget.name} has ${amount(budget, left)} of ${amount(budget, budget.limit)} left`;
  return {
    field: budget.name,
    message: `${standing}; this request needs up to ${amount(budget, asked)}. ${reset}`,
  };
}

/** Seconds until every refused bucket has started again; `undefined` when waiting cannot help. */
function waitFor(refused: readonly RefusedRoom[]): number | undefined {
  let seconds = 1;
  for (const { bucket, asked } of refused) {
    if (bucket.resetsAt === null || asked > bucket.budget.limit) return undefined;
    seconds = Math.max(seconds, Math.ceil((bucket.resetsAt - Date.now()) / 1000));
  }
  return seconds;
}

/**
 * The error for a reservation refused by buckets without room. Where several refuse, `BUDGET_EXCEEDED` wins over
 * `RATE_LIMITED`.
 */
export function refusal(rooms: readonly BucketRoom[], amounts: Amounts): ImagesError {
  const refused = rooms.map((room): RefusedRoom => {
    return { ...room, asked: room.bucket.budget.unit === 'usd' ? amounts.microUsd : amounts.images };
  });
  const exceeded = refused.filter(({ bucket }) => !isRateLimit(bucket.budget));
  const deciding = exceeded.length > 0 ? exceeded : refused;
  const details = deciding.map(describe);
  const message = details[0]?.message ?? 'A budget has no room for this request.';
  const code = exceeded.length > 0 ? 'BUDGET_EXCEEDED' : 'RATE_LIMITED';
  return new ImagesError(code, message, { details, retryAfter: waitFor(deciding) });
}

/** How a refused reservation reads: which budget, how much is left, when it resets. */
import { type ErrorDetail, ImagesError } from '../errors.js';
import type { Budget } from './caller.js';
import type { Amounts, Bucket } from './ledger.js';
import { formatUsd } from './prices.js';

/** What a store refused, and what was asked of it. */
export interface Refusal {
  /** Every line that did not fit. */
  readonly refused: readonly { readonly key: string; readonly left: number }[];
  /** The caller's buckets. */
  readonly buckets: readonly Bucket[];
  /** What was asked. */
  readonly amounts: Amounts;
}

interface RefusedBucket extends Bucket {
  readonly left: number;
  readonly asked: number;
}

/** True for a budget that limits the rate of pictures rather than an amount. */
export function isRateLimit(budget: Budget): boolean {
  return budget.unit === 'images' && (budget.window === 'minute' || budget.window === 'hour');
}

function amount(budget: Budget, value: number): string {
  return budget.unit === 'usd' ? `$${formatUsd(value)}` : `${value} ${value === 1 ? 'picture' : 'pictures'}`;
}

function describe({ budget, left, asked, resetsAt }: RefusedBucket): ErrorDetail {
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
function waitFor(refused: readonly RefusedBucket[]): number | undefined {
  let seconds = 1;
  for (const { budget, asked, resetsAt } of refused) {
    if (resetsAt === null || asked > budget.limit) return undefined;
    seconds = Math.max(seconds, Math.ceil((resetsAt - Date.now()) / 1000));
  }
  return seconds;
}

/** The error for a refused reservation. Where several budgets refuse, `BUDGET_EXCEEDED` wins over `RATE_LIMITED`. */
export function refusal({ refused, buckets, amounts }: Refusal): ImagesError {
  const left = new Map(refused.map((line) => [line.key, line.left]));
  const all = buckets.flatMap((bucket): readonly RefusedBucket[] => {
    const remaining = left.get(bucket.key);
    if (remaining === undefined) return [];
    const asked = bucket.budget.unit === 'usd' ? amounts.microUsd : amounts.images;
    return [{ ...bucket, left: remaining, asked }];
  });
  const exceeded = all.filter(({ budget }) => !isRateLimit(budget));
  const deciding = exceeded.length > 0 ? exceeded : all;
  const details = deciding.map(describe);
  const message = details[0]?.message ?? 'A budget has no room for this request.';
  const code = exceeded.length > 0 ? 'BUDGET_EXCEEDED' : 'RATE_LIMITED';
  return new ImagesError(code, message, { details, retryAfter: waitFor(deciding) });
}

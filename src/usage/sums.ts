/** Adding usage up, and naming what it is added up by. */
import type { UsageGrouping, UsageRow, UsageSum } from '../core/usage.js';
import { dayName, monthName } from './calendar.js';

/** A sum without the name of its group. */
export type Totals = Omit<UsageSum, 'group'>;

/** Adds to each group what more there is of it. */
export interface Sums {
  /** Adds to a group. */
  add(group: string | undefined, more: Totals): void;
  /** Every group that was added to. */
  all(): readonly UsageSum[];
}

/** Sums of nothing so far. */
export function createSums(): Sums {
  const groups = new Map<string | undefined, UsageSum>();
  return {
    add(group, more) {
      const sum = groups.get(group);
      groups.set(group, { group, ...(sum === undefined ? more : plus(sum, more)) });
    },
    all: () => [...groups.values()],
  };
}

/** The greatest sum there is: beyond it numbers are not exact, and some drivers throw. Greater ones stay there. */
export const LARGEST_SUM: number = Number.MAX_SAFE_INTEGER;

/** Two sums in one. */
export function plus(a: Totals, b: Totals): Totals {
  const add = (one: number, other: number) => Math.min(one + other, LARGEST_SUM);
  return {
    requests: add(a.requests, b.requests),
    images: add(a.images, b.images),
    tokensIn: add(a.tokensIn, b.tokensIn),
    tokensOut: add(a.tokensOut, b.tokensOut),
    costMicroUsd: add(a.costMicroUsd, b.costMicroUsd),
    backendCostMicroUsd: add(a.backendCostMicroUsd, b.backendCostMicroUsd),
  };
}

/** What one row adds. */
export function totalsOf(row: UsageRow): Totals {
  const { images, tokensIn, tokensOut, costMicroUsd, backendCostMicroUsd } = row;
  return { requests: 1, images, tokensIn, tokensOut, costMicroUsd, backendCostMicroUsd };
}

const GROUPS = {
  model: ({ model }) => model,
  user: ({ user }) => user,
  backend: ({ backend }) => backend,
  tenant: ({ tenant }) => tenant,
  day: ({ at }) => dayName(at),
  month: ({ at }) => monthName(at),
} as const satisfies Record<UsageGrouping, (row: UsageRow) => string | undefined>;

/** The group a row belongs to. */
export function groupOf(row: UsageRow, groupBy: UsageGrouping): string | undefined {
  return GROUPS[groupBy](row);
}

/**
 * The conformance kit of budget stores: each promise of the contract as a check, for our stores and anybody's.
 * Leases are waited for in real time, so the whole list takes some seconds.
 */
import { concurrencyChecks } from './budget/concurrency-checks.js';
import { expiryChecks } from './budget/expiry-checks.js';
import { integerChecks } from './budget/integer-checks.js';
import { lapseChecks } from './budget/lapse-checks.js';
import { onceChecks } from './budget/once-checks.js';
import { reserveChecks } from './budget/reserve-checks.js';
import { commitChecks, releaseChecks } from './budget/settle-checks.js';
import { stormChecks } from './budget/storm-checks.js';
import type { CreateBudget } from './budget/subject.js';
import type { Check } from './check.js';

export type { CreateBudget };

/** Every check of a budget store. All are MUST: a ledger that keeps most promises does not keep money. */
export const budgetChecks: readonly Check<CreateBudget>[] = [
  ...reserveChecks,
  ...commitChecks,
  ...releaseChecks,
  ...expiryChecks,
  ...lapseChecks,
  ...onceChecks,
  ...integerChecks,
  ...concurrencyChecks,
  ...stormChecks,
];

/** The conformance kit of usage stores: each promise of the contract as a check, for our stores and anybody's. */
import type { Check } from './check.js';
import { appendChecks } from './usage/append-checks.js';
import { queryChecks } from './usage/query-checks.js';
import type { CreateUsage } from './usage/subject.js';
import { summaryChecks } from './usage/summary-checks.js';

export type { CreateUsage };

/** Every check of a usage store. All are MUST: people are sent invoices for what it says. */
export const usageChecks: readonly Check<CreateUsage>[] = [...appendChecks, ...queryChecks, ...summaryChecks];

/** What authors of plugins import: the promises of each contract as checks, for any test runner or none. */
export { type ApiSubject, apiChecks, type CreateApi } from './api-checks.js';
export { budgetChecks, type CreateBudget } from './budget-checks.js';
export type { Check, CheckLevel, NotApplicable } from './check.js';
export { type CreateProvider, type ProviderSubject, providerChecks } from './provider-checks.js';
export { type CreateStorage, storageChecks } from './storage-checks.js';
export { type CreateUsage, usageChecks } from './usage-checks.js';

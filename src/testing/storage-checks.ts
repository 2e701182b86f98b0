/** The conformance checks of a media storage. */
import type { Check } from './check.js';
import { directUrlChecks } from './storage/direct-url-checks.js';
import { getChecks } from './storage/get-checks.js';
import { listChecks } from './storage/list-checks.js';
import { putChecks } from './storage/put-checks.js';
import { removalChecks } from './storage/removal-checks.js';
import { statChecks } from './storage/stat-checks.js';
import { type CreateStorage, toCheck } from './storage/subject.js';

export type { CreateStorage } from './storage/subject.js';

/**
 * What every `MediaStorage` promises, as checks for any test runner or a deployment. Optional methods are looked for on
 * the storage itself; where one is missing its checks answer `notApplicable`. They store up to 50 MB, and a thousand
 * small objects where there is a `list`: seconds on a disk, a minute on a distant server.
 */
export const storageChecks: readonly Check<CreateStorage>[] = [
  ...putChecks,
  ...getChecks,
  ...statChecks,
  ...removalChecks,
  ...directUrlChecks,
  ...listChecks,
].map(toCheck);

/** The conformance kit of a deployment: a router as clients meet it, with all that stands in front of it. */
import { modelChecks } from './api/model-checks.js';
import { pictureChecks } from './api/picture-checks.js';
import { requestChecks } from './api/request-checks.js';
import type { CreateApi } from './api/subject.js';
import type { Check } from './check.js';

export type { ApiSubject, CreateApi } from './api/subject.js';

/**
 * What a deployment promises its clients, checked over HTTP: for a deployed app with its gateways and caches, and
 * for whoever serves the same API from other code. All checks together draw 14 pictures, at the price of the
 * subject's model; those whose id begins with `generate.`, `openai.` or `media.` draw, the others cost nothing.
 */
export const apiChecks: readonly Check<CreateApi>[] = [...requestChecks, ...modelChecks, ...pictureChecks];

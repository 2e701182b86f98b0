/** The conformance kit of the provider contract. */
import type { Check } from './check.js';
import { callChecks, transportChecks } from './provider/calls.js';
import { costChecks } from './provider/costs.js';
import { eventChecks, pictureChecks } from './provider/events.js';
import { failureChecks, featureChecks, promptChecks } from './provider/features.js';
import { labelChecks } from './provider/labels.js';
import { modelChecks } from './provider/models.js';
import type { CreateProvider } from './provider/subject.js';

export type { CreateProvider, ProviderSubject } from './provider/subject.js';

/**
 * Every promise a provider makes, as checks that run under any test runner or none. Point the provider at a local
 * server that behaves like its vendor: the checks make some dozens of calls per model. One at a time: a check
 * replaces `globalThis.fetch` while it runs.
 */
export const providerChecks: readonly Check<CreateProvider>[] = [
  ...modelChecks,
  ...eventChecks,
  ...costChecks,
  ...pictureChecks,
  ...callChecks,
  ...transportChecks,
  ...promptChecks,
  ...failureChecks,
  ...featureChecks,
  ...labelChecks,
];

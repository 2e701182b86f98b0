/** Calls of Stable Diffusion providers, for tests that speak to one directly. */
import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import type { GenerateCall, ImageEvent, Provider } from '../../src/core/provider.js';
import { isProviderError, type ProviderError } from '../../src/errors.js';
import type { DiffusionServer } from './diffusion-servers.js';
import { generateCall, type Outcome, outcomeOf } from './generate-call.js';

/** Closes a server when the test ends. */
export async function during<S extends DiffusionServer>(t: TestContext, starting: Promise<S>): Promise<S> {
  const server = await starting;
  t.after(() => server.close());
  return server;
}

/** What came of a call, of the provider's first model unless told. */
export function outcome(provider: Provider, changes: Partial<GenerateCall> = {}): Promise<Outcome> {
  const [model] = provider.models;
  assert.ok(model);
  return outcomeOf(provider, generateCall(model, changes));
}

/** The pictures of a call that must not fail. */
export async function pictures(
  provider: Provider,
  changes: Partial<GenerateCall> = {},
): Promise<ImageEvent[]> {
  const { events, thrown } = await outcome(provider, changes);
  if (thrown !== undefined) throw thrown;
  return events.filter((event) => event.type === 'image');
}

/** The failure of a call that must fail before anything is yielded. */
export async function failure(
  provider: Provider,
  changes: Partial<GenerateCall> = {},
): Promise<ProviderError> {
  const { events, thrown } = await outcome(provider, changes);
  assert.deepEqual(events, []);
  assert.ok(isProviderError(thrown), `a ProviderError, not ${String(thrown)}`);
  return thrown;
}

/** Calls as the router makes them, for tests that speak to a provider directly. */
import type { GenerateCall, GenerateEvent, Model, Provider } from '../../src/core/provider.js';
import { createUpstreamFetch } from '../../src/providers/upstream.js';

/** The router's default cap on an answer. */
const MAX_BYTES = 64 * 1024 * 1024;

/** A call for one picture of a model, with whatever else is said. */
export function generateCall(model: Model, changes: Partial<GenerateCall> = {}): GenerateCall {
  const signal = changes.signal ?? new AbortController().signal;
  return {
    requestId: 'req_test',
    operation: 'generate',
    model,
    prompt: 'A lighthouse at dusk',
    n: 1,
    size: model.sizes.default,
    quality: undefined,
    style: undefined,
    background: undefined,
    outputFormat: undefined,
    outputCompression: undefined,
    seed: undefined,
    negativePrompt: undefined,
    inputs: [],
    mask: undefined,
    previews: 0,
    endUser: undefined,
    metadata: Object.create(null),
    signal,
    sendBy: Date.now() + 3_600_000,
    fetch: createUpstreamFetch({ maxBytes: MAX_BYTES, signal }),
    ...changes,
  };
}

/** A provider's model by slug; throws when it has none. */
export function modelOf(provider: Provider, slug: string): Model {
  const model = provider.models.find((candidate) => candidate.slug === slug);
  if (model === undefined) throw new Error(`${provider.name} has no ${slug}`);
  return model;
}

/** What came of a call: its events, and what it threw, if it did. */
export interface Outcome {
  readonly events: readonly GenerateEvent[];
  readonly thrown: unknown;
}

/** What an event says, without the way to free its memory. */
export function saidBy(event: GenerateEvent): GenerateEvent {
  if (event.type !== 'image' && event.type !== 'preview') return event;
  const { release: _, ...said } = event;
  return said;
}

/** Runs a call to its end. */
export async function outcomeOf(provider: Provider, call: GenerateCall): Promise<Outcome> {
  const events: GenerateEvent[] = [];
  try {
    for await (const event of provider.generate(call)) events.push(saidBy(event));
    return { events, thrown: undefined };
  } catch (thrown) {
    return { events, thrown };
  }
}

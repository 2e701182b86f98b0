/** Tests that run over both of Google's transports. */
import { type TestContext, test } from 'node:test';
import type { Model } from '../../src/core/provider.js';
import type { ImagenOptions } from '../../src/providers/imagen.js';
import { modelOf } from './generate-call.js';
import { type GoogleBench, startGoogle } from './google-providers.js';
import type { GoogleAnswer, GoogleHandler } from './google-upstream.js';

/** How the SDK speaks. */
export type Transport = 'grpc' | 'rest';

/** What a test has in hand. */
export interface GoogleTest extends GoogleBench {
  /** A model by its slug without `google/`. */
  model(name: string): Model;
}

/** A provider and its server, which end with the test. */
export async function startFor(
  t: TestContext,
  transport: Transport,
  options: Partial<ImagenOptions> = {},
): Promise<GoogleTest> {
  const bench = await startGoogle(transport, options);
  t.after(() => bench.close());
  return { ...bench, model: (name) => modelOf(bench.provider, `google/${name}`) };
}

/** A test of each transport. */
export function overBoth(title: string, run: (t: TestContext, transport: Transport) => Promise<void>): void {
  for (const transport of ['grpc', 'rest'] as const) test(`${transport}: ${title}`, (t) => run(t, transport));
}

/** Always the same answer. */
export function only(answer: GoogleAnswer): GoogleHandler {
  return () => answer;
}

/**
 * What client programs talk to: an app whose API keys are scenarios, and which counts, by key, the requests that
 * arrived and the calls that went on to the provider.
 */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import express from 'express';
import { memoryBudget } from '../../src/budgets/memory.js';
import type { Caller } from '../../src/core/caller.js';
import { imageCount, monthly, perMinute, usd } from '../../src/core/windows.js';
import { ProviderError } from '../../src/errors.js';
import { bearerKeys, hashKey } from '../../src/http/identify.js';
import { type PlaceholderModel, placeholder } from '../../src/providers/placeholder.js';
import { SKETCH } from '../../src/providers/placeholder-options.js';
import { createImagesRouter } from '../../src/router.js';
import { memoryStorage } from '../../src/storage/memory.js';

/** A running server. */
export interface ClientServer {
  /** Where the router is mounted. */
  readonly url: string;
  /** Ends it. */
  close(): Promise<void>;
}

const model: PlaceholderModel = {
  sizes: { ...SKETCH.sizes, default: { width: 64, height: 64 } },
  price: usd(0.04),
};
const successor = { slug: 'placeholder/sketch', serves: true, qualities: { fine: 'hd' } };

const MODELS: readonly PlaceholderModel[] = [
  model,
  { ...model, slug: 'openai/gpt-image-2', defaultResponseFormat: 'b64_json' },
  {
    ...model,
    slug: 'placeholder/old',
    qualities: ['standard', 'fine'],
    lifecycle: { shutdownAt: '2020-01-01', successor },
  },
  {
    ...model,
    slug: 'placeholder/gone',
    lifecycle: { shutdownAt: '2020-01-01', successor: { ...successor, serves: false } },
  },
];

/** What differs from the ordinary caller, by API key. Any other key of {@link KEYS} is ordinary. */
const CALLERS: Readonly<Record<string, Partial<Caller>>> = {
  poor: { budgets: [monthly(usd(0.05))] },
  limited: { budgets: [perMinute(imageCount(1))] },
  restricted: { models: ['openai/*'] },
};

const KEYS = [
  ...['ordinary', 'poor', 'limited', 'restricted', 'validation', 'retired', 'refused', 'safety'],
  ...['busy', 'busy-long', 'timeout', 'flaky', 'ai', 'ai-validation', 'ai-safety', 'ai-busy'],
];

/** Starts the server on a free port of 127.0.0.1. */
export async function startClientServer(): Promise<ClientServer> {
  const requests = new Map<string, number>();
  const calls = new Map<string, number>();
  const count = (counts: Map<string, number>, key: string) => counts.set(key, (counts.get(key) ?? 0) + 1);

  const images = createImagesRouter({
    providers: [
      placeholder({
        models: MODELS,
        onCall: ({ endUser }) => count(calls, endUser ?? ''),
        fail: ({ prompt, endUser = '' }) => failure(prompt, calls.get(endUser) ?? 0),
      }),
    ],
    storage: memoryStorage(),
    media: { secrets: 'a secret that only client programs know' },
    identify: bearerKeys(
      Object.fromEntries(
        KEYS.map((key): [string, Caller] => [
          hashKey(key),
          { tenant: key, models: 'all', budgets: [monthly(usd(100))], ...CALLERS[key] },
        ]),
      ),
    ),
    budget: memoryBudget(),
  });
  const app = express();
  app.get('/seen/:key', (req, res) => {
    const { key } = req.params;
    res.json({ requests: requests.get(key) ?? 0, calls: calls.get(key) ?? 0 });
  });
  app.use((req, _res, next) => {
    count(requests, req.get('authorization')?.replace('Bearer ', '') ?? '');
    next();
  });
  app.use('/ai', images);
  const server = createServer(app).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/ai`,
    async close() {
      server.closeAllConnections();
      server.close();
      await images.close();
    },
  };
}

/** How a call of the provider fails, by words in its prompt and how many calls there were with it. */
function failure(prompt: string, call: number): Error | undefined {
  const limited = (retryAfter: number) =>
    new ProviderError('rate_limited', 'The provider is busy.', { billed: 'no', retryAfter });
  if (prompt.includes('busy at first') && call === 1) return limited(1);
  if (prompt.includes('busy for long')) return limited(120);
  // The router itself tries a second time.
  if (prompt.includes('down at first') && call <= 2) {
    return new ProviderError('unavailable', 'The provider is down.', { billed: 'no' });
  }
  if (prompt.includes('too slow')) {
    return new ProviderError('timeout', 'The provider did not answer.', { billed: 'unknown' });
  }
  if (prompt.includes('unsafe')) {
    return new ProviderError('content_filtered', 'The provider refused this prompt.', { billed: 'no' });
  }
  return undefined;
}

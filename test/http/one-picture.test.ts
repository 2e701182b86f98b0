/** A request holds one picture at a time: whatever becomes of them, each is let go before the next is read. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request, type ServerResponse } from 'node:http';
import { type TestContext, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Provider } from '../../src/core/provider.js';
import type { MediaStorage } from '../../src/core/storage.js';
import { type ClientOptions, imagen } from '../../src/providers/imagen.js';
import { openai } from '../../src/providers/openai.js';
import { stableDiffusion } from '../../src/providers/stable-diffusion.js';
import { memoryStorage } from '../../src/storage/memory.js';
import { createTestApp, TEST_KEY, type TestApp } from '../support/app.js';
import { createOpenAIUpstream, jsonBody, streamFrames } from '../support/openai-upstream.js';
import { hugeNoise } from '../support/pictures.js';

setFlagsFromString('--expose-gc');
const collectGarbage: () => void = runInNewContext('gc');

const EDGE = 1024;
const COUNT = 6;

/** Three megabytes that no check or encoder makes small. */
const noise = await hugeNoise(EDGE);

/** The next picture, which is on its way already when one is done, and room for them that grew faster than they did. */
const MOST_MORE_BYTES = noise.byteLength * 3;

const data = noise.toString('base64');
const answer = Buffer.from(JSON.stringify({ created: 1, data: Array(COUNT).fill({ b64_json: data }) }));
const prediction = Buffer.from(JSON.stringify({ bytesBase64Encoded: data, mimeType: 'image/png' }));
const PREVIEWS = 3;
const stream = Buffer.from(streamFrames({ image: noise, previews: PREVIEWS }).join(''));

/** By the model they draw with. */
const ADAPTERS = {
  'openai/gpt-image-1': (url: string) => openai({ apiKey: 'secret', baseURL: url }),
  'stability/sd-xl': (url: string) =>
    stableDiffusion({ url: new URL(url).origin, protocol: 'openai', models: [{ maxImages: COUNT }] }),
  'google/imagen-4': (url: string) =>
    imagen({
      project: 'easel',
      transport: 'rest',
      apiEndpoint: new URL(url).host,
      clientOptions: { protocol: 'http', apiKey: 'key-of-nothing' } as ClientOptions,
    }),
} as const satisfies Readonly<Record<string, (url: string) => Provider>>;

/**
 * The real adapter in front of a server that has all pictures at once; says what is in memory after each of them, and
 * after each preview.
 */
async function watchedProvider(t: TestContext, model: keyof typeof ADAPTERS) {
  const upstream = await createOpenAIUpstream();
  t.after(() => upstream.close());
  upstream.respondWith((asked, res) => {
    const { stream: isStream, parameters } = jsonBody(asked);
    res.setHeader('Content-Type', isStream === true ? 'text/event-stream' : 'application/json');
    if (parameters === undefined) res.end(isStream === true ? stream : answer);
    else sendPredictions(Number(Object(parameters).sampleCount), res);
  });
  const inner = ADAPTERS[model](upstream.url);
  t.after(() => inner.close?.());
  // Google's SDK fills memory with definitions of its protocol.
  await inner.warmup?.();
  const heldBytes: number[] = [];
  const provider: Provider = {
    ...inner,
    async *generate(call) {
      for await (const event of inner.generate(call)) {
        yield event;
        if (event.type !== 'end') heldBytes.push(await inMemory());
      }
    },
  };
  return { provider, heldBytes };
}

/** An answer of Imagen. */
function sendPredictions(count: number, response: ServerResponse): void {
  for (let place = 0; place < count; place += 1) {
    response.write(place === 0 ? '{"predictions":[' : ',');
    response.write(prediction);
  }
  response.end(']}');
}

/** Bytes of everything that somebody refers to. */
async function inMemory(): Promise<number> {
  // The second finishes what the first has found to be garbage, which it frees on another thread.
  for (const _ of [1, 2]) {
    await turn();
    collectGarbage();
  }
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** Takes pictures and keeps none, as a storage that is not in this process. */
const elsewhere = (): MediaStorage => ({ ...memoryStorage(), put: async () => undefined });

/** Asks, and forgets the answer as it comes. */
async function askFor(app: TestApp, body: object): Promise<number> {
  const asked = request(`${app.url}/oai/v1/images/generations`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${TEST_KEY}`, 'Content-Type': 'application/json' },
  });
  asked.end(JSON.stringify({ prompt: 'Noise', n: COUNT, ...body }));
  const [answer] = await once(asked, 'response');
  answer.resume();
  await once(answer, 'end');
  return answer.statusCode;
}

const SIZE = { size: `${EDGE}x${EDGE}`, response_format: 'b64_json' } as const;
const ANSWERS = {
  'handed over': { verify: 'container', body: SIZE },
  'decoded and handed over': { verify: 'decode', body: SIZE },
  'encoded anew and handed over': { verify: 'decode', body: { ...SIZE, output_format: 'webp' } },
  stored: { verify: 'container', body: { ...SIZE, response_format: 'url' } },
} as const;
const WAYS = {
  'openai/gpt-image-1': {
    ...ANSWERS,
    'streamed with their previews': {
      verify: 'container',
      body: { ...SIZE, stream: true, partial_images: PREVIEWS },
    },
  },
  'stability/sd-xl': ANSWERS,
  'google/imagen-4': ANSWERS,
} as const;

for (const model of ['openai/gpt-image-1', 'stability/sd-xl', 'google/imagen-4'] as const) {
  for (const [what, { verify, body }] of Object.entries(WAYS[model])) {
    test(`of pictures of ${model} that are ${what} one is held at a time`, async (t) => {
      const { provider, heldBytes } = await watchedProvider(t, model);
      const app = await createTestApp(t, {
        providers: [provider],
        storage: elsewhere(),
        pictures: { verify },
        // A stream has one picture: several are several calls.
        limits: { callsAtOnce: 1 },
      });
      assert.equal(await askFor(app, { ...body, model }), 200);
      assert.equal(heldBytes.length, COUNT * ('stream' in body ? PREVIEWS + 1 : 1));
      const least = Math.min(...heldBytes);
      const more = heldBytes.map((bytes) => bytes - least);
      assert.ok(
        Math.max(...more) < MOST_MORE_BYTES,
        `a picture has ${noise.byteLength} bytes, and above the least there were ${more} after each`,
      );
    });
  }
}

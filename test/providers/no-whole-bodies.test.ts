/** No body with pictures in it becomes one text: `JSON.parse` sees only what is left without them. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { StringDecoder } from 'node:string_decoder';
import { type TestContext, test } from 'node:test';
import type { Provider } from '../../src/core/provider.js';
import { openai } from '../../src/providers/openai.js';
import { stableDiffusion } from '../../src/providers/stable-diffusion.js';
import { generateCall, outcomeOf } from '../support/generate-call.js';

const PICTURE = Buffer.alloc(1 << 20, 7).toString('base64');
/** More than all else there is to parse. */
const MOST_PARSED = 10_000;
/** Chunks, and what decoding does to them, are far shorter than a picture. */
const MOST_LENGTH = PICTURE.length / 2;

async function serve(t: TestContext, body: string, type: string): Promise<string> {
  const server = createServer((request, response) => {
    request.resume();
    response.setHeader('content-type', type);
    response.end(body);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(async () => {
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Every way from bytes to a text: which objects have it, and what it is called. */
const READERS = [
  [JSON, 'parse'],
  [Response.prototype, 'text'],
  [Response.prototype, 'json'],
  [Buffer.prototype, 'toString'],
  [TextDecoder.prototype, 'decode'],
  [StringDecoder.prototype, 'write'],
] as const;

/** Sees how long the longest text is that was parsed, and the longest that was made of bytes. */
function watchTexts(t: TestContext): { parsed: number; read: number } {
  const longest = { parsed: 0, read: 0 };
  const note = (kind: keyof typeof longest, text: unknown) => {
    if (typeof text === 'string') longest[kind] = Math.max(longest[kind], text.length);
  };
  for (const [owner, name] of READERS) {
    const method: (...args: unknown[]) => unknown = Reflect.get(owner, name);
    Reflect.set(owner, name, function (this: unknown, ...args: unknown[]) {
      if (owner === JSON) note('parsed', args[0]);
      const result = method.apply(this, args);
      if (result instanceof Promise)
        result.then(
          (text) => note('read', textOf(text)),
          () => undefined,
        );
      else if (owner !== JSON) note('read', result);
      return result;
    });
    t.after(() => void Reflect.set(owner, name, method));
  }
  return longest;
}

/** What `Response.json()` has read, as the text it was. */
function textOf(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

const PREVIEWS = 1;
const event = (type: string) => `event: ${type}\ndata: ${JSON.stringify({ type, b64_json: PICTURE })}\n\n`;

interface Way {
  readonly answer: object | string;
  readonly provider: (url: string) => Provider;
}

const WAYS: Readonly<Record<string, Way>> = {
  OpenAI: {
    answer: { data: [{ b64_json: PICTURE }] },
    provider: (url) => openai({ apiKey: 'key', baseURL: `${url}/v1` }),
  },
  'OpenAI, streamed': {
    answer: event('image_generation.partial_image') + event('image_generation.completed'),
    provider: (url) => openai({ apiKey: 'key', baseURL: `${url}/v1` }),
  },
  'diffusion servers with /sdapi': {
    answer: { images: [PICTURE], parameters: {}, info: '{}' },
    provider: (url) => stableDiffusion({ url, protocol: 'sdapi' }),
  },
  'diffusion servers like OpenAI': {
    answer: { data: [{ b64_json: PICTURE }] },
    provider: (url) => stableDiffusion({ url, protocol: 'openai' }),
  },
  Stability: {
    answer: { image: PICTURE, finish_reason: 'SUCCESS', seed: 1 },
    provider: (url) => stableDiffusion({ url, protocol: 'stability', apiKey: 'key' }),
  },
};

for (const [name, { answer, provider: create }] of Object.entries(WAYS)) {
  test(`a picture of ${name} is decoded without a text of the whole answer`, async (t) => {
    const isStream = typeof answer === 'string';
    const [body, type] = isStream
      ? ([answer, 'text/event-stream'] as const)
      : ([JSON.stringify(answer), 'application/json'] as const);
    const provider = create(await serve(t, body, type));
    const [model] = provider.models;
    assert.ok(model, 'the provider has a model');
    const longest = watchTexts(t);
    const { events } = await outcomeOf(provider, generateCall(model, { previews: isStream ? PREVIEWS : 0 }));
    const pictures = events.flatMap((event) =>
      event.type === 'image' || event.type === 'preview' ? [event.image.bytes.byteLength] : [],
    );
    assert.deepEqual(pictures, Array(isStream ? 1 + PREVIEWS : 1).fill(1 << 20));
    const { parsed, read } = longest;
    assert.ok(parsed > 0 && parsed < MOST_PARSED, `the longest text parsed has ${parsed} characters`);
    assert.ok(read < MOST_LENGTH, `the longest text made of bytes has ${read} characters`);
  });
}

/**
 * No body with pictures in it becomes one text: `JSON.parse` sees only what is left without them, and they are decoded
 * once, to where they stay.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { StringDecoder } from 'node:string_decoder';
import { type TestContext, test } from 'node:test';
import type { Provider } from '../../src/core/provider.js';
import { type ClientOptions, imagen } from '../../src/providers/imagen.js';
import { openai } from '../../src/providers/openai.js';
import { stableDiffusion } from '../../src/providers/stable-diffusion.js';
import { generateCall, modelOf, outcomeOf } from '../support/generate-call.js';

const PICTURE_BYTES = 1 << 20;
const PICTURE = Buffer.alloc(PICTURE_BYTES, 7).toString('base64');
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

/** Hears of each call of a method until the test ends. */
function watch(
  t: TestContext,
  [owner, name]: readonly [owner: object, name: string],
  hear: (args: readonly unknown[], result: unknown) => void,
): void {
  const method: (...args: unknown[]) => unknown = Reflect.get(owner, name);
  Reflect.set(owner, name, function (this: unknown, ...args: unknown[]) {
    const result = method.apply(this, args);
    hear(args, result);
    return result;
  });
  t.after(() => void Reflect.set(owner, name, method));
}

/** Sees how long the longest text is that was parsed, and the longest that was made of bytes. */
function watchTexts(t: TestContext): { parsed: number; read: number } {
  const longest = { parsed: 0, read: 0 };
  const note = (kind: keyof typeof longest, text: unknown) => {
    if (typeof text === 'string') longest[kind] = Math.max(longest[kind], text.length);
  };
  for (const reader of READERS) {
    watch(t, reader, ([text], result) => {
      if (reader[0] === JSON) note('parsed', text);
      else if (result instanceof Promise)
        result.then(
          (read) => note('read', textOf(read)),
          () => undefined,
        );
      else note('read', result);
    });
  }
  return longest;
}

const VIEWS: object = Object.getPrototypeOf(Uint8Array.prototype);

/** Sees how many bytes were decoded from base64, of texts of which length at most, and how many were copied. */
function watchBytes(t: TestContext): { decoded: number; longest: number; copied: number } {
  const seen = { decoded: 0, longest: 0, copied: 0 };
  const noteDecoded = (text: unknown, byteLength: number) => {
    seen.decoded += byteLength;
    seen.longest = Math.max(seen.longest, String(text).length);
  };
  const lengthOf = (bytes: unknown) => (bytes instanceof Uint8Array ? bytes.byteLength : 0);
  watch(t, [Buffer.prototype, 'write'], (args, length) => {
    if (args.includes('base64')) noteDecoded(args[0], Number(length));
  });
  watch(t, [Buffer, 'from'], ([source, encoding], bytes) => {
    if (encoding === 'base64') noteDecoded(source, lengthOf(bytes));
    else if (!(source instanceof ArrayBuffer)) seen.copied += lengthOf(bytes);
  });
  watch(t, [Buffer.prototype, 'copy'], (_, length) => {
    seen.copied += Number(length);
  });
  watch(t, [VIEWS, 'set'], ([source]) => {
    seen.copied += lengthOf(source);
  });
  for (const copier of [
    [Buffer, 'concat'],
    [VIEWS, 'slice'],
  ] as const) {
    watch(t, copier, (_, bytes) => {
      seen.copied += lengthOf(bytes);
    });
  }
  return seen;
}

/** What `Response.json()` has read, as the text it was. */
function textOf(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** The first bytes of a picture, and what is around it. */
const MOST_MOVED = PICTURE_BYTES / 10;

const PREVIEWS = 1;
const event = (type: string) => `event: ${type}\ndata: ${JSON.stringify({ type, b64_json: PICTURE })}\n\n`;

interface Way {
  readonly answer: object | string;
  /** Whether it says of pictures how long they are. Others are moved as they grow. */
  readonly isLengthKnown?: boolean;
  readonly provider: (url: string) => Provider;
  /** @defaultValue the provider's first model */
  readonly model?: string;
}

const google = (url: string) =>
  imagen({
    project: 'easel',
    transport: 'rest',
    apiEndpoint: new URL(url).host,
    clientOptions: { protocol: 'http', apiKey: 'key-of-nothing' } as ClientOptions,
  });

const WAYS: Readonly<Record<string, Way>> = {
  OpenAI: {
    answer: { data: [{ b64_json: PICTURE }] },
    isLengthKnown: true,
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
  'Imagen over REST': {
    answer: { predictions: [{ bytesBase64Encoded: PICTURE, mimeType: 'image/png' }] },
    isLengthKnown: true,
    provider: google,
    model: 'google/imagen-4',
  },
  'Gemini over REST': {
    answer: {
      candidates: [{ content: { parts: [{ inlineData: { mimeType: 'image/png', data: PICTURE } }] } }],
    },
    isLengthKnown: true,
    provider: google,
    model: 'google/gemini-3.1-flash-image',
  },
};

for (const [name, { answer, provider: create, model: slug, isLengthKnown = false }] of Object.entries(WAYS)) {
  test(`a picture of ${name} is decoded without a text of the whole answer, to where it stays`, async (t) => {
    const isStream = typeof answer === 'string';
    const [body, type] = isStream
      ? ([answer, 'text/event-stream'] as const)
      : ([JSON.stringify(answer), 'application/json'] as const);
    const provider = create(await serve(t, body, type));
    t.after(() => provider.close?.());
    const model = modelOf(provider, slug ?? provider.models[0]?.slug ?? '');
    // Google's SDK parses definitions of its protocol.
    await provider.warmup?.();
    const longest = watchTexts(t);
    const seen = watchBytes(t);
    const { events } = await outcomeOf(provider, generateCall(model, { previews: isStream ? PREVIEWS : 0 }));
    const pictures = events.flatMap((event) =>
      event.type === 'image' || event.type === 'preview' ? [event.image.bytes] : [],
    );
    const count = isStream ? 1 + PREVIEWS : 1;
    assert.deepEqual(
      pictures.map(({ byteLength }) => byteLength),
      Array(count).fill(PICTURE_BYTES),
    );
    const { parsed, read } = longest;
    assert.ok(parsed > 0 && parsed < MOST_PARSED, `the longest text parsed has ${parsed} characters`);
    assert.ok(read < MOST_LENGTH, `the longest text made of bytes has ${read} characters`);
    const { decoded, longest: text, copied } = seen;
    assert.ok(text < MOST_LENGTH, `a text of ${text} characters was decoded`);
    assert.equal(decoded, count * PICTURE_BYTES, 'every byte is decoded once, and no others are');
    const mostCopied = isLengthKnown ? MOST_MOVED : count * PICTURE_BYTES;
    assert.ok(copied < mostCopied, `${copied} bytes were copied`);
    for (const { buffer } of pictures)
      assert.ok(buffer.byteLength < 2 * PICTURE_BYTES, `it lies among ${buffer.byteLength} bytes`);
  });
}

/** Clients and storages that take their time: what the provider sent is neither lost nor kept waiting for money. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import sharp from 'sharp';
import { openai } from '../../src/providers/openai.js';
import { memoryStorage } from '../../src/storage/memory.js';
import { createTestApp, TEST_KEY, type TestApp, until } from '../support/app.js';
import { createOpenAIUpstream } from '../support/openai-upstream.js';
import { hugeNoise } from '../support/pictures.js';

const EDGE = 1024;
const COUNT = 4;
const REQUEST_MS = 3_000;

/** A picture no encoder makes small: three megabytes, so that several are more than connections hold. */
const noise = await hugeNoise(EDGE);

const BODY = {
  model: 'openai/gpt-image-1',
  prompt: 'Noise',
  size: `${EDGE}x${EDGE}`,
  quality: 'high',
  n: COUNT,
} as const;

/** The real adapter in front of a server that answers all at once. */
async function promptProvider(t: TestContext) {
  const upstream = await createOpenAIUpstream();
  t.after(() => upstream.close());
  const picture = { b64_json: noise.toString('base64') };
  const tokens = 4160 * COUNT;
  const body = JSON.stringify({
    created: 1,
    data: Array.from({ length: COUNT }, () => picture),
    usage: {
      input_tokens: 50,
      output_tokens: tokens,
      total_tokens: tokens + 50,
      input_tokens_details: { text_tokens: 50, image_tokens: 0 },
    },
  });
  upstream.respondWith((_, res) => {
    res.setHeader('Content-Type', 'application/json');
    res.end(body);
  });
  return openai({ apiKey: 'secret', baseURL: upstream.url });
}

/** Asks for an answer without reading it. */
async function askFor(app: TestApp, path: string, body: object): Promise<IncomingMessage> {
  const asked = httpRequest(app.url + path, {
    method: 'POST',
    headers: { Authorization: `Bearer ${TEST_KEY}`, 'Content-Type': 'application/json' },
  });
  asked.end(JSON.stringify(body));
  const [answer] = (await once(asked, 'response')) as [IncomingMessage];
  return answer.pause();
}

async function textOf(answer: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of answer) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

async function pixelsOf(base64: string): Promise<Buffer> {
  return sharp(Buffer.from(base64, 'base64')).raw().toBuffer();
}

test('a client that reads nothing keeps neither the provider nor the ledger waiting, and finds all of it later', async (t) => {
  const providers = [await promptProvider(t)];
  const app = await createTestApp(t, { providers, limits: { requestMs: REQUEST_MS } });
  const answer = await askFor(app, '/v1/inference/images/generate', { ...BODY, response_format: 'b64_json' });
  await until(() => app.eventsOf('request.completed').length === 1);
  await sleep(REQUEST_MS);
  const { data } = JSON.parse(await textOf(answer));
  assert.deepEqual(data.errors ?? [], []);
  const pixels = await pixelsOf(noise.toString('base64'));
  assert.equal(data.data.length, COUNT);
  for (const { b64_json } of data.data) {
    assert.ok((await pixelsOf(b64_json)).equals(pixels), 'the same pixels');
  }
});

test('a stream that nobody reads is settled all the same, and whole when it is read', async (t) => {
  const providers = [await promptProvider(t)];
  const app = await createTestApp(t, { providers, limits: { requestMs: REQUEST_MS } });
  const answer = await askFor(app, '/oai/v1/images/generations', {
    ...BODY,
    model: 'gpt-image-1',
    stream: true,
  });
  await until(() => app.eventsOf('request.completed').length === 1);
  const frames = (await textOf(answer)).match(/^event: image_generation\.completed$/gm);
  assert.equal(frames?.length, COUNT);
});

test('the time storage takes is not taken from the provider', async (t) => {
  const providers = [await promptProvider(t)];
  const memory = memoryStorage();
  const storage = {
    ...memory,
    put: async (...args: Parameters<typeof memory.put>) => {
      await sleep(REQUEST_MS / 2);
      return memory.put(...args);
    },
  };
  const app = await createTestApp(t, { providers, storage, limits: { requestMs: REQUEST_MS } });
  const { body } = await app.native(BODY).expect(200);
  assert.equal(body.data.data.length, COUNT);
  assert.equal(body.data.errors, undefined);
});

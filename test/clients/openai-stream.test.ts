/** The openai package reading our streams. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OpenAI } from 'openai';
import { ProviderError } from '../../src/errors.js';
import { createTestApp, TEST_KEY, type TestApp, testModel, until } from '../support/app.js';
import { altered } from '../support/hostile-providers.js';

const BODY = { model: 'placeholder/sketch', prompt: 'A lighthouse', stream: true } as const;

function clientOf({ url }: TestApp): OpenAI {
  return new OpenAI({ baseURL: `${url}/oai/v1`, apiKey: TEST_KEY, maxRetries: 0 });
}

test('previews and pictures are the events its types promise', async (t) => {
  const app = await createTestApp(t, {
    placeholder: {
      models: [testModel({ maxImages: 1 })],
      usage: () => ({ textIn: 5, imageIn: 0, imageOut: 100 }),
    },
  });
  const stream = await clientOf(app).images.generate({ ...BODY, n: 2, partial_images: 2, size: '1024x1024' });
  const types: string[] = [];
  let tokens = 0;
  for await (const event of stream) {
    types.push(event.type);
    assert.equal(event.output_format, 'png');
    assert.equal(event.size, '1024x1024');
    assert.equal(event.background, 'opaque');
    assert.equal(Buffer.from(event.b64_json, 'base64').toString('hex', 0, 4), '89504e47');
    if (event.type === 'image_generation.completed') tokens += event.usage.total_tokens;
    else assert.ok([0, 1].includes(event.partial_image_index), `${event.partial_image_index}`);
  }
  assert.equal(types.filter((type) => type === 'image_generation.partial_image').length, 4);
  assert.equal(types.filter((type) => type === 'image_generation.completed').length, 2);
  assert.equal(tokens, 210);
});

test('a refusal before the stream is an error with its status', async (t) => {
  const app = await createTestApp(t);
  const refused = clientOf(app).images.generate({ ...BODY, prompt: '[fail:content_filtered]' });
  await assert.rejects(refused, (error) => {
    assert.ok(error instanceof OpenAI.BadRequestError, String(error));
    assert.equal(error.code, 'moderation_blocked');
    return true;
  });
});

test('a failure in mid-stream is thrown with our words', async (t) => {
  const provider = altered(async function* (events) {
    for await (const event of events) {
      if (event.type === 'image') throw new ProviderError('unavailable', 'It broke.', { billed: 'unknown' });
      yield event;
    }
  });
  const app = await createTestApp(t, { providers: [provider] });
  const stream = await clientOf(app).images.generate({ ...BODY, partial_images: 1 });
  const seen: string[] = [];
  await assert.rejects(
    (async () => {
      for await (const { type } of stream) seen.push(type);
    })(),
    (error) => {
      assert.ok(error instanceof OpenAI.APIError, String(error));
      assert.match(error.message, /It broke\./);
      assert.equal(error.code, 'backend_error');
      return true;
    },
  );
  assert.deepEqual(seen, ['image_generation.partial_image']);
});

test('a picture that is missing beside others throws nothing away', async (t) => {
  const app = await createTestApp(t, {
    placeholder: { blocked: (_, index) => (index === 0 ? { reason: 'x', stage: 'output' } : undefined) },
  });
  const stream = await clientOf(app).images.generate({ ...BODY, n: 2 });
  const events = [];
  for await (const event of stream) events.push(event);
  assert.deepEqual(
    events.map(({ type }) => type),
    ['image_generation.completed'],
  );
  assert.match(JSON.stringify(events[0]), /"errors":\[\{"index":0,"code":"BACKEND_ERROR"/);
});

test('whoever stops reading stops the provider', async (t) => {
  let aborted = false;
  const provider = altered(async function* (events, { signal }) {
    for await (const event of events) {
      yield event;
      await new Promise<void>((_, reject) => {
        signal.addEventListener('abort', () => {
          aborted = true;
          reject(signal.reason);
        });
      });
    }
  });
  const app = await createTestApp(t, { providers: [provider] });
  const stream = await clientOf(app).images.generate({ ...BODY, partial_images: 1 });
  for await (const { type } of stream) {
    assert.equal(type, 'image_generation.partial_image');
    break;
  }
  await until(() => aborted);
  await until(async () => (await app.balances())['monthly-usd-tenant']?.held === 0);
  assert.equal((await app.balances())['monthly-usd-tenant']?.spent, 40_000);
});

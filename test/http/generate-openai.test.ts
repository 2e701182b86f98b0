import assert from 'node:assert/strict';
import { test } from 'node:test';
import sharp from 'sharp';
import { createTestApp, testModel } from '../support/app.js';
import { countingStorage } from '../support/hostile-providers.js';

const BODY = { model: 'placeholder/sketch', prompt: 'A lighthouse' };
const NO_TOKENS = {
  ...{ input_tokens: 0, output_tokens: 0, total_tokens: 0 },
  input_tokens_details: { text_tokens: 0, image_tokens: 0 },
  output_tokens_details: { text_tokens: 0, image_tokens: 0 },
};

test('an OpenAI answer has no envelope and exactly OpenAI’s fields', async (t) => {
  const app = await createTestApp(t);
  const answer = await app.openai(BODY);
  assert.equal(answer.status, 200, answer.text);
  const [item] = answer.body.data;
  assert.deepEqual(answer.body, {
    created: answer.body.created,
    data: [{ url: item.url }],
    ...{ output_format: 'png', size: '64x64', quality: 'standard', background: 'opaque' },
    usage: NO_TOKENS,
  });
  assert.ok(Math.abs(answer.body.created - Date.now() / 1000) < 60, 'created is in seconds');
  assert.ok(item.url.startsWith(`${app.url}/v1/media/img_`), item.url);
  assert.equal((await fetch(item.url)).status, 200);
  assert.match(answer.get('x-request-id') ?? '', /^req_/);
});

test('output_format, size, quality and background say what was drawn', async (t) => {
  const app = await createTestApp(t);
  const asked = { output_format: 'webp', size: '96x64', quality: 'hd', background: 'transparent' };
  const answer = await app.openai({ ...BODY, ...asked, response_format: 'b64_json' });
  const { output_format, size, quality, background, data } = answer.body;
  assert.deepEqual({ output_format, size, quality, background }, asked);
  const drawn = await sharp(Buffer.from(data[0].b64_json, 'base64')).metadata();
  assert.deepEqual([drawn.format, drawn.width, drawn.height, drawn.hasAlpha], ['webp', 96, 64, true]);
});

test('a model without qualities answers with quality auto', async (t) => {
  const app = await createTestApp(t, { placeholder: { models: [testModel({ qualities: [] })] } });
  assert.equal((await app.openai(BODY)).body.quality, 'auto');
});

test('usage is what the vendor counted, added up over all calls', async (t) => {
  const app = await createTestApp(t, {
    placeholder: {
      models: [testModel({ maxImages: 1 })],
      usage: () => ({ textIn: 10, imageIn: 200, imageOut: 3000, textOut: 4 }),
    },
  });
  const answer = await app.openai({ ...BODY, n: 2 });
  assert.deepEqual(answer.body.usage, {
    ...{ input_tokens: 420, output_tokens: 6008, total_tokens: 6428 },
    input_tokens_details: { text_tokens: 20, image_tokens: 400 },
    output_tokens_details: { text_tokens: 8, image_tokens: 6000 },
  });
});

test('n: 3 gives three items in the order of their index, whatever call they came from', async (t) => {
  const app = await createTestApp(t, {
    placeholder: { models: [testModel({ maxImages: 1 })], delayMs: ({ seed }) => 45 - (seed ?? 0) * 15 },
  });
  const answer = await app.openai({ ...BODY, n: 3, seed: 0, response_format: 'b64_json' });
  const items = answer.body.data.map(({ b64_json }: { b64_json: string }) => b64_json);
  assert.equal(new Set(items).size, 3);
  for (const [index, item] of items.entries()) {
    const alone = await app.openai({ ...BODY, seed: index, response_format: 'b64_json' });
    assert.equal(alone.body.data[0].b64_json, item, `picture ${index}`);
  }
});

for (const format of ['url', 'b64_json'] as const) {
  test(`a client that does not say gets the model’s default on the OpenAI surface: ${format}`, async (t) => {
    const { storage, puts } = countingStorage();
    const models = [testModel({ defaultResponseFormat: format })];
    const app = await createTestApp(t, { storage, placeholder: { models } });
    const answer = await app.openai(BODY);
    assert.deepEqual(Object.keys(answer.body.data[0]), [format]);
    assert.equal(puts.length, format === 'url' ? 1 : 0);
  });
}

test('the native surface defaults to url, whatever the model’s default is', async (t) => {
  const models = [testModel({ defaultResponseFormat: 'b64_json' })];
  const app = await createTestApp(t, { placeholder: { models } });
  const answer = await app.native(BODY);
  assert.ok(answer.body.data.data[0].url, 'a url');
});

test('the default format is that of the model asked for, not of the one that draws', async (t) => {
  const models = [
    testModel({ slug: 'house/old', defaultResponseFormat: 'url' }),
    testModel({ slug: 'house/new', defaultResponseFormat: 'b64_json' }),
  ];
  const app = await createTestApp(t, {
    placeholder: { models },
    models: { 'house/old': { servedBy: 'house/new' } },
  });
  assert.deepEqual(Object.keys((await app.openai({ ...BODY, model: 'house/old' })).body.data[0]), ['url']);
  assert.deepEqual(Object.keys((await app.openai({ ...BODY, model: 'house/new' })).body.data[0]), [
    'b64_json',
  ]);
});

test('response_format is a matter between client and router: the provider never hears of it', async (t) => {
  const app = await createTestApp(t);
  await app.openai({ ...BODY, response_format: 'b64_json' });
  const [call] = app.calls;
  assert.ok(call && !JSON.stringify({ ...call, model: {} }).includes('b64_json'));
});

test('warnings and missing pictures are extra fields beside OpenAI’s', async (t) => {
  const app = await createTestApp(t, {
    placeholder: {
      blocked: (_, index) => (index === 1 ? { reason: 'violence', stage: 'output' } : undefined),
    },
  });
  const answer = await app.openai({ ...BODY, n: 2, unheard_of: true });
  assert.equal(answer.status, 200, answer.text);
  assert.equal(answer.body.data.length, 1);
  assert.equal(answer.body.warnings[0].field, 'unheard_of');
  assert.deepEqual(
    { ...answer.body.errors[0], message: '' },
    { index: 1, code: 'BACKEND_ERROR', reason: 'content_filtered', message: '' },
  );
});

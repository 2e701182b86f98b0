import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { createOpenAI } from '@ai-sdk/openai';
import { APICallError, generateImage } from 'ai';
import { type ClientServer, startClientServer } from './server.js';

let server: ClientServer;
before(async () => {
  server = await startClientServer();
});
after(() => server.close());

const MODEL = 'placeholder/sketch';

function modelOf(key: string, slug: string = MODEL) {
  return createOpenAI({ baseURL: `${server.url}/oai/v1`, apiKey: key }).image(slug);
}

async function seen(key: string): Promise<unknown> {
  return (await fetch(new URL(`/seen/${key}`, server.url))).json();
}

/** What the package made of a refusal. */
async function refusal(request: Promise<unknown>): Promise<APICallError> {
  const error = await request.then(
    () => assert.fail('it was not refused'),
    (thrown: unknown) => thrown,
  );
  assert.ok(APICallError.isInstance(error), String(error));
  return error;
}

function codeOf(error: APICallError): unknown {
  return (error.data as { error: { code: unknown } }).error.code;
}

test('AI SDK: two pictures in one request', async () => {
  const { images, providerMetadata } = await generateImage({
    model: modelOf('ai'),
    prompt: 'a hill',
    n: 2,
    maxImagesPerCall: 2,
    size: '128x64',
    providerOptions: { openai: { user: 'ai' } },
  });
  assert.equal(images.length, 2);
  for (const { mediaType, uint8Array } of images) {
    assert.equal(mediaType, 'image/png');
    const bytes = Buffer.from(uint8Array);
    assert.deepEqual([bytes.readUInt32BE(16), bytes.readUInt32BE(20)], [128, 64]);
  }
  assert.equal(providerMetadata.openai?.images.length, 2);
  assert.deepEqual(await seen('ai'), { requests: 1, calls: 1 });
});

test('AI SDK: a gpt-image model answers base64 unasked', async () => {
  const { image } = await generateImage({ model: modelOf('ordinary', 'gpt-image-2'), prompt: 'a hill' });
  assert.equal(image.mediaType, 'image/png');
});

test('AI SDK: a validation error is not retried', async () => {
  const error = await refusal(
    generateImage({ model: modelOf('ai-validation'), prompt: 'a hill', size: '1x99999' }),
  );
  assert.equal(error.statusCode, 400);
  assert.equal(codeOf(error), 'validation_error');
  assert.match(error.message, /size|expected/);
  assert.deepEqual(await seen('ai-validation'), { requests: 1, calls: 0 });
});

test('AI SDK: a budget that is used up costs one request and no call of the provider', async () => {
  const error = await refusal(
    generateImage({ model: modelOf('poor'), prompt: 'a hill', n: 2, maxImagesPerCall: 2 }),
  );
  assert.equal(error.statusCode, 402);
  assert.equal(codeOf(error), 'insufficient_quota');
  assert.deepEqual(await seen('poor'), { requests: 1, calls: 0 });
});

test('AI SDK: a wrong key is refused once', async () => {
  const error = await refusal(generateImage({ model: modelOf('nobody'), prompt: 'a hill' }));
  assert.equal(error.statusCode, 401);
  assert.deepEqual(await seen('nobody'), { requests: 1, calls: 0 });
});

test('AI SDK: a safety refusal is refused once', async () => {
  const error = await refusal(
    generateImage({
      model: modelOf('ai-safety'),
      prompt: 'something unsafe',
      providerOptions: { openai: { user: 'ai-safety' } },
    }),
  );
  assert.equal(codeOf(error), 'moderation_blocked');
  assert.deepEqual(await seen('ai-safety'), { requests: 1, calls: 1 });
});

test('AI SDK: a provider that is busy for a second is asked again', async () => {
  const { images } = await generateImage({
    model: modelOf('ai-busy'),
    prompt: 'busy at first',
    providerOptions: { openai: { user: 'ai-busy' } },
  });
  assert.equal(images.length, 1);
  assert.deepEqual(await seen('ai-busy'), { requests: 2, calls: 2 });
});

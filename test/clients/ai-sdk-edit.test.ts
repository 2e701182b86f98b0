/** The AI SDK sending pictures in its prompt. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createOpenAI } from '@ai-sdk/openai';
import { APICallError, generateImage } from 'ai';
import sharp from 'sharp';
import { createTestApp, TEST_KEY, type TestApp } from '../support/app.js';
import { picture } from '../support/pictures.js';

const one = await picture('png');
const two = await picture('jpeg');
const mask = await sharp({ create: { width: 64, height: 64, channels: 4, background: '#0000' } })
  .png()
  .toBuffer();

function modelOf({ url }: TestApp) {
  return createOpenAI({ baseURL: `${url}/oai/v1`, apiKey: TEST_KEY }).image('placeholder/sketch');
}

test('pictures in the prompt are edited, with a mask', async (t) => {
  const app = await createTestApp(t);
  const { images } = await generateImage({
    model: modelOf(app),
    prompt: { text: 'Make it night', images: [one, two], mask },
    n: 2,
    maxImagesPerCall: 2,
    size: '96x48',
    providerOptions: { openai: { outputFormat: 'webp', user: 'ann' } },
  });
  assert.equal(images.length, 2);
  for (const { uint8Array } of images) {
    const { width, height, format } = await sharp(uint8Array).metadata();
    assert.deepEqual({ width, height, format }, { width: 96, height: 48, format: 'webp' });
  }
  const [call] = app.calls;
  assert.equal(app.calls.length, 1);
  assert.equal(call?.operation, 'edit');
  assert.equal(call?.prompt, 'Make it night');
  assert.deepEqual(
    call?.inputs.map(({ bytes }) => Buffer.from(bytes)),
    [one, two],
  );
  assert.deepEqual(Buffer.from(call?.mask?.bytes ?? []), mask);
  assert.equal(call?.endUser, 'ann');
});

test('one picture is edited', async (t) => {
  const app = await createTestApp(t);
  const prompt = { text: 'Make it night', images: [one] };
  const { image } = await generateImage({ model: modelOf(app), prompt });
  assert.equal(image.mediaType, 'image/png');
  assert.equal(app.calls[0]?.inputs.length, 1);
});

test('a mask of other pixels is refused once', async (t) => {
  const app = await createTestApp(t);
  const small = await sharp(mask).resize(32, 32).png().toBuffer();
  const prompt = { text: 'Make it night', images: [one], mask: small };
  await assert.rejects(generateImage({ model: modelOf(app), prompt }), (error) => {
    assert.ok(APICallError.isInstance(error), String(error));
    assert.equal(error.statusCode, 400);
    assert.match(error.message, /mask: expected the pixels of the first picture, 64x64/);
    return true;
  });
  assert.equal(app.eventsOf('request.failed').length, 1);
  assert.equal(app.calls.length, 0);
});

/** Pictures reach a vendor in formats it reads, whatever the client sent. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import sharp from 'sharp';
import { openai } from '../../src/providers/openai.js';
import { createTestApp } from '../support/app.js';
import { dataUrl, EDIT_PATHS, postEdit } from '../support/forms.js';
import { startGoogle } from '../support/google-providers.js';
import { createOpenAIUpstream, formBody } from '../support/openai-upstream.js';
import { picture } from '../support/pictures.js';

const [NATIVE] = EDIT_PATHS;
const SIZE = { width: 64, height: 64 };
const avif = await picture('avif', SIZE);
const jpeg = await picture('jpeg', SIZE);
const mask = await sharp({ create: { ...SIZE, channels: 4, background: '#0000' } })
  .webp({ lossless: true })
  .toBuffer();

async function facts(bytes: Uint8Array) {
  const { format, width, height } = await sharp(bytes).metadata();
  return { format, width, height };
}

test('OpenAI gets an AVIF picture and a WebP mask as PNG, and a JPEG as it is', async (t) => {
  const upstream = await createOpenAIUpstream();
  t.after(() => upstream.close());
  const app = await createTestApp(t, { providers: [openai({ apiKey: 'sk-test', baseURL: upstream.url })] });
  await postEdit(app, NATIVE, {
    model: 'openai/gpt-image-2',
    prompt: 'Make it night',
    images: [dataUrl(avif, 'image/avif'), dataUrl(jpeg, 'image/jpeg')],
    mask: dataUrl(mask, 'image/webp'),
  });
  const files = [...(await formBody(upstream.requests[0]))].flatMap(([field, value]) =>
    typeof value === 'string' ? [] : [{ field, value }],
  );
  assert.deepEqual(
    files.map(({ field, value }) => [field, value.name, value.type]),
    [
      ['image[]', 'image-1.png', 'image/png'],
      ['image[]', 'image-2.jpeg', 'image/jpeg'],
      ['mask', 'mask.png', 'image/png'],
    ],
  );
  const [first, second, third] = await Promise.all(
    files.map(async ({ value }) => Buffer.from(await value.arrayBuffer())),
  );
  assert.ok(first && second && third, 'three files');
  assert.deepEqual(await facts(first), { format: 'png', ...SIZE });
  assert.deepEqual(second, jpeg);
  assert.deepEqual(await facts(third), { format: 'png', ...SIZE });
  const { channels } = await sharp(third).stats();
  assert.equal(channels[3]?.max, 0, 'what the mask marks is still transparent');
});

test('Gemini gets an AVIF picture as PNG', async (t) => {
  const { provider, upstream, close } = await startGoogle('rest');
  t.after(close);
  const app = await createTestApp(t, { providers: [provider] });
  await postEdit(app, NATIVE, {
    model: 'google/nano-banana-2.1',
    prompt: 'Make it night',
    images: [dataUrl(avif, 'image/avif')],
  });
  const { mimeType, data = '' } = upstream.requests[0]?.body.contents?.[0]?.parts[0]?.inlineData ?? {};
  assert.equal(mimeType, 'image/png');
  assert.deepEqual(await facts(Buffer.from(data, 'base64')), { format: 'png', ...SIZE });
});

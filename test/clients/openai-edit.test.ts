/** The openai package sending pictures to be edited. */
import assert from 'node:assert/strict';
import { createReadStream } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { OpenAI, toFile } from 'openai';
import sharp from 'sharp';
import { createTestApp, TEST_KEY, type TestApp } from '../support/app.js';
import { picture } from '../support/pictures.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const BODY = { model: 'placeholder/sketch', prompt: 'Make it night' };
const one = await picture('png');
const two = await picture('webp');
const mask = await sharp({ create: { width: 64, height: 64, channels: 4, background: '#0000' } })
  .png()
  .toBuffer();

function clientOf({ url }: TestApp): OpenAI {
  return new OpenAI({ baseURL: `${url}/oai/v1`, apiKey: TEST_KEY, maxRetries: 0 });
}

test('one file, read from a disk, is edited, and the answer is base64', async (t) => {
  const app = await createTestApp(t);
  const file = join(await temporaryFolder({ after: (clean) => t.after(clean) }), 'otter.png');
  await writeFile(file, one);
  const answer = await clientOf(app).images.edit({ ...BODY, image: createReadStream(file) });
  const bytes = Buffer.from(answer.data?.[0]?.b64_json ?? '', 'base64');
  assert.equal((await sharp(bytes).metadata()).format, 'png');
  assert.equal(answer.data?.[0]?.url, undefined);
  assert.deepEqual(Buffer.from(app.calls[0]?.inputs[0]?.bytes ?? []), one);
});

test('several files, a mask and every parameter arrive', async (t) => {
  const app = await createTestApp(t);
  const answer = await clientOf(app).images.edit({
    ...BODY,
    image: [await toFile(one, 'one.png'), await toFile(two, 'two.webp', { type: 'image/webp' })],
    mask: await toFile(mask, 'mask.png'),
    n: 2,
    size: '1024x1024',
    background: 'opaque',
    output_format: 'jpeg',
    output_compression: 70,
    quality: 'standard',
    user: 'ann',
  });
  assert.equal(answer.data?.length, 2);
  assert.equal(answer.output_format, 'jpeg');
  assert.equal(answer.size, '1024x1024');
  const [call] = app.calls;
  assert.deepEqual(
    call?.inputs.map(({ type }) => type),
    ['image/png', 'image/webp'],
  );
  assert.equal(call?.mask?.type, 'image/png');
  assert.deepEqual([call?.n, call?.outputCompression, call?.endUser], [2, 70, 'ann']);
});

test('an edit streams', async (t) => {
  const app = await createTestApp(t);
  const image = await toFile(one, 'one.png');
  const stream = await clientOf(app).images.edit({ ...BODY, image, stream: true, partial_images: 2 });
  const types: string[] = [];
  for await (const event of stream) types.push(event.type);
  assert.deepEqual(types, ['image_edit.partial_image', 'image_edit.partial_image', 'image_edit.completed']);
});

test('a file that is no picture is a BadRequestError that names it', async (t) => {
  const app = await createTestApp(t);
  const image = [await toFile(one, 'one.png'), await toFile(Buffer.from('not a picture'), 'two.png')];
  await assert.rejects(clientOf(app).images.edit({ ...BODY, image }), (error) => {
    assert.ok(error instanceof OpenAI.BadRequestError, String(error));
    assert.equal(error.param, 'image[1]');
    return true;
  });
  assert.equal(app.calls.length, 0);
});

test('files over the limit are an error with status 413, not a broken connection', async (t) => {
  const app = await createTestApp(t, { limits: { editBytes: 100_000 } });
  const image = await toFile(Buffer.alloc(5_000_000), 'big.png');
  await assert.rejects(clientOf(app).images.edit({ ...BODY, image }), (error) => {
    assert.ok(error instanceof OpenAI.APIError, String(error));
    assert.equal(error.status, 413);
    return true;
  });
});

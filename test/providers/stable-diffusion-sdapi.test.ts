import assert from 'node:assert/strict';
import { test } from 'node:test';
import sharp from 'sharp';
import type { EncodedImage } from '../../src/core/image.js';
import { stableDiffusion } from '../../src/providers/stable-diffusion.js';
import { during, failure, pictures } from '../support/diffusion-calls.js';
import { createSdapiServer } from '../support/diffusion-sdapi.js';
import { jsonOf } from '../support/diffusion-servers.js';
import { picture } from '../support/pictures.js';

const TXT2IMG = '/sdapi/v1/txt2img';
const IMG2IMG = '/sdapi/v1/img2img';

async function pixelsOf(bytes: Uint8Array) {
  const { data, info } = await sharp(bytes).raw().toBuffer({ resolveWithObject: true });
  return { data, width: info.width, height: info.height, channels: info.channels };
}

test('a call becomes a txt2img request with everything it says', async (t) => {
  const server = await during(t, createSdapiServer());
  const provider = stableDiffusion({
    ...{ url: server.url, protocol: 'sdapi', steps: 30, cfgScale: 6.5 },
    ...{ sampler: 'DPM++ 2M', scheduler: 'karras', denoisingStrength: 0.4 },
  });
  const [drawn] = await pictures(provider, {
    ...{ prompt: 'A fox <lora:ink:0.7> (bold:1.2)', negativePrompt: 'rain', seed: 7 },
    size: { width: 1216, height: 832 },
  });
  assert.deepEqual(jsonOf(server.to(TXT2IMG)[0]), {
    ...{ prompt: 'A fox <lora:ink:0.7> (bold:1.2)', negative_prompt: 'rain', width: 1216, height: 832 },
    ...{ steps: 30, cfg_scale: 6.5, sampler_name: 'DPM++ 2M', scheduler: 'karras' },
    ...{ seed: 7, batch_size: 1, n_iter: 1, send_images: true, save_images: false },
  });
  assert.equal(drawn?.seed, 7);
  assert.equal(server.requests.length, 1, 'a protocol that was said is not looked for');
});

test('what nobody set is left to the server', async (t) => {
  const server = await during(t, createSdapiServer());
  await pictures(stableDiffusion({ url: server.url, protocol: 'sdapi' }));
  const { seed, ...body } = jsonOf(server.to(TXT2IMG)[0]);
  assert.deepEqual(Object.keys(body).sort(), [
    ...['batch_size', 'height', 'n_iter', 'prompt', 'save_images', 'send_images', 'width'],
  ]);
  assert.ok(Number.isInteger(seed));
});

test('without a seed every call is drawn with another, also by servers that always take the same', async (t) => {
  const server = await during(t, createSdapiServer({ flavour: 'sd-server' }));
  const provider = stableDiffusion({ url: server.url });
  const drawn = [...(await pictures(provider)), ...(await pictures(provider)), ...(await pictures(provider))];
  const seeds = drawn.map(({ seed }) => seed);
  assert.equal(new Set(seeds).size, 3);
  assert.ok(!seeds.includes(42));
  assert.equal(new Set(drawn.map(({ image }) => Buffer.from(image.bytes).toString('base64'))).size, 3);
});

test('of several pictures each has the seed it was drawn with', async (t) => {
  const server = await during(t, createSdapiServer());
  const provider = stableDiffusion({ url: server.url, models: [{ maxImages: 4 }] });
  const drawn = await pictures(provider, { n: 3, seed: 100 });
  assert.deepEqual(
    drawn.map(({ index, seed }) => [index, seed]),
    [
      [0, 100],
      [1, 101],
      [2, 102],
    ],
  );
});

test('seeds are those the server reports, not those it was asked for', async (t) => {
  const server = await during(t, createSdapiServer());
  const image = (await picture('png')).toString('base64');
  const info = JSON.stringify({ seed: 5, all_seeds: [5] });
  server.override(TXT2IMG, () => ({ status: 200, body: { images: [image], info } }));
  const [drawn] = await pictures(stableDiffusion({ url: server.url }), { seed: 100 });
  assert.equal(drawn?.seed, 5);
});

test('a grid in front of the pictures is left out', async (t) => {
  const server = await during(t, createSdapiServer({ grid: true }));
  const provider = stableDiffusion({ url: server.url, models: [{ maxImages: 2 }] });
  const drawn = await pictures(provider, { n: 2, seed: 9 });
  assert.deepEqual(
    drawn.map(({ seed }) => seed),
    [9, 10],
  );
  for (const { image, seed } of drawn) assert.equal((await pixelsOf(image.bytes)).data[0], seed);
});

for (const info of ['', undefined, 'null', '[]', '{"index_of_first_image":-1,"all_seeds":"none"}', '{']) {
  test(`pictures arrive with an info of ${JSON.stringify(info)}`, async (t) => {
    const server = await during(t, createSdapiServer());
    const image = (await picture('png')).toString('base64');
    server.override(TXT2IMG, () => ({ status: 200, body: { images: [image, image], info } }));
    const [drawn, ...others] = await pictures(stableDiffusion({ url: server.url }), { seed: 3 });
    assert.equal(drawn?.seed, 3);
    assert.deepEqual(others, []);
  });
}

test('a server that draws one picture of several ends the call with that one', async (t) => {
  const server = await during(t, createSdapiServer({ flavour: 'koboldcpp' }));
  const provider = stableDiffusion({ url: server.url, models: [{ maxImages: 4 }] });
  assert.equal((await pictures(provider, { n: 4 })).length, 1);
});

for (const format of ['png', 'jpeg', 'webp', 'avif'] as const) {
  test(`a picture is taken for the ${format} it is`, async (t) => {
    const server = await during(t, createSdapiServer({ format }));
    const [drawn] = await pictures(stableDiffusion({ url: server.url }));
    assert.equal(drawn?.image.type, `image/${format}`);
  });
}

test('a picture may come as a data URL, whatever type that claims', async (t) => {
  const server = await during(t, createSdapiServer({ prefix: 'data:image/webp;base64,' }));
  const [drawn] = await pictures(stableDiffusion({ url: server.url }));
  assert.equal(drawn?.image.type, 'image/png');
});

test('a picture keeps the pixels the server gave it', async (t) => {
  const server = await during(t, createSdapiServer({ flavour: 'sd-server' }));
  const models = [{ sizes: { kind: 'list', values: [], default: { width: 1000, height: 1000 } } as const }];
  const [drawn] = await pictures(stableDiffusion({ url: server.url, models }));
  const { width, height } = await pixelsOf(drawn?.image.bytes ?? Buffer.alloc(0));
  assert.deepEqual({ width, height }, { width: 1024, height: 1024 });
});

test('an edit becomes an img2img request', async (t) => {
  const server = await during(t, createSdapiServer());
  const provider = stableDiffusion({ url: server.url, denoisingStrength: 0.4 });
  const input: EncodedImage = { bytes: await picture('jpeg'), type: 'image/jpeg' };
  await pictures(provider, { operation: 'edit', inputs: [input] });
  const body = jsonOf(server.to(IMG2IMG)[0]);
  assert.deepEqual(body.init_images, [Buffer.from(input.bytes).toString('base64')]);
  assert.equal(body.denoising_strength, 0.4);
  assert.equal(body.resize_mode, 1);
  assert.ok(!('mask' in body));
});

for (const format of ['webp', 'avif'] as const) {
  test(`an input in ${format}, which sd-server cannot read, is sent as a PNG`, async (t) => {
    const server = await during(t, createSdapiServer());
    const input = { bytes: await picture(format), type: `image/${format}` };
    await pictures(stableDiffusion({ url: server.url }), { operation: 'edit', inputs: [input] });
    const [sent] = jsonOf(server.to(IMG2IMG)[0]).init_images as string[];
    const { format: found, width, height } = await sharp(Buffer.from(sent ?? '', 'base64')).metadata();
    assert.deepEqual({ found, width, height }, { found: 'png', width: 64, height: 64 });
  });
}

test('an input that is no picture is refused before it is sent', async (t) => {
  const server = await during(t, createSdapiServer());
  const input = { bytes: Buffer.from('RIFF....WEBP and nothing more'), type: 'image/webp' };
  const error = await failure(stableDiffusion({ url: server.url }), { operation: 'edit', inputs: [input] });
  assert.deepEqual([error.kind, error.billed], ['rejected', 'no']);
  assert.equal(server.to(IMG2IMG).length, 0);
});

test('a mask is sent as servers read it: white where pixels change, without transparency', async (t) => {
  const server = await during(t, createSdapiServer());
  // Red on the left, which stays; transparent on the right, which changes, and is red underneath.
  const rgba = Buffer.alloc(4 * 4 * 4);
  for (let pixel = 0; pixel < 16; pixel += 1) rgba.set([255, 0, 0, pixel % 4 < 2 ? 255 : 0], pixel * 4);
  const bytes = await sharp(rgba, { raw: { width: 4, height: 4, channels: 4 } })
    .png()
    .toBuffer();
  const mask = { bytes, type: 'image/png' };
  const input = { bytes: await picture('png'), type: 'image/png' };
  await pictures(stableDiffusion({ url: server.url }), { operation: 'edit', inputs: [input], mask });
  const body = jsonOf(server.to(IMG2IMG)[0]);
  const sent = Buffer.from(String(body.mask), 'base64');
  assert.equal((await sharp(sent).metadata()).hasAlpha, false);
  const { data, channels } = await pixelsOf(sent);
  const row = Array.from({ length: 4 }, (_, x) => data[x * channels]);
  assert.deepEqual(row, [0, 0, 255, 255]);
  assert.ok(!('inpainting_mask_invert' in body));
});

test('a checkpoint the host names is looked up once and asked for by its title', async (t) => {
  const server = await during(t, createSdapiServer());
  for (const checkpoint of [
    'sd_xl_base_1.0',
    'sd_xl_base_1.0.safetensors',
    'sd_xl_base_1.0.safetensors [31e35c80fc]',
  ]) {
    const provider = stableDiffusion({ url: server.url, protocol: 'sdapi', models: [{ checkpoint }] });
    const before = server.to('/sdapi/v1/sd-models').length;
    await Promise.all([pictures(provider), pictures(provider)]);
    assert.equal(server.to('/sdapi/v1/sd-models').length, before + 1);
    assert.deepEqual(jsonOf(server.to(TXT2IMG).at(-1)).override_settings, {
      sd_model_checkpoint: 'sd_xl_base_1.0.safetensors [31e35c80fc]',
    });
  }
});

test('a checkpoint in a folder of a Windows machine is found by its file', async (t) => {
  const server = await during(t, createSdapiServer());
  const models = [{ checkpoint: 'counterfeit.safetensors' }];
  await pictures(stableDiffusion({ url: server.url, models }));
  assert.deepEqual(jsonOf(server.to(TXT2IMG)[0]).override_settings, {
    sd_model_checkpoint: 'anime/counterfeit.safetensors [0123456789]',
  });
});

test('a checkpoint the server does not list is refused, because it would silently draw with another', async (t) => {
  const server = await during(t, createSdapiServer());
  const provider = stableDiffusion({ url: server.url, models: [{ checkpoint: 'sd_xl' }] });
  const error = await failure(provider);
  assert.deepEqual([error.kind, error.billed], ['account', 'no']);
  assert.equal(server.to(TXT2IMG).length, 0);
});

test('a checkpoint that was missing is looked up again by the next call', async (t) => {
  const server = await during(t, createSdapiServer());
  const provider = stableDiffusion({ url: server.url, protocol: 'sdapi', models: [{ checkpoint: 'late' }] });
  await failure(provider);
  server.override('/sdapi/v1/sd-models', () => ({
    status: 200,
    body: [{ title: 'late', model_name: 'late' }],
  }));
  assert.equal((await pictures(provider)).length, 1);
});

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import sharp from 'sharp';
import { stableDiffusion } from '../../src/providers/stable-diffusion.js';
import { makePng } from '../../src/testing/provider/pictures.js';
import { during, pictures } from '../support/diffusion-calls.js';
import { formOf } from '../support/diffusion-servers.js';
import { createStabilityServer, STABILITY_KEY } from '../support/diffusion-stability.js';
import { modelOf } from '../support/generate-call.js';

async function stability(t: TestContext) {
  const server = await during(t, createStabilityServer());
  const provider = stableDiffusion({ url: server.url, protocol: 'stability', apiKey: STABILITY_KEY });
  return { server, provider };
}

test('a call becomes a form, JSON being refused there', async (t) => {
  const { server, provider } = await stability(t);
  await pictures(provider, {
    ...{ prompt: 'Ein Leuchtturm 🗼', negativePrompt: 'rain', seed: 7, style: 'anime', outputFormat: 'webp' },
    size: { width: 1344, height: 768 },
  });
  const [request] = server.requests;
  assert.equal(request?.headers.accept, 'application/json');
  assert.deepEqual(Object.fromEntries(await formOf(request)), {
    ...{ prompt: 'Ein Leuchtturm 🗼', negative_prompt: 'rain', seed: '7', style_preset: 'anime' },
    ...{ output_format: 'webp', aspect_ratio: '16:9' },
  });
});

for (const [slug, path, model] of [
  ['stability/core', 'core', null],
  ['stability/ultra', 'ultra', null],
  ['stability/sd3.5-large', 'sd3', 'sd3.5-large'],
  ['stability/sd3.5-large-turbo', 'sd3', 'sd3.5-large-turbo'],
  ['stability/sd3.5-medium', 'sd3', 'sd3.5-medium'],
] as const) {
  test(`${slug} is drawn by its endpoint`, async (t) => {
    const { server, provider } = await stability(t);
    await pictures(provider, { model: modelOf(provider, slug) });
    const [request] = server.requests;
    assert.equal(request?.path, `/v2beta/stable-image/generate/${path}`);
    assert.equal((await formOf(request)).get('model'), model);
  });
}

const PICTURE = makePng({ width: 96, height: 64 }, 'picture');

for (const [what, options, metadata, strength] of [
  ['as a1111 would, where nobody says', {}, {}, '0.75'],
  ['as the host says', { denoisingStrength: 0.3 }, { denoising_strength: 0.9 }, '0.3'],
  [
    'as the client says, where it may',
    { allow: { denoising_strength: { min: 0, max: 1 } } },
    { denoising_strength: 0.9 },
    '0.9',
  ],
] as const) {
  test(`an edit is drawn from its picture, and departs from it ${what}`, async (t) => {
    const server = await during(t, createStabilityServer());
    const common = { url: server.url, protocol: 'stability', apiKey: STABILITY_KEY } as const;
    const provider = stableDiffusion({ ...common, ...options });
    const model = modelOf(provider, 'stability/sd3.5-medium');
    const edit = { operation: 'edit', inputs: [PICTURE], size: { width: 1024, height: 1024 } } as const;
    const [drawn] = await pictures(provider, { model, seed: 7, metadata, ...edit });
    assert.equal(drawn?.seed, 7);
    const [request] = server.requests;
    assert.equal(request?.path, '/v2beta/stable-image/generate/sd3');
    const { image, ...fields } = Object.fromEntries(await formOf(request));
    assert.deepEqual(fields, {
      model: 'sd3.5-medium',
      prompt: 'A lighthouse at dusk',
      mode: 'image-to-image',
      strength,
      seed: '7',
      output_format: 'png',
    });
    assert.ok(image instanceof Blob, 'the picture is a file');
    assert.deepEqual(new Uint8Array(await image.arrayBuffer()), PICTURE.bytes);
  });
}

test('core and ultra draw from words alone', async (t) => {
  const { provider } = await stability(t);
  for (const { slug, operations, maxInputs } of provider.models) {
    const edits = slug.includes('sd3.5');
    assert.deepEqual([operations.includes('edit'), maxInputs], [edits, edits ? 1 : 0], slug);
  }
});

test('line ends of prompts stay what they are', async (t) => {
  const { server, provider } = await stability(t);
  const prompt = 'A lighthouse\nat dusk\rin oil\r\n';
  await pictures(provider, { prompt, negativePrompt: 'fog\nrain' });
  const form = await formOf(server.requests[0]);
  assert.deepEqual([form.get('prompt'), form.get('negative_prompt')], [prompt, 'fog\nrain']);
});

test('every declared size is an aspect ratio, and comes back with pixels of its shape', async (t) => {
  const { server, provider } = await stability(t);
  const { sizes } = modelOf(provider, 'stability/core');
  assert.ok(sizes.kind === 'list');
  const ratios = new Set<unknown>();
  for (const size of sizes.values) {
    const [drawn] = await pictures(provider, { size });
    const { width, height } = await sharp(drawn?.image.bytes).metadata();
    assert.deepEqual({ width, height }, { ...size });
    ratios.add((await formOf(server.requests.at(-1))).get('aspect_ratio'));
  }
  assert.equal(ratios.size, 9);
});

test('every declared size is so near its ratio that a picture of exactly that ratio fits', async (t) => {
  const { provider } = await stability(t);
  const exact = [1, 5 / 4, 4 / 5, 3 / 2, 2 / 3, 16 / 9, 9 / 16, 21 / 9, 9 / 21];
  const { sizes } = modelOf(provider, 'stability/ultra');
  assert.ok(sizes.kind === 'list');
  for (const [place, { width, height }] of sizes.values.entries()) {
    const factor = width / height / (exact[place] ?? 0);
    assert.ok(Math.max(factor, 1 / factor) < 1.05, `${width}x${height}`);
  }
});

for (const [asked, sent] of [
  [0, 4_294_967_294],
  [1, 1],
  [4_294_967_294, 4_294_967_294],
  [4_294_967_295, 1],
] as const) {
  test(`the seed ${asked} is sent as ${sent}, because 0 means any there, and comes back`, async (t) => {
    const { server, provider } = await stability(t);
    const [drawn] = await pictures(provider, { seed: asked });
    assert.equal((await formOf(server.requests[0])).get('seed'), String(sent));
    assert.equal(drawn?.seed, sent);
  });
}

test('hosted calls do not wait in line', { timeout: 20_000 }, async (t) => {
  const { server, provider } = await stability(t);
  let arrived = 0;
  let open: () => void = () => undefined;
  const all = new Promise<void>((resolve) => {
    open = resolve;
  });
  server.override('/v2beta/stable-image/generate/core', async () => {
    arrived += 1;
    if (arrived === 4) open();
    await all;
    return { status: 200, body: { finish_reason: 'CONTENT_FILTERED', seed: 1 } };
  });
  await Promise.all(Array.from({ length: 4 }, () => pictures(provider)));
  assert.equal(arrived, 4);
});

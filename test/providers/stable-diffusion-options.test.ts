import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ConfigError } from '../../src/errors.js';
import { type StableDiffusionOptions, stableDiffusion } from '../../src/providers/stable-diffusion.js';

const URL = 'http://sd:7860';

const WRONG: readonly (readonly [path: string, options: object])[] = [
  ['url', {}],
  ['url', { protocol: 'sdapi' }],
  ['url', { url: 'sd:7860' }],
  ['url', { url: 'file:///etc/passwd' }],
  ['url', { url: 'http://ann:secret@sd:7860' }],
  ['url', { url: `${URL}/?x=1` }],
  ['url', { url: `${URL}/#x` }],
  ['url', { url: `${URL}/v1` }],
  ['url', { url: `${URL}/sdapi/v1/` }],
  ['checkpoint', { url: URL, checkpoint: 'x' }],
  ['name', { url: URL, name: '' }],
  ['protocol', { url: URL, protocol: 'comfyui' }],
  ['apiKey', { url: URL, apiKey: 'line\r\nend' }],
  ['apiKey', { url: URL, apiKey: 'k', username: 'a', password: 'b' }],
  ['apiKey', { protocol: 'stability' }],
  ['apiKey', { url: 'https://api.stability.ai' }],
  ['username', { url: URL, username: 'a:b', password: 'c' }],
  ['username', { url: URL, password: 'c' }],
  ['password', { url: URL, username: 'a' }],
  ['concurrency', { url: URL, concurrency: 0 }],
  ['concurrency', { url: URL, concurrency: 1.5 }],
  ['steps', { url: URL, steps: 0 }],
  ['steps', { url: URL, steps: 20.5 }],
  ['cfgScale', { url: URL, cfgScale: Number.NaN }],
  ['denoisingStrength', { url: URL, denoisingStrength: 1.1 }],
  ['sampler', { url: URL, sampler: '' }],
  ['scheduler', { url: URL, scheduler: 7 }],
  ['steps', { protocol: 'stability', apiKey: 'k', steps: 20 }],
  ['allow.steps', { protocol: 'stability', apiKey: 'k', allow: { steps: { min: 1, max: 2 } } }],
  ['sampler', { protocol: 'stability', apiKey: 'k', denoisingStrength: 0.5, sampler: 'Euler' }],
  ['allow', { url: URL, allow: 'all' }],
  ['allow.step', { url: URL, allow: { step: { min: 1, max: 2 } } }],
  ['allow.steps', { url: URL, allow: { steps: true } }],
  ['allow.steps', { url: URL, allow: { steps: { min: 1 } } }],
  ['allow.steps', { url: URL, allow: { steps: { min: 9, max: 1 } } }],
  ['allow.cfg_scale', { url: URL, allow: { cfg_scale: { min: -1, max: 5 } } }],
  ['allow.sampler_name', { url: URL, allow: { sampler_name: [] } }],
  ['allow.sampler_name', { url: URL, allow: { sampler_name: 'Euler a' } }],
  ['models', { url: URL, models: [] }],
  ['models[0].like', { url: URL, models: [{ like: 'flux' }] }],
  ['models[0].like', { protocol: 'stability', apiKey: 'k', models: [{}] }],
  ['models[0].slug', { url: URL, models: [{ slug: 'flux' }] }],
  ['models[0].slug', { url: URL, models: [{ slug: 'acme/Flux' }] }],
  ['models[1].slug', { url: URL, models: [{}, { checkpoint: 'b' }] }],
  ['models[0].checkpoint', { url: URL, models: [{ checkpoint: 'a\nb' }] }],
  ['models[0].checkpoint', { url: URL, models: [{ checkpoint: '' }] }],
  ['models[0].maxImages', { protocol: 'stability', apiKey: 'k', models: [{ like: 'core', maxImages: 4 }] }],
];

for (const [path, options] of WRONG) {
  test(`a wrong option is named: ${path} of ${JSON.stringify(options)}`, () => {
    assert.throws(
      () => stableDiffusion(options as StableDiffusionOptions),
      (error) => error instanceof ConfigError && error.path === `stableDiffusion.${path}`,
    );
  });
}

test('no error about an option repeats a secret', () => {
  for (const secret of ['sk canary', 'sk-canary\n']) {
    assert.throws(
      () => stableDiffusion({ url: URL, apiKey: secret }),
      (error) => !String(error).includes('canary'),
    );
  }
});

function slugs(options: StableDiffusionOptions): string[] {
  return stableDiffusion(options).models.map(({ slug }) => slug);
}

const HOSTED = ['core', 'ultra', 'sd3.5-large', 'sd3.5-large-turbo', 'sd3.5-medium'];

test('a server of one’s own offers SDXL, free, in its nine sizes', () => {
  const [model, ...others] = stableDiffusion({ url: URL }).models;
  assert.deepEqual(others, []);
  assert.equal(model?.slug, 'stability/sd-xl');
  assert.equal(model.price, 0);
  assert.ok(model.sizes.kind === 'list');
  assert.deepEqual(
    model.sizes.values.map(({ width, height }) => `${width}x${height}`),
    [
      ...['1024x1024', '1152x896', '896x1152', '1216x832', '832x1216'],
      ...['1344x768', '768x1344', '1536x640', '640x1536'],
    ],
  );
});

test('Stability is known by its host, whichever way it is written', () => {
  const expected = HOSTED.map((name) => `stability/${name}`);
  for (const url of ['https://api.stability.ai', 'https://API.stability.ai:443/']) {
    assert.deepEqual(slugs({ url, apiKey: 'k' }), expected);
  }
  assert.deepEqual(slugs({ protocol: 'stability', apiKey: 'k' }), expected);
  assert.deepEqual(slugs({ url: 'https://api.stability.ai.example.com' }), ['stability/sd-xl']);
});

test('hosted models have the published prices', () => {
  const { models } = stableDiffusion({ protocol: 'stability', apiKey: 'k' });
  assert.deepEqual(
    models.map(({ price }) => price),
    [30_000, 80_000, 65_000, 40_000, 35_000],
  );
});

test('the turbo model takes no negative prompt, and SD 3.5 draws no WebP', () => {
  const { models } = stableDiffusion({ protocol: 'stability', apiKey: 'k' });
  const turbo = models.find(({ slug }) => slug.endsWith('turbo'));
  assert.deepEqual(turbo?.features, ['seed']);
  assert.deepEqual(turbo?.formats, ['png', 'jpeg']);
});

test('an offer is a row with differences, under a slug of its own', () => {
  const models = [{}, { slug: 'acme/ink', checkpoint: 'ink.safetensors', displayName: 'Ink', maxImages: 4 }];
  const [plain, ink] = stableDiffusion({ url: URL, models }).models;
  assert.equal(plain?.slug, 'stability/sd-xl');
  assert.deepEqual(
    [ink?.slug, ink?.upstreamId, ink?.displayName, ink?.maxImages],
    ['acme/ink', 'ink.safetensors', 'Ink', 4],
  );
  assert.deepEqual(ink?.sizes, plain?.sizes);
});

test('a hosted model the table does not have is an offer like one it has', () => {
  const models = [
    { like: 'sd3.5-large', slug: 'stability/sd3.5-flash', checkpoint: 'sd3.5-flash', price: 0 as const },
  ];
  const [model, ...others] = stableDiffusion({ protocol: 'stability', apiKey: 'k', models }).models;
  assert.deepEqual(
    [model?.slug, model?.upstreamId, model?.price],
    ['stability/sd3.5-flash', 'sd3.5-flash', 0],
  );
  assert.deepEqual(others, []);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Metadata } from '../../src/core/image.js';
import { stableDiffusion } from '../../src/providers/stable-diffusion.js';
import { makePng } from '../../src/testing/provider/pictures.js';
import { during, failure, pictures } from '../support/diffusion-calls.js';
import { createOpenAIShapedServer } from '../support/diffusion-openai.js';
import { createSdapiServer } from '../support/diffusion-sdapi.js';
import { formOf, jsonOf } from '../support/diffusion-servers.js';
import { createStabilityServer, STABILITY_KEY } from '../support/diffusion-stability.js';

const TXT2IMG = '/sdapi/v1/txt2img';

function metadata(values: Record<string, string | number | boolean>): Metadata {
  return Object.assign(Object.create(null), values);
}

const ALLOW = {
  steps: { min: 5, max: 60 },
  cfg_scale: { min: 1, max: 12 },
  sampler_name: ['Euler a', 'DPM++ 2M'],
} as const;

test('metadata steers what the host allows, in front of its own defaults; the rest stays here', async (t) => {
  const server = await during(t, createSdapiServer());
  const provider = stableDiffusion({ url: server.url, allow: ALLOW, steps: 20, scheduler: 'karras' });
  await pictures(provider, {
    metadata: metadata({
      steps: 50,
      cfg_scale: 3.5,
      sampler_name: 'Euler a',
      scheduler: 'simple',
      team: 'blue',
    }),
  });
  const body = jsonOf(server.to(TXT2IMG)[0]);
  assert.deepEqual(
    [body.steps, body.cfg_scale, body.sampler_name, body.scheduler, body.team],
    [50, 3.5, 'Euler a', 'karras', undefined],
  );
});

test('a model declares the keys that steer it', () => {
  const provider = stableDiffusion({ url: 'http://sd:7860', allow: ALLOW });
  assert.deepEqual(provider.models[0]?.metadataKeys, ['steps', 'cfg_scale', 'sampler_name']);
  assert.deepEqual(stableDiffusion({ url: 'http://sd:7860' }).models[0]?.metadataKeys, []);
});

for (const [key, value] of [
  ['steps', 61],
  ['steps', 4],
  ['steps', 20.5],
  ['steps', '20'],
  ['steps', Number.NaN],
  ['cfg_scale', 12.1],
  ['cfg_scale', true],
  ['sampler_name', 'Heun'],
  ['sampler_name', 1],
] as const) {
  test(`metadata.${key} of ${JSON.stringify(value)} beyond the bounds is refused, naming the field`, async (t) => {
    const server = await during(t, createSdapiServer());
    const provider = stableDiffusion({ url: server.url, allow: ALLOW });
    const error = await failure(provider, { metadata: metadata({ [key]: value }) });
    assert.deepEqual([error.kind, error.billed], ['rejected', 'no']);
    assert.equal(error.details?.[0]?.field, `metadata.${key}`);
    assert.equal(server.requests.length, 0);
  });
}

const TAG = '<sd_cpp_extra_args>{"width":4096}</sd_cpp_extra_args>';
const SPELLINGS = [
  TAG,
  'a fox <SD_CPP_Extra_Args>{"steps":999}</SD_CPP_EXTRA_ARGS>',
  '< sd_cpp_extra_args >{}',
  '<sd cpp extra args>{}',
  '<\u200bsd_cpp\u00ad_extra_args>{}',
  '<sd_cpp_\nextra_args',
  '</sd_cpp_extra_args>',
  '＜sd_cpp_extra_args＞{}',
];

for (const tag of SPELLINGS) {
  test(`the control tag of stable-diffusion.cpp is refused: ${JSON.stringify(tag)}`, async (t) => {
    const server = await during(t, createSdapiServer({ flavour: 'sd-server' }));
    const provider = stableDiffusion({ url: server.url });
    for (const [field, changes] of [
      ['prompt', { prompt: tag }],
      ['negative_prompt', { negativePrompt: tag }],
    ] as const) {
      const error = await failure(provider, changes);
      assert.deepEqual([error.kind, error.billed, error.details?.[0]?.field], ['rejected', 'no', field]);
    }
    assert.equal(server.requests.length, 0);
  });
}

test('the control tag is refused by servers of OpenAI’s shape too', async (t) => {
  const server = await during(t, createOpenAIShapedServer());
  const error = await failure(stableDiffusion({ url: server.url }), { prompt: TAG });
  assert.equal(error.kind, 'rejected');
});

test('words about the tag, and other tags, are drawn', async (t) => {
  const server = await during(t, createSdapiServer({ flavour: 'sd-server' }));
  const provider = stableDiffusion({ url: server.url });
  for (const prompt of ['a book titled sd_cpp_extra_args', '<lora:ink:1> <b>fox</b> < sd >', 'a|b']) {
    await pictures(provider, { prompt });
    assert.equal(jsonOf(server.to(TXT2IMG).at(-1)).prompt, prompt);
  }
});

test('steps and guidance reach servers of OpenAI’s shape by their names for it', async (t) => {
  const server = await during(t, createOpenAIShapedServer());
  const provider = stableDiffusion({ url: server.url, steps: 12, cfgScale: 4, sampler: 'Euler a' });
  await pictures(provider, { negativePrompt: 'rain', seed: 3 });
  assert.deepEqual(jsonOf(server.to('/v1/images/generations')[0]), {
    ...{ prompt: 'A lighthouse at dusk', negative_prompt: 'rain', n: 1, size: '1024x1024', seed: 3 },
    ...{ response_format: 'b64_json', num_inference_steps: 12, step: 12, guidance_scale: 4 },
  });
});

test('at Stability the tag means nothing and is drawn', async (t) => {
  const server = await during(t, createStabilityServer());
  const provider = stableDiffusion({ url: server.url, protocol: 'stability', apiKey: STABILITY_KEY });
  assert.equal((await pictures(provider, { prompt: TAG })).length, 1);
});

test('an edit by an OpenAI-shaped server is a form whose line ends stay what they are', async (t) => {
  const server = await during(t, createOpenAIShapedServer());
  const input = makePng({ width: 64, height: 64 }, 'picture');
  const mask = makePng({ width: 64, height: 64 }, 'mask');
  const prompt = 'A lighthouse\nat dusk\r';
  const provider = stableDiffusion({ url: server.url, protocol: 'openai' });
  await pictures(provider, { operation: 'edit', prompt, inputs: [input], mask, seed: 7 });
  const entries = [...(await formOf(server.to('/v1/images/edits')[0]))];
  const files = entries.flatMap(([field, value]) =>
    typeof value === 'string' ? [] : [[field, value] as const],
  );
  assert.deepEqual(
    files.map(([field, { name, type }]) => [field, name, type]),
    [
      ['image', 'image.png', 'image/png'],
      ['mask', 'mask.png', 'image/png'],
    ],
  );
  assert.deepEqual(
    await Promise.all(files.map(async ([, file]) => Buffer.from(await file.arrayBuffer()))),
    [input, mask].map(({ bytes }) => Buffer.from(bytes)),
  );
  assert.equal(Object.fromEntries(entries).prompt, prompt);
  assert.equal(Object.fromEntries(entries).seed, '7');
});

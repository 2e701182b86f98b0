import assert from 'node:assert/strict';
import { test } from 'node:test';
import OpenAI from 'openai';
import { ceiling, isTokenPrice } from '../../src/core/prices.js';
import type { Model } from '../../src/core/provider.js';
import { ConfigError } from '../../src/errors.js';
import { type OpenAIOptions, openai } from '../../src/providers/openai.js';
import { modelOf } from '../support/generate-call.js';

const apiKey = 'sk-test';
const elsewhere = 'http://127.0.0.1:9/v1';
const azure = { endpoint: 'https://x.openai.azure.com', apiVersion: '2025-04-01-preview' };

function priceOf(
  model: Model,
  changes: { width?: number; height?: number; quality?: string } = {},
): number | undefined {
  assert.ok(model.price !== undefined);
  const { width = 1024, height = 1024, quality } = changes;
  const size = { width, height };
  return ceiling(model.price, {
    prompt: '',
    negativePrompt: undefined,
    n: 1,
    size,
    quality,
    inputs: 0,
    previews: 0,
  });
}

test('the table has every model, each slug once', () => {
  const slugs = openai({ apiKey }).models.map(({ slug }) => slug);
  assert.deepEqual(slugs, [
    'openai/dall-e-2',
    'openai/dall-e-3',
    'openai/gpt-image-1',
    'openai/gpt-image-1-mini',
    'openai/gpt-image-1.5',
    'openai/chatgpt-image-latest',
    'openai/gpt-image-2',
    'openai/gpt-image-2.5-flare',
    'openai/gpt-image-2.5-sunburst',
    'openai/gpt-image-2.6-flare',
    'openai/gpt-image-2.6-sunburst',
  ]);
});

test('every model has a price for each of its sizes and qualities, and a source for its facts', () => {
  for (const model of openai({ apiKey }).models) {
    const sizes =
      model.sizes.kind === 'list'
        ? model.sizes.values
        : [
            { width: 3840, height: 2160 },
            { width: 2880, height: 2880 },
            { width: 480, height: 1376 },
          ];
    for (const size of sizes) {
      for (const quality of [...model.qualities, undefined]) {
        const price = priceOf(model, { ...size, ...(quality && { quality }) });
        assert.ok(price !== undefined && price > 0, `${model.slug} ${size.width}x${size.height} ${quality}`);
      }
    }
    assert.ok(Object.keys(model.sources ?? {}).length > 0);
  }
});

test('every successor is a living model that can draw what it takes over', () => {
  const provider = openai({ apiKey });
  for (const { lifecycle, sizes, qualities, slug } of provider.models) {
    if (lifecycle?.successor === undefined) continue;
    const { successor } = lifecycle;
    const heir = modelOf(provider, successor.slug);
    assert.equal(heir.lifecycle, undefined);
    for (const quality of qualities) {
      assert.ok(heir.qualities.includes(successor.qualities?.[quality] ?? quality), `${slug} ${quality}`);
    }
    assert.ok(sizes.kind === 'list' && heir.sizes.kind === 'range');
    for (const { width, height } of sizes.values) {
      const name = `${width}x${height}`;
      const [w = 0, h = 0] = (successor.sizes?.[name] ?? name).split('x').map(Number);
      assert.ok(
        w * h >= heir.sizes.minPixels && w % heir.sizes.multiple === 0 && h % heir.sizes.multiple === 0,
      );
    }
  }
});

test('DALL·E prices are those of its table', () => {
  const provider = openai({ apiKey, baseURL: elsewhere });
  const three = modelOf(provider, 'openai/dall-e-3');
  assert.equal(priceOf(three, { quality: 'standard' }), 40_000);
  assert.equal(priceOf(three, { width: 1792, quality: 'hd' }), 120_000);
  assert.equal(priceOf(modelOf(provider, 'openai/dall-e-2'), { width: 256, height: 256 }), 16_000);
});

// Tokens reported for real pictures: none may cost more than what is held for it.
const reported: readonly (readonly [
  id: string,
  width: number,
  height: number,
  quality: string,
  tokens: number,
])[] = [
  ['gpt-image-2', 1024, 1024, 'high', 7024],
  ['gpt-image-2', 1536, 1024, 'high', 5488],
  ['gpt-image-2', 1792, 1024, 'high', 5063],
  ['gpt-image-2', 3584, 2048, 'high', 12_329],
  ['gpt-image-2.5-flare', 1024, 1024, 'low', 196],
  ['gpt-image-2.5-flare', 1024, 1024, 'medium', 439],
  ['gpt-image-2.5-flare', 1024, 1024, 'high', 1756],
  ['gpt-image-2.5-sunburst', 1024, 1024, 'xhigh', 3122],
  ['gpt-image-2.5-sunburst', 1024, 1024, 'max', 7024],
  ['gpt-image-2.6-flare', 1024, 1024, 'low', 4 * 196],
  ['gpt-image-2.6-sunburst', 1024, 1024, 'medium', 4 * 439],
  ['gpt-image-2.6-sunburst', 3840, 2160, 'high', 3337],
];
for (const [id, width, height, quality, tokens] of reported) {
  test(`the ceiling of ${id} at ${width}x${height} ${quality} covers ${tokens} tokens`, () => {
    const model = modelOf(openai({ apiKey }), `openai/${id}`);
    assert.ok(model.price !== undefined && isTokenPrice(model.price));
    const cost = (tokens * model.price.tokens.imageOut) / 1_000_000;
    const held = priceOf(model, { width, height, quality }) ?? 0;
    assert.ok(held >= cost, `${held} held, ${cost} cost`);
  });
}

// Input tokens reported for real pictures, per input.
const inputs: readonly (readonly [id: string, tokens: number])[] = [
  // The largest of free sizes, and 1024x1024.
  ['gpt-image-2', 1536],
  ['gpt-image-2.6-sunburst', 1024],
  // One tile, and 480x1408 as three; high fidelity adds the most to what is not square.
  ['gpt-image-1', 194],
  ['gpt-image-1.5', 452 + 6240],
  ['gpt-image-1-mini', 452],
];
for (const [id, tokens] of inputs) {
  test(`the ceiling of an edit by ${id} covers ${tokens} tokens for each of 16 pictures and a mask`, () => {
    const { price, maxInputs } = modelOf(openai({ apiKey }), `openai/${id}`);
    assert.equal(maxInputs, 16);
    assert.ok(price !== undefined && isTokenPrice(price), 'priced by token');
    const call = {
      prompt: '',
      negativePrompt: undefined,
      n: 1,
      size: 'auto',
      quality: 'low',
      previews: 0,
    } as const;
    const held = (count: number) => ceiling(price, { ...call, inputs: count }) ?? 0;
    const cost = (17 * tokens * price.tokens.imageIn) / 1_000_000;
    assert.ok(held(17) - held(0) >= cost, `${held(17) - held(0)} held, ${cost} cost`);
  });
}

test('each preview is held at the hundred tokens OpenAI charges for it', () => {
  const { price } = modelOf(openai({ apiKey }), 'openai/gpt-image-2');
  assert.ok(price !== undefined && isTokenPrice(price), 'priced by token');
  const call = {
    prompt: '',
    negativePrompt: undefined,
    n: 1,
    size: 'auto',
    quality: 'low',
    inputs: 0,
  } as const;
  const held = (previews: number) => ceiling(price, { ...call, previews }) ?? 0;
  assert.equal(held(3) - held(0), 9000);
});

test("at OpenAI's own host models retire, and pictures carry credentials", () => {
  for (const baseURL of [undefined, 'https://api.openai.com/v1', 'https://eu.api.openai.com/v1/']) {
    const provider = openai({ apiKey, baseURL });
    assert.equal(modelOf(provider, 'openai/dall-e-3').lifecycle?.shutdownAt, '2026-05-12');
    assert.equal(provider.contentCredentials, true);
  }
});

test('anywhere else nothing retires, and nobody vouches for credentials', () => {
  const hosts = [
    elsewhere,
    'http://api.openai.com/v1',
    'https://api.openai.com.example/v1',
    'https://evilapi.openai.com/v1',
    'https://mine.openai.azure.com/openai/v1',
  ];
  for (const baseURL of hosts) {
    const provider = openai({ apiKey, baseURL });
    assert.ok(provider.models.every(({ lifecycle }) => lifecycle === undefined));
    assert.equal(provider.contentCredentials, false);
  }
  const provider = openai({ client: new OpenAI({ apiKey, baseURL: elsewhere }) });
  assert.equal(provider.contentCredentials, false);
});

test("successors draw for retired models unless the host says 'refuse'", () => {
  const serves = (options: OpenAIOptions) =>
    modelOf(openai({ apiKey, ...options }), 'openai/dall-e-2').lifecycle?.successor?.serves;
  assert.equal(serves({}), true);
  assert.equal(serves({ retired: 'successor' }), true);
  assert.equal(serves({ retired: 'refuse' }), false);
});

test('a model the table does not have is added like one it has', () => {
  const provider = openai({
    apiKey,
    models: [{ like: 'gpt-image-1.5', id: 'gpt-image-3-Preview', maxImages: 4, maxInputs: undefined }],
  });
  const added = modelOf(provider, 'openai/gpt-image-3-preview');
  assert.equal(added.upstreamId, 'gpt-image-3-Preview');
  assert.equal(added.displayName, 'gpt-image-3-Preview');
  assert.equal(added.maxImages, 4);
  assert.equal(added.maxInputs, modelOf(provider, 'openai/gpt-image-1.5').maxInputs);
  assert.equal(added.lifecycle, undefined);
});

test('an addition with an id of the table takes the place of its row', () => {
  const provider = openai({ apiKey, models: [{ like: 'gpt-image-2', id: 'gpt-image-2', maxImages: 2 }] });
  assert.equal(provider.models.filter(({ slug }) => slug === 'openai/gpt-image-2').length, 1);
  assert.equal(modelOf(provider, 'openai/gpt-image-2').maxImages, 2);
});

// biome-ignore lint/suspicious/noExplicitAny: what a host without types may write
const wrong: readonly (readonly [path: string, options: any])[] = [
  ['openai.apiKey', {}],
  ['openai.apiKey', { apiKey: '' }],
  ['openai.apiKey', { apiKey: 7 }],
  ['openai.apiKey', { apiKey: 'sk-secret\r\nx: y' }],
  ['openai.organization', { apiKey, organization: 'a b' }],
  ['openai.name', { apiKey, name: '' }],
  ['openai.baseURL', { apiKey, baseURL: 'api.openai.com' }],
  ['openai.baseURL', { apiKey, baseURL: 'file:///v1' }],
  ['openai.baseURL', { apiKey, baseURL: 'https://user:sk-secret@host/v1' }],
  ['openai.baseURL', { apiKey, baseURL: 'https://host/v1?key=sk-secret' }],
  ['openai.client', { client: {} }],
  ['openai.client', { client: 'sk-secret' }],
  ['openai.client', { client: new OpenAI({ apiKey }), azure }],
  ['openai.client', { client: { images: {}, withOptions: () => assert.fail('sk-secret') } }],
  ['openai.client', { client: new OpenAI({ apiKey }), apiKey }],
  ['openai.retired', { apiKey, retired: 'never' }],
  ['openai.moderation', { apiKey, moderation: 'none' }],
  ['openai.inputFidelity', { apiKey, inputFidelity: 'max' }],
  ['openai.apiKey', { azure }],
  ['openai.azure', { apiKey, azure: 'https://x.openai.azure.com' }],
  ['openai.azure', { apiKey, azure, baseURL: elsewhere }],
  ['openai.azure', { apiKey, azure, project: 'p' }],
  ['openai.azure.endPoint', { apiKey, azure: { ...azure, endPoint: elsewhere } }],
  ['openai.azure.endpoint', { apiKey, azure: { apiVersion: '1' } }],
  ['openai.azure.endpoint', { apiKey, azure: { ...azure, endpoint: 'x.openai.azure.com' } }],
  ['openai.azure.apiVersion', { apiKey, azure: { endpoint: elsewhere } }],
  ['openai.azure.apiVersion', { apiKey, azure: { ...azure, apiVersion: '1&x=2' } }],
  ['openai.azure.deployment', { apiKey, azure: { ...azure, deployment: '../x' } }],
  ['openai.azure.deployment', { apiKey, azure: { ...azure, deployment: {} } }],
  ['openai.azure.deployment', { apiKey, azure: { ...azure, deployment: { 'gpt-image-2': 'a/b' } } }],
  ["openai.azure.deployment['gpt-9']", { apiKey, azure: { ...azure, deployment: { 'gpt-9': 'a' } } }],
  ['openai.azureADTokenProvider', { azureADTokenProvider: 'sk-secret' }],
  ['openai.azureADTokenProvider', { azureADTokenProvider: async () => 'sk-secret' }],
  ['openai.azureADTokenProvider', { apiKey, azure, azureADTokenProvider: async () => 'sk-secret' }],
  ['openai.models', { apiKey, models: {} }],
  ['openai.models[0].like', { apiKey, models: [{ id: 'x' }] }],
  [
    'openai.models[1].id',
    {
      apiKey,
      models: [
        { like: 'gpt-image-2', id: 'x' },
        { like: 'gpt-image-2', id: '../x' },
      ],
    },
  ],
  ['openai.baseUrl', { apiKey, baseUrl: elsewhere }],
];
for (const [path, options] of wrong) {
  test(`${path} is named when it is wrong: ${Object.keys(options).join(', ') || 'no options'}`, () => {
    assert.throws(
      () => openai(options),
      (error) => error instanceof ConfigError && error.path === path && !error.message.includes('sk-secret'),
    );
  });
}

test('no key is looked for in the environment', (t) => {
  const before = process.env.OPENAI_API_KEY;
  t.after(() => {
    if (before === undefined) delete process.env.OPENAI_API_KEY;
    else process.env.OPENAI_API_KEY = before;
  });
  process.env.OPENAI_API_KEY = 'sk-ambient';
  assert.throws(() => openai(), ConfigError);
});

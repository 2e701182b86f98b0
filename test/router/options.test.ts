import assert from 'node:assert/strict';
import { test } from 'node:test';
import { memoryBudget } from '../../src/budgets/memory.js';
import { usd } from '../../src/core/windows.js';
import { ConfigError } from '../../src/errors.js';
import { anyone, bearerKeys, hashKey } from '../../src/http/identify.js';
import { type ImagesRouterOptions, resolveOptions } from '../../src/options.js';
import { placeholder } from '../../src/providers/placeholder.js';
import { createImagesRouter } from '../../src/router.js';
import { memoryStorage } from '../../src/storage/memory.js';

const CALLER = { tenant: 'acme', models: 'all', budgets: 'unlimited' } as const;
const SECRET = 'a secret that only tests know, 32+ bytes';

const SOUND: ImagesRouterOptions = {
  providers: [placeholder()],
  storage: memoryStorage(),
  media: { secrets: SECRET },
  identify: anyone(CALLER),
  budget: memoryBudget(),
};

/** Options as people without types write them. */
type Anything = Readonly<Record<string, unknown>>;

function withChange(change: Anything): ImagesRouterOptions {
  return { ...SOUND, ...change } as ImagesRouterOptions;
}

function withMedia(change: Anything): ImagesRouterOptions {
  return withChange({ media: { secrets: SECRET, ...change } });
}

interface Fault {
  readonly options: ImagesRouterOptions;
  readonly path: string;
  /** What the message says. */
  readonly says: RegExp;
}

const price = { price: 0 } as const;
const list = {
  kind: 'list',
  values: [{ width: 64, height: 64 }],
  default: { width: 64, height: 64 },
} as const;

const FAULTS: Readonly<Record<string, Fault>> = {
  'an unknown way to verify pictures': {
    options: withChange({ pictures: { verify: 'full' } }),
    path: 'pictures.verify',
    says: /expected one of decode, container/,
  },
  'an unknown time to encode pictures': {
    options: withChange({ pictures: { reencode: true } }),
    path: 'pictures.reencode',
    says: /expected one of needed, always/,
  },
  'a mistyped option of pictures': {
    options: withChange({ pictures: { reencoding: 'always' } }),
    path: 'pictures.reencoding',
    says: /did you mean reencode\?/,
  },
  'no options': { options: undefined as never, path: 'options', says: /expected an object/ },
  'options that are text': { options: 'x' as never, path: 'options', says: /expected an object/ },
  'a mistyped option': {
    options: withChange({ provider: [] }),
    path: 'provider',
    says: /is not an option; did you mean providers\?/,
  },
  'an option of nothing': {
    options: withChange({ frobnicate: 1 }),
    path: 'frobnicate',
    says: /is not an option$/,
  },
  'an option of another case': {
    options: withChange({ onevent: () => undefined }),
    path: 'onevent',
    says: /did you mean onEvent\?/,
  },
  'providers missing': {
    options: withChange({ providers: undefined }),
    path: 'providers',
    says: /at least one provider/,
  },
  'no providers': {
    options: withChange({ providers: [] }),
    path: 'providers',
    says: /at least one provider/,
  },
  'a provider that is not in a list': {
    options: withChange({ providers: placeholder() }),
    path: 'providers',
    says: /at least one provider/,
  },
  'a provider that is nothing': {
    options: withChange({ providers: [placeholder(), undefined] }),
    path: 'providers[1]',
    says: /method generate\(\)/,
  },
  'a provider not called': {
    options: withChange({ providers: [placeholder] }),
    path: 'providers[0]',
    says: /method generate\(\)/,
  },
  'a provider without a name': {
    options: withChange({ providers: [{ ...placeholder(), name: '' }] }),
    path: 'providers[0].name',
    says: /expected a name/,
  },
  'two providers of one name': {
    options: withChange({ providers: [placeholder(), placeholder()] }),
    path: 'providers[1].name',
    says: /another provider is named placeholder too/,
  },
  'a provider without models': {
    options: withChange({ providers: [{ ...placeholder(), models: undefined }] }),
    path: 'providers[0].models',
    says: /expected a list of models/,
  },
  'storage missing': { options: withChange({ storage: undefined }), path: 'storage', says: /method put\(\)/ },
  'storage without a method': {
    options: withChange({ storage: { ...memoryStorage(), stat: undefined } }),
    path: 'storage',
    says: /method stat\(\)/,
  },
  'a budget missing': {
    options: withChange({ budget: undefined }),
    path: 'budget',
    says: /method reserve\(\)/,
  },
  'a budget without a method': {
    options: withChange({ budget: { ...memoryBudget(), recall: true } }),
    path: 'budget',
    says: /method recall\(\)/,
  },
  'identify missing': {
    options: withChange({ identify: undefined }),
    path: 'identify',
    says: /expected a function.*bearerKeys\(\) or anyone\(\)/,
  },
  'media missing': { options: withChange({ media: undefined }), path: 'media', says: /expected an object/ },
  'a mistyped media option': {
    options: withMedia({ ttlSecond: 60 }),
    path: 'media.ttlSecond',
    says: /did you mean ttlSeconds\?/,
  },
  'secrets missing': {
    options: withChange({ media: {} }),
    path: 'media.secrets',
    says: /expected .*secret/,
  },
  'no secrets': { options: withMedia({ secrets: [] }), path: 'media.secrets', says: /at least one secret/ },
  'a secret that is a number': {
    options: withMedia({ secrets: [SECRET, 12] }),
    path: 'media.secrets[1]',
    says: /at least 32 bytes/,
  },
  'a short secret': {
    options: withMedia({ secrets: [SECRET, 'short'] }),
    path: 'media.secrets[1]',
    says: /at least 32 bytes/,
  },
  'a life of half a second': {
    options: withMedia({ ttlSeconds: 0.5 }),
    path: 'media.ttlSeconds',
    says: /whole number of at least 1, got 0\.5/,
  },
  'a life in words': {
    options: withMedia({ maxTtlSeconds: '60' }),
    path: 'media.maxTtlSeconds',
    says: /whole number/,
  },
  'links that live too long': {
    options: withMedia({ ttlSeconds: 90_000 }),
    path: 'media.ttlSeconds',
    says: /at most media\.maxTtlSeconds \(86400\)/,
  },
  'retention of an hour': {
    options: withMedia({ retentionSeconds: 3600 }),
    path: 'media.retentionSeconds',
    says: /at least 86400, a day/,
  },
  'links that outlive pictures': {
    options: withMedia({ retentionSeconds: 90_000, maxTtlSeconds: 100_000 }),
    path: 'media.retentionSeconds',
    says: /links outlive the picture/,
  },
  'a delivery nobody knows': {
    options: withMedia({ delivery: 'direct' }),
    path: 'media.delivery',
    says: /one of proxy, redirect/,
  },
  'a redirect to a storage that serves nobody itself': {
    options: withMedia({ delivery: 'redirect' }),
    path: 'media.delivery',
    says: /needs a storage with directUrl/,
  },
  'a public path': {
    options: withMedia({ publicUrl: '/ai' }),
    path: 'media.publicUrl',
    says: /expected an absolute URL/,
  },
  'a public URL of no web server': {
    options: withMedia({ publicUrl: 'ftp://example.com' }),
    path: 'media.publicUrl',
    says: /expected an absolute URL/,
  },
  'a public URL with a query': {
    options: withMedia({ publicUrl: 'https://example.com/ai?x=1' }),
    path: 'media.publicUrl',
    says: /without query and fragment/,
  },
  'a mistyped list of versions': {
    options: withMedia({ transforms: { width: [64] } }),
    path: 'media.transforms.width',
    says: /did you mean widths/,
  },
  'a width that is no list': {
    options: withMedia({ transforms: { widths: 64 } }),
    path: 'media.transforms.widths',
    says: /expected a list/,
  },
  'a width of a part of a pixel': {
    options: withMedia({ transforms: { widths: [64, 1.5] } }),
    path: 'media.transforms.widths[1]',
    says: /expected a whole number/,
  },
  'a height no format has': {
    options: withMedia({ transforms: { heights: [16_384] } }),
    path: 'media.transforms.heights[0]',
    says: /at most 16383/,
  },
  'a format nobody writes': {
    options: withMedia({ transforms: { formats: ['gif'] } }),
    path: 'media.transforms.formats[0]',
    says: /expected one of png, jpeg, webp, avif/,
  },
  'a quality above the best': {
    options: withMedia({ transforms: { qualities: [101] } }),
    path: 'media.transforms.qualities[0]',
    says: /at most 100/,
  },
  'a mistyped money option': {
    options: withChange({ spend: { unknownCosts: 'charge' } }),
    path: 'spend.unknownCosts',
    says: /did you mean unknownCost\?/,
  },
  'a cost that is no choice': {
    options: withChange({ spend: { unknownCost: 'free' } }),
    path: 'spend.unknownCost',
    says: /expected one of charge, waive/,
  },
  'a failure policy that is no choice': {
    options: withChange({ spend: { onStoreFailure: true } }),
    path: 'spend.onStoreFailure',
    says: /expected one of deny, allow/,
  },
  'a mistyped limit': {
    options: withChange({ limits: { concurency: 1 } }),
    path: 'limits.concurency',
    says: /did you mean concurrency\?/,
  },
  'a limit of nothing': {
    options: withChange({ limits: { queue: 0 } }),
    path: 'limits.queue',
    says: /whole number of at least 1, got 0/,
  },
  'limits that are no object': {
    options: withChange({ limits: 5 }),
    path: 'limits',
    says: /expected an object/,
  },
  'a timer no computer has': {
    options: withChange({ limits: { requestMs: 2 ** 31 } }),
    path: 'limits.requestMs',
    says: /at most 2147483647/,
  },
  'origins that are no list': {
    options: withChange({ trustedOrigins: 'https://example.com' }),
    path: 'trustedOrigins',
    says: /expected a list/,
  },
  'an origin with a path': {
    options: withChange({ trustedOrigins: ['https://a.example', 'https://example.com/'] }),
    path: 'trustedOrigins[1]',
    says: /expected an origin/,
  },
  'an origin that is a word': {
    options: withChange({ trustedOrigins: ['null'] }),
    path: 'trustedOrigins[0]',
    says: /expected an origin/,
  },
  'an event listener that is none': {
    options: withChange({ onEvent: 'log' }),
    path: 'onEvent',
    says: /expected a function/,
  },
  'trust in words': {
    options: withChange({ trustRequestId: 'yes' }),
    path: 'trustRequestId',
    says: /expected one of true, false/,
  },
  'models that are no object': {
    options: withChange({ models: null }),
    path: 'models',
    says: /expected an object/,
  },
  'settings of a model that are none': {
    options: withChange({ models: { 'placeholder/sketch': 5 } }),
    path: "models['placeholder/sketch']",
    says: /expected an object/,
  },
  'settings of a model nobody offers': {
    options: withChange({ models: { 'placeholder/sketsh': price } }),
    path: "models['placeholder/sketsh']",
    says: /no provider offers a model placeholder\/sketsh; did you mean placeholder\/sketch\?/,
  },
  'an alias of nothing': {
    options: withChange({ models: { fast: { aliasOf: 'placeholder/skech' } } }),
    path: "models['fast'].aliasOf",
    says: /did you mean placeholder\/sketch\?/,
  },
  'an alias with settings': {
    options: withChange({ models: { fast: { aliasOf: 'placeholder/sketch', price: 0 } } }),
    path: "models['fast'].price",
    says: /is not an option/,
  },
  'an alias that a provider offers': {
    options: withChange({ models: { 'placeholder/sketch': { aliasOf: 'placeholder/sketch' } } }),
    path: "models['placeholder/sketch'].aliasOf",
    says: /choose another/,
  },
  'a mistyped setting of a model': {
    options: withChange({ models: { 'placeholder/sketch': { serveBy: 'x' } } }),
    path: "models['placeholder/sketch'].serveBy",
    says: /did you mean servedBy\?/,
  },
  'a successor nobody offers': {
    options: withChange({ models: { 'placeholder/sketch': { servedBy: 'a/b' } } }),
    path: "models['placeholder/sketch'].servedBy",
    says: /no provider offers a model a\/b$/,
  },
  'a backend nobody is': {
    options: withChange({ models: { 'placeholder/sketch': { backends: [{ provider: 'x' }] } } }),
    path: "models['placeholder/sketch'].backends[0].provider",
    says: /no provider x offers this model/,
  },
  'a bound above the contract': {
    options: withChange({ models: { 'placeholder/sketch': { limits: { maxImages: 11 } } } }),
    path: "models['placeholder/sketch'].limits.maxImages",
    says: /at most 10, got 11/,
  },
  'a mistyped bound': {
    options: withChange({ models: { 'placeholder/sketch': { limits: { maxImage: 1 } } } }),
    path: "models['placeholder/sketch'].limits.maxImage",
    says: /did you mean maxImages\?/,
  },
  'a bound of no characters': {
    options: withChange({ models: { 'placeholder/sketch': { limits: { maxPromptLength: 0 } } } }),
    path: "models['placeholder/sketch'].limits.maxPromptLength",
    says: /at least 1/,
  },
  'a price of nothing': {
    options: withChange({ models: { 'placeholder/sketch': { price: null } } }),
    path: "models['placeholder/sketch'].price",
    says: /expected an object/,
  },
  'a row of prices that is none': {
    options: withChange({ models: { 'placeholder/sketch': { price: { '*': null } } } }),
    path: "models['placeholder/sketch'].price['*']",
    says: /expected an object/,
  },
  'backends that are no list': {
    options: withChange({ models: { 'placeholder/sketch': { backends: 'x' } } }),
    path: "models['placeholder/sketch'].backends",
    says: /expected a list/,
  },
  'a backend that is none': {
    options: withChange({ models: { 'placeholder/sketch': { backends: [null] } } }),
    path: "models['placeholder/sketch'].backends[0]",
    says: /expected an object/,
  },
  'qualities that are no map': {
    options: withChange({ models: { 'placeholder/sketch': { qualities: 5 } } }),
    path: "models['placeholder/sketch'].qualities",
    says: /expected an object/,
  },
  'a model without a price': {
    options: withChange({ providers: [placeholder({ models: [{ price: undefined }] as never })] }),
    path: "models['placeholder/sketch'].price",
    says: /without a known price/,
  },
  'a size without a price': {
    options: withChange({
      providers: [placeholder({ models: [{ sizes: list, price: { '32x32': { '*': usd(1) } } }] })],
    }),
    path: "models['placeholder/sketch'].price",
    says: /no price for 64x64 in quality standard/,
  },
};

for (const [name, { options, path, says }] of Object.entries(FAULTS)) {
  test(`${name}: a ConfigError at ${path}`, () => {
    assert.throws(
      () => createImagesRouter(options),
      (error) => {
        assert.ok(error instanceof ConfigError, String(error));
        assert.equal(error.path, path);
        assert.match(error.message, says);
        assert.ok(error.message.startsWith(`${path}: `));
        return true;
      },
    );
  });
}

test('what is not given has its documented default', () => {
  const { media, limits, spend, models, trustedOrigins, trustRequestId } = resolveOptions(SOUND);
  assert.deepEqual(media, {
    secrets: [SECRET],
    publicUrl: undefined,
    ttlSeconds: 3600,
    maxTtlSeconds: 86_400,
    retentionSeconds: 604_800,
    transforms: {
      widths: [64, 128, 256, 384, 512, 640, 768, 1024, 1280, 1536, 2048],
      heights: [64, 128, 256, 384, 512, 640, 768, 1024, 1280, 1536, 2048],
      formats: ['png', 'jpeg', 'webp', 'avif'],
      qualities: [50, 75, 90],
    },
    delivery: 'proxy',
  });
  assert.equal(limits.requestMs, 180_000);
  assert.deepEqual(spend, { unknownCost: 'charge', onStoreFailure: 'deny' });
  assert.deepEqual([models, trustedOrigins, trustRequestId], [{}, [], false]);
});

test('an option that is undefined is one not given', () => {
  const undefinedOptions = { models: undefined, spend: undefined, limits: { queue: undefined } };
  const config = resolveOptions({
    ...SOUND,
    ...undefinedOptions,
    media: { secrets: SECRET, ttlSeconds: undefined },
  });
  assert.equal(config.media.ttlSeconds, 3600);
  assert.equal(config.limits.queue, 256);
});

test('what is given is taken', () => {
  const config = resolveOptions({
    ...SOUND,
    limits: { queue: 7 },
    spend: { unknownCost: 'waive' },
    trustedOrigins: ['https://app.example.com', 'http://localhost:3000'],
    models: { fast: { aliasOf: 'placeholder/sketch' }, 'placeholder/sketch': { limits: { maxImages: 10 } } },
  });
  assert.equal(config.limits.queue, 7);
  assert.equal(config.spend.unknownCost, 'waive');
  assert.equal(config.trustedOrigins.length, 2);
});

test('making a router does nothing yet: no option is called', () => {
  const untouchable = (methods: readonly string[]) =>
    Object.fromEntries(methods.map((name) => [name, () => assert.fail(`${name} was called`)]));
  createImagesRouter(
    withChange({
      providers: [{ ...placeholder(), ...untouchable(['generate', 'warmup', 'close']) }],
      storage: untouchable(['put', 'get', 'stat', 'delete', 'sweep', 'close']),
      budget: untouchable(['reserve', 'recall', 'commit', 'release', 'read', 'close']),
      identify: () => assert.fail('identify was called'),
    }),
  );
});

const CALLERS: readonly (readonly [change: Anything, path: string])[] = [
  [{ tenant: '' }, 'anyone().tenant'],
  [{ tenant: 'x'.repeat(257) }, 'anyone().tenant'],
  [{ user: 7 }, 'anyone().user'],
  [{ role: 'root' }, 'anyone().role'],
  [{ models: [] }, 'anyone().models'],
  [{ models: 'openai/*' }, 'anyone().models'],
  [{ models: [7] }, 'anyone().models'],
  [{ budgets: [] }, 'anyone().budgets'],
  [{ budgets: undefined }, 'anyone().budgets'],
];

for (const [change, path] of CALLERS) {
  test(`a caller with ${JSON.stringify(change)} is a ConfigError at ${path}`, () => {
    assert.throws(() => anyone({ ...CALLER, ...change } as never), { name: 'ConfigError', path });
  });
}

test('a table of plain keys is refused, and the key is not repeated', () => {
  assert.throws(
    () => bearerKeys({ 'sk-secret-key': CALLER }),
    (error) => error instanceof ConfigError && !error.message.includes('sk-secret-key'),
  );
  assert.doesNotThrow(() => bearerKeys({ [hashKey('sk-secret-key')]: CALLER }));
});

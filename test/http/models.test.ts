import assert from 'node:assert/strict';
import { test } from 'node:test';
import { usd } from '../../src/core/windows.js';
import { ProviderError } from '../../src/errors.js';
import { bearerKeys, hashKey } from '../../src/http/identify.js';
import { type PlaceholderModel, placeholder } from '../../src/providers/placeholder.js';
import { createTestApp, TEST_CALLER, TEST_KEY, type TestAppOptions } from '../support/app.js';

const LISTED_SIZES = {
  kind: 'list',
  values: [
    { width: 64, height: 64 },
    { width: 64, height: 32 },
  ],
  default: { width: 64, height: 64 },
} as const;

/** One model of every kind of life and price. */
const MODELS: readonly PlaceholderModel[] = [
  { slug: 'acme/active', displayName: 'Active', price: usd(0.04) },
  { slug: 'acme/free', price: 0 },
  {
    slug: 'acme/listed',
    sizes: LISTED_SIZES,
    qualities: ['standard', 'hd'],
    price: { '64x64': { standard: usd(0.01), hd: usd(0.02) }, '*': { '*': usd(0.03) } },
  },
  {
    slug: 'acme/tokens',
    price: { tokens: { textIn: usd(5), imageIn: usd(8), imageOut: usd(30) }, ceiling: usd(0.25) },
  },
  {
    slug: 'acme/ending',
    lifecycle: {
      deprecatedAt: '2020-01-01',
      shutdownAt: '2999-12-31',
      successor: { slug: 'acme/active', serves: true },
    },
  },
  {
    slug: 'acme/gone',
    lifecycle: { shutdownAt: '2020-01-01', successor: { slug: 'acme/active', serves: true } },
  },
  {
    slug: 'acme/refused',
    lifecycle: { shutdownAt: '2020-01-01', successor: { slug: 'acme/active', serves: false } },
  },
  {
    slug: 'other/plain',
    operations: ['generate'],
    features: [],
    maxPreviews: 0,
    backgrounds: [],
    styles: [],
  },
];

const withModels: TestAppOptions = { placeholder: { models: MODELS } };
const SLUGS = MODELS.map(({ slug }) => slug ?? '').sort();

function slugsOf(body: { data: { items: readonly { slug: string }[] } }): readonly string[] {
  return body.data.items.map(({ slug }) => slug);
}

test('the native list has every model, by slug, in an envelope', async (t) => {
  const app = await createTestApp(t, withModels);
  const { body, headers } = await app.get('/v1/models').expect(200);
  assert.equal(body.status, 'ok');
  assert.equal(body.meta.request_id, headers['x-request-id']);
  assert.deepEqual(body.pagination, { has_more: false, next_cursor: null });
  assert.deepEqual(slugsOf(body), SLUGS);
});

test('a model says what it is and can do', async (t) => {
  const app = await createTestApp(t, withModels);
  const { body } = await app.get('/v1/models/acme%2Factive').expect(200);
  assert.deepEqual(body.data, {
    slug: 'acme/active',
    display_name: 'Active',
    modality: 'image',
    status: 'active',
    health_status: 'healthy',
    active_backend_count: 1,
    total_backend_count: 1,
    capabilities: {
      sizes: {
        multiple: 1,
        min_edge: 16,
        max_edge: 4096,
        min_pixels: 256,
        max_pixels: 16_777_216,
        max_ratio: 256,
        default: '1024x1024',
      },
      qualities: ['standard', 'hd'],
      styles: ['vivid', 'natural'],
      output_formats: ['png', 'jpeg', 'webp', 'avif'],
      max_images: 10,
      edit: true,
      mask: true,
      stream: true,
      seed: true,
      negative_prompt: true,
      background: ['auto', 'opaque', 'transparent'],
      max_prompt_length: 4000,
    },
    pricing: { currency: 'USD', per_image: '0.040000' },
  });
});

test('a model says what it cannot do', async (t) => {
  const app = await createTestApp(t, withModels);
  const { body } = await app.get('/v1/models/other/plain').expect(200);
  const { edit, mask, stream, seed, negative_prompt: negative, background, styles } = body.data.capabilities;
  assert.deepEqual([edit, mask, stream, seed, negative], [false, false, false, false, false]);
  assert.deepEqual([background, styles], [[], []]);
});

test('bounds the host sets are what a model says of itself', async (t) => {
  const app = await createTestApp(t, {
    ...withModels,
    models: { 'acme/active': { limits: { maxImages: 2, maxPromptLength: 100 }, price: usd(1) } },
  });
  const { body } = await app.get('/v1/models/acme/active').expect(200);
  assert.equal(body.data.capabilities.max_images, 2);
  assert.equal(body.data.capabilities.max_prompt_length, 100);
  assert.equal(body.data.pricing.per_image, '1.000000');
});

const PRICINGS = {
  'acme/free': { currency: 'USD', per_image: '0.000000' },
  'acme/listed': {
    currency: 'USD',
    per_image: { '64x64': { standard: '0.010000', hd: '0.020000' }, '*': { '*': '0.030000' } },
  },
  'acme/tokens': {
    currency: 'USD',
    per_million_tokens: {
      text_in: '5.000000',
      image_in: '8.000000',
      image_out: '30.000000',
      text_out: '30.000000',
    },
    max_per_image: '0.250000',
  },
};

for (const [slug, pricing] of Object.entries(PRICINGS)) {
  test(`prices are decimal strings, as they are for ${slug}`, async (t) => {
    const app = await createTestApp(t, withModels);
    const { body } = await app.get(`/v1/models/${slug}`).expect(200);
    assert.deepEqual(body.data.pricing, pricing);
  });
}

test('sizes of a list are listed', async (t) => {
  const app = await createTestApp(t, withModels);
  const { body } = await app.get('/v1/models/acme/listed').expect(200);
  assert.deepEqual(body.data.capabilities.sizes, { values: ['64x64', '64x32'], default: '64x64' });
});

test('models that end or have ended say when, and who takes over', async (t) => {
  const app = await createTestApp(t, withModels);
  const lifeOf = async (slug: string) => {
    const { data } = (await app.get(`/v1/models/${slug}`).expect(200)).body;
    return [data.status, data.shutdown_date, data.successor];
  };
  assert.deepEqual(await lifeOf('acme/active'), ['active', undefined, undefined]);
  assert.deepEqual(await lifeOf('acme/ending'), ['deprecated', '2999-12-31', 'acme/active']);
  assert.deepEqual(await lifeOf('acme/gone'), ['retired', '2020-01-01', 'acme/active']);
  const { body } = await app.get('/oai/v1/models/acme/gone').expect(200);
  assert.equal(body.shutdown_date, '2020-01-01');
});

test('a slug may be written with %2F or a plain slash, on both surfaces', async (t) => {
  const app = await createTestApp(t, withModels);
  for (const slug of ['acme/active', 'acme%2Factive', 'acme%2factive', '%61cme/active']) {
    const native = await app.get(`/v1/models/${slug}`).expect(200);
    assert.equal(native.body.data.slug, 'acme/active', slug);
    const openai = await app.get(`/oai/v1/models/${slug}`).expect(200);
    assert.equal(openai.body.id, 'acme/active', slug);
  }
});

test('a malformed slug is the fault of the request', async (t) => {
  const app = await createTestApp(t, withModels);
  const native = await app.get('/v1/models/%zz').expect(422);
  assert.equal(native.body.error.code, 'VALIDATION_ERROR');
  assert.equal(native.body.error.details[0].field, 'slug');
  const openai = await app.get('/oai/v1/models/acme%2').expect(400);
  assert.equal(openai.body.error.param, 'slug');
});

test('a model nobody offers is 404, and its name is not repeated', async (t) => {
  const app = await createTestApp(t, withModels);
  for (const slug of ['nobody/canary', '__proto__', 'constructor', 'acme/active/canary', '%00canary']) {
    const native = await app.get(`/v1/models/${slug}`).expect(404);
    assert.equal(native.body.error.code, 'MODEL_NOT_FOUND');
    assert.doesNotMatch(native.text, /canary|proto/);
    const openai = await app.get(`/oai/v1/models/${slug}`).expect(404);
    assert.equal(openai.body.error.code, 'model_not_found');
    assert.equal(openai.headers['x-should-retry'], 'false');
  }
});

test("OpenAI's list and model have OpenAI's shape", async (t) => {
  const app = await createTestApp(t, withModels);
  const { body } = await app.get('/oai/v1/models').expect(200);
  assert.equal(body.object, 'list');
  assert.deepEqual(
    body.data.map(({ id }: { id: string }) => id),
    SLUGS,
  );
  const one = await app.get('/oai/v1/models/acme/active').expect(200);
  assert.deepEqual(one.body, { id: 'acme/active', object: 'model', created: 0, owned_by: 'acme' });
  assert.deepEqual(body.data[0], one.body);
});

test('a name without its vendor is found on the OpenAI surface alone', async (t) => {
  const app = await createTestApp(t, withModels);
  const { body } = await app.get('/oai/v1/models/active').expect(200);
  assert.equal(body.id, 'acme/active');
  await app.get('/v1/models/active').expect(404);
});

test('a name two vendors have is not found without its vendor', async (t) => {
  const app = await createTestApp(t, { placeholder: { models: [{ slug: 'a/same' }, { slug: 'b/same' }] } });
  await app.get('/oai/v1/models/same').expect(404);
});

const withAliases: TestAppOptions = {
  ...withModels,
  models: { fast: { aliasOf: 'acme/active' }, 'house/plain': { aliasOf: 'other/plain' } },
};
const ALIASED = [...SLUGS, 'fast', 'house/plain'].sort();

test("a host's own name is a model like the one it stands for", async (t) => {
  const app = await createTestApp(t, withAliases);
  const { data } = (await app.get('/v1/models/acme/active').expect(200)).body;
  assert.deepEqual((await app.get('/v1/models/fast').expect(200)).body.data, { ...data, slug: 'fast' });
  const { body } = await app.get('/oai/v1/models/fast').expect(200);
  assert.deepEqual(body, { id: 'fast', object: 'model', created: 0, owned_by: 'acme' });
});

test("a host's own names are listed on both surfaces, and pages run through them", async (t) => {
  const app = await createTestApp(t, withAliases);
  assert.deepEqual(slugsOf((await app.get('/v1/models')).body), ALIASED);
  const { body } = await app.get('/oai/v1/models');
  assert.deepEqual(
    body.data.map(({ id }: { id: string }) => id),
    ALIASED,
  );
  const paged: string[] = [];
  for (let cursor = ''; cursor !== 'none'; ) {
    const { body: page } = await app.get(`/v1/models?limit=2${cursor && `&cursor=${cursor}`}`).expect(200);
    paged.push(...slugsOf(page));
    cursor = page.pagination.next_cursor ?? 'none';
  }
  assert.deepEqual(paged, ALIASED);
});

test("a host's own name is listed for whoever may use the model it stands for", async (t) => {
  const app = await createTestApp(t, { ...withAliases, caller: { models: ['other/*', 'fast'] } });
  assert.deepEqual(slugsOf((await app.get('/v1/models')).body), ['house/plain', 'other/plain']);
  await app.get('/v1/models/fast').expect(403);
});

test('a model another draws for is listed with the price and the health of that one', async (t) => {
  const app = await createTestApp(t, {
    providers: [
      placeholder({
        models: MODELS.map((model) => ({ ...model, price: model.price ?? usd(0.5) })),
        fail: () => new ProviderError('unavailable', 'Down.', { billed: 'unknown' }),
      }),
    ],
    models: { 'other/plain': { servedBy: 'acme/listed' } },
  });
  const priceOf = async (slug: string) => {
    const { pricing, successor } = (await app.get(`/v1/models/${slug}`).expect(200)).body.data;
    return [successor, pricing];
  };
  assert.deepEqual(await priceOf('acme/gone'), ['acme/active', { currency: 'USD', per_image: '0.040000' }]);
  assert.deepEqual(await priceOf('other/plain'), ['acme/listed', PRICINGS['acme/listed']]);
  for (let call = 0; call < 5; call += 1) await app.native({ model: 'acme/active', prompt: 'a hill' });
  const { data } = (await app.get('/v1/models/acme/gone').expect(200)).body;
  assert.deepEqual([data.health_status, data.active_backend_count], ['unhealthy', 0]);
});

test('a retired model nobody draws for is unavailable', async (t) => {
  const app = await createTestApp(t, withModels);
  const { data } = (await app.get('/v1/models/acme/refused').expect(200)).body;
  assert.deepEqual([data.health_status, data.active_backend_count], ['unavailable', 0]);
});

test('a caller sees the models it may use, and 403 for the others on both surfaces', async (t) => {
  const app = await createTestApp(t, { ...withModels, caller: { models: ['other/*', 'acme/free'] } });
  assert.deepEqual(slugsOf((await app.get('/v1/models')).body), ['acme/free', 'other/plain']);
  const { body } = await app.get('/oai/v1/models');
  assert.deepEqual(
    body.data.map(({ id }: { id: string }) => id),
    ['acme/free', 'other/plain'],
  );
  const native = await app.get('/v1/models/acme/active').expect(403);
  assert.equal(native.body.error.code, 'MODEL_ACCESS_DENIED');
  const openai = await app.get('/oai/v1/models/acme/active').expect(403);
  assert.equal(openai.body.error.code, 'model_access_denied');
  assert.equal(openai.body.error.type, 'permission_error');
});

test('a model that another would draw is one the caller may use only with both', async (t) => {
  const app = await createTestApp(t, { ...withModels, caller: { models: ['acme/gone'] } });
  assert.deepEqual(slugsOf((await app.get('/v1/models')).body), []);
  await app.get('/v1/models/acme/gone').expect(403);
  await app.get('/oai/v1/models/acme/gone').expect(403);
  await app.native({ model: 'acme/gone', prompt: 'a hill' }).expect(403);
});

test('viewers may read models', async (t) => {
  const app = await createTestApp(t, { ...withModels, caller: { role: 'viewer' } });
  for (const path of ['/v1/models', '/v1/models/acme/free', '/oai/v1/models', '/oai/v1/models/acme/free']) {
    await app.get(path).expect(200);
  }
});

test('strangers see no models', async (t) => {
  const app = await createTestApp(t, withModels);
  for (const path of ['/v1/models', '/v1/models/acme/free', '/v1/models/nobody/nothing']) {
    const { body } = await app.http.get(path).expect(401);
    assert.equal(body.error.code, 'AUTH_TOKEN_MISSING');
    await app.http.get(`/oai${path}`).set('Authorization', 'Bearer nobody').expect(401);
  }
});

test('tenants do not see the models of each other', async (t) => {
  const identify = bearerKeys({
    [hashKey(TEST_KEY)]: { ...TEST_CALLER, models: ['acme/*'] },
    [hashKey('b')]: { ...TEST_CALLER, tenant: 'b', models: ['other/*'] },
  });
  const app = await createTestApp(t, { ...withModels, identify });
  const other = await app.http.get('/v1/models').set('Authorization', 'Bearer b');
  assert.deepEqual(slugsOf(other.body), ['other/plain']);
  assert.equal(slugsOf((await app.get('/v1/models')).body).includes('other/plain'), false);
});

test('pages follow one another until every model was listed once', async (t) => {
  const app = await createTestApp(t, withModels);
  for (const limit of [1, 3, SLUGS.length - 1, SLUGS.length]) {
    const seen: string[] = [];
    let query = `limit=${limit}`;
    for (;;) {
      const { body } = await app.get(`/v1/models?${query}`).expect(200);
      assert.ok(slugsOf(body).length <= limit);
      seen.push(...slugsOf(body));
      assert.equal(body.pagination.has_more, body.pagination.next_cursor !== null);
      if (!body.pagination.has_more) break;
      query = `limit=${limit}&cursor=${encodeURIComponent(body.pagination.next_cursor)}`;
    }
    assert.deepEqual(seen, SLUGS);
  }
});

for (const query of [
  'limit=0',
  'limit=-1',
  'limit=1.5',
  'limit=x',
  'limit=',
  'limit=1001',
  'limit=1e2',
  'limit=0x10',
]) {
  test(`?${query} is the fault of the request`, async (t) => {
    const app = await createTestApp(t, withModels);
    const { body } = await app.get(`/v1/models?${query}`).expect(422);
    assert.deepEqual(
      body.error.details.map(({ field }: { field: string }) => field),
      ['limit'],
    );
  });
}

for (const cursor of ['!', 'a b', 'YWNtZQ==', '%ff']) {
  test(`a cursor nobody gave out, ${cursor}, is the fault of the request`, async (t) => {
    const app = await createTestApp(t, withModels);
    const { body } = await app.get(`/v1/models?cursor=${cursor}`).expect(422);
    assert.equal(body.error.details[0].field, 'cursor');
  });
}

test('status and modality choose among the models', async (t) => {
  const app = await createTestApp(t, withModels);
  const listed = async (query: string) => slugsOf((await app.get(`/v1/models?${query}`).expect(200)).body);
  assert.deepEqual(await listed('modality=image'), SLUGS);
  assert.deepEqual(await listed('modality=text'), []);
  assert.deepEqual(await listed('status=retired'), ['acme/gone', 'acme/refused']);
  assert.deepEqual(await listed('status=deprecated&modality=image'), ['acme/ending']);
  assert.equal((await listed('status=active')).length, SLUGS.length - 3);
});

test('a status there is none of is the fault of the request', async (t) => {
  const app = await createTestApp(t, withModels);
  const { body } = await app.get('/v1/models?status=dead').expect(422);
  assert.deepEqual(body.error.details, [
    { field: 'status', message: 'expected active, deprecated or retired' },
  ]);
});

test('queries are read however the host parses them', async (t) => {
  const app = await createTestApp(t, { ...withModels, before: (host) => host.set('query parser', false) });
  assert.deepEqual(slugsOf((await app.get('/v1/models?limit=1')).body), SLUGS.slice(0, 1));
});

test('a model several providers offer has a backend for each', async (t) => {
  const providers = [placeholder(), placeholder({ name: 'second' })];
  const app = await createTestApp(t, { providers });
  const { body } = await app.get('/v1/models/placeholder/sketch').expect(200);
  assert.equal(body.data.total_backend_count, 2);
  assert.equal(body.data.active_backend_count, 2);
  assert.equal((await app.get('/v1/models')).body.data.items.length, 1);
});

test('HEAD of a list answers its headers', async (t) => {
  const app = await createTestApp(t, withModels);
  const answer = await fetch(`${app.url}/v1/models`, {
    method: 'HEAD',
    headers: { authorization: `Bearer ${TEST_KEY}` },
  });
  assert.equal(answer.status, 200);
  assert.equal(await answer.text(), '');
});

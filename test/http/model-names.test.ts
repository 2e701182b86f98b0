import assert from 'node:assert/strict';
import { test } from 'node:test';
import sharp from 'sharp';
import type { SizeRule, Successor } from '../../src/core/provider.js';
import { usd } from '../../src/core/windows.js';
import { ConfigError } from '../../src/errors.js';
import type { PlaceholderModel } from '../../src/providers/placeholder.js';
import { createTestApp, TEST_CALLER, type TestAppOptions, testModel } from '../support/app.js';

type Scope = Parameters<typeof createTestApp>[0];

const PROMPT = { prompt: 'A lighthouse' };

function squares(...edges: readonly number[]): SizeRule {
  const values = edges.map((edge) => ({ width: edge, height: edge }));
  return { kind: 'list', values, default: values[0] ?? 'auto' };
}

const SUCCESSOR: Successor = {
  slug: 'house/new',
  serves: true,
  sizes: { '32x32': '64x64' },
  qualities: { standard: 'medium', hd: 'high' },
};

const OLD = testModel({
  slug: 'house/old',
  sizes: squares(32, 64),
  ...{ qualities: ['standard', 'hd'], styles: ['vivid', 'natural'], price: usd(0.01) },
  lifecycle: { deprecatedAt: '2025-11-14', shutdownAt: '2026-05-12', successor: SUCCESSOR },
});

const NEW = testModel({
  slug: 'house/new',
  sizes: squares(64, 128),
  ...{ qualities: ['medium', 'high', 'low'], styles: [], backgrounds: [] },
  price: { '64x64': { low: usd(0.02), medium: usd(0.05), high: usd(0.2) }, '*': { '*': usd(0.5) } },
});

function houseApp(t: Scope, models: readonly PlaceholderModel[], options: TestAppOptions = {}) {
  return createTestApp(t, { placeholder: { models }, ...options });
}

test('a retired model is drawn by its successor, which the answer says', async (t) => {
  const app = await houseApp(t, [OLD, NEW]);
  const answer = await app.native({ ...PROMPT, model: 'house/old' });
  assert.equal(answer.status, 200, answer.text);
  assert.equal(answer.body.data.model, 'house/old');
  assert.equal(answer.body.data.served_by, 'house/new');
  assert.deepEqual(answer.body.data.warnings, [
    { field: 'model', message: 'house/old is served by house/new.' },
  ]);
  assert.equal(answer.get('deprecation'), `@${Date.UTC(2025, 10, 14) / 1000}`);
  assert.equal(answer.get('sunset'), 'Tue, 12 May 2026 00:00:00 GMT');
  assert.equal(app.calls[0]?.model.slug, 'house/new');
  assert.equal(app.eventsOf('request.completed')[0]?.servedBy, 'house/new');
});

test('the successor may draw larger; the picture is reduced to exactly the pixels asked for', async (t) => {
  const app = await houseApp(t, [OLD, NEW]);
  const body = { ...PROMPT, model: 'house/old', size: '32x32', response_format: 'b64_json' };
  const answer = await app.native(body);
  assert.deepEqual(app.calls[0]?.size, { width: 64, height: 64 });
  const [item] = answer.body.data.data;
  const { width, height } = await sharp(Buffer.from(item.b64_json, 'base64')).metadata();
  assert.deepEqual([width, height, item.width, item.height], [32, 32, 32, 32]);
});

for (const [quality, mapped, cost] of [
  [undefined, 'medium', '0.050000'],
  ['standard', 'medium', '0.050000'],
  ['hd', 'high', '0.200000'],
] as const) {
  test(`quality ${quality} of a retired model is ${mapped} of its successor, at the successor’s price`, async (t) => {
    const app = await houseApp(t, [OLD, NEW]);
    const answer = await app.native({ ...PROMPT, model: 'house/old', quality });
    assert.equal(app.calls[0]?.quality, mapped);
    assert.equal(answer.body.data.usage.cost, cost);
    assert.equal((await app.balances())['monthly-usd-tenant']?.spent, Number(cost) * 1e6);
  });
}

test('the rules of a retired model stay its own: the successor’s values are refused for it', async (t) => {
  const app = await houseApp(t, [OLD, NEW]);
  const answer = await app.native({ ...PROMPT, model: 'house/old', quality: 'high', size: '128x128' });
  assert.deepEqual(
    answer.body.error.details.map(({ field }: { field: string }) => field),
    ['size', 'quality'],
  );
});

test('a style the successor does not have is dropped with a warning', async (t) => {
  const app = await houseApp(t, [OLD, NEW]);
  const answer = await app.native({ ...PROMPT, model: 'house/old', style: 'natural' });
  assert.equal(answer.status, 200, answer.text);
  assert.equal(app.calls[0]?.style, undefined);
  assert.deepEqual(answer.body.data.warnings[1], {
    field: 'style',
    message: 'house/new has no style natural, so it was left out.',
  });
});

test('OpenAI clients get warnings and the Deprecation header of a retired model, too', async (t) => {
  const app = await houseApp(t, [OLD, NEW]);
  const answer = await app.openai({ ...PROMPT, model: 'old' });
  assert.equal(answer.status, 200, answer.text);
  assert.equal(answer.body.warnings[0].field, 'model');
  assert.match(answer.get('deprecation') ?? '', /^@\d+$/);
});

test('a size the successor cannot draw is refused, saying what it draws', async (t) => {
  const successor = { slug: 'house/new', serves: true };
  const app = await houseApp(t, [{ ...OLD, lifecycle: { ...OLD.lifecycle, successor } }, NEW]);
  const answer = await app.native({ ...PROMPT, model: 'house/old', size: '32x32' });
  assert.equal(answer.status, 422);
  assert.match(answer.body.error.message, /served by house\/new, which draws one of 64x64, 128x128/);
});

for (const [title, lifecycle] of [
  ['whose successor only has its name', { ...OLD.lifecycle, successor: { ...SUCCESSOR, serves: false } }],
  ['without a successor', { shutdownAt: '2026-05-12' }],
  ['whose successor nobody offers', { ...OLD.lifecycle, successor: { slug: 'house/gone', serves: true } }],
] as const) {
  test(`a retired model ${title} is unavailable for good`, async (t) => {
    const app = await houseApp(t, [{ ...OLD, lifecycle }, NEW]);
    const answer = await app.native({ ...PROMPT, model: 'house/old' });
    assert.equal(answer.status, 503);
    const { code, reason, message } = answer.body.error;
    assert.deepEqual([code, reason], ['MODEL_UNAVAILABLE', 'retired']);
    assert.match(message, /house\/old was retired by its vendor on 2026-05-12/);
    if ('successor' in lifecycle) assert.ok(message.includes(`use ${lifecycle.successor?.slug}`), message);
    assert.equal(answer.get('x-should-retry'), 'false');
    assert.equal(app.calls.length, 0);
    const openai = await app.openai({ ...PROMPT, model: 'house/old' });
    assert.equal(openai.status, 503);
    assert.deepEqual(
      { ...openai.body.error, message: '' },
      { type: 'server_error', param: 'model', code: 'model_unavailable', message: '' },
    );
  });
}

test('a deprecated model still draws itself, with a Deprecation header', async (t) => {
  const lifecycle = { deprecatedAt: '2026-01-01', shutdownAt: '2999-01-01', successor: SUCCESSOR };
  const app = await houseApp(t, [{ ...OLD, lifecycle }, NEW]);
  const answer = await app.native({ ...PROMPT, model: 'house/old' });
  assert.equal(answer.status, 200, answer.text);
  assert.equal(answer.body.data.served_by, undefined);
  assert.equal(app.calls[0]?.model.slug, 'house/old');
  assert.equal(answer.get('deprecation'), `@${Date.UTC(2026, 0, 1) / 1000}`);
});

test('a model that only will be deprecated has no Deprecation header', async (t) => {
  const app = await houseApp(t, [{ ...OLD, lifecycle: { deprecatedAt: '2999-01-01' } }, NEW]);
  const answer = await app.native({ ...PROMPT, model: 'house/old' });
  assert.equal(answer.get('deprecation'), undefined);
});

test('successors are followed from one retired model to the next', async (t) => {
  const middle = {
    ...{ ...NEW, slug: 'house/middle' },
    lifecycle: { shutdownAt: '2026-06-01', successor: { slug: 'house/new', serves: true } },
  };
  const lifecycle = { ...OLD.lifecycle, successor: { ...SUCCESSOR, slug: 'house/middle' } };
  const app = await houseApp(t, [{ ...OLD, lifecycle }, middle, NEW]);
  const answer = await app.native({ ...PROMPT, model: 'house/old', size: '32x32', quality: 'hd' });
  assert.equal(answer.body.data.served_by, 'house/new');
  assert.equal(app.calls[0]?.quality, 'high');
  assert.equal(answer.body.data.data[0].width, 32);
});

test('retired models that name each other are unavailable, not an endless search', async (t) => {
  const other = {
    ...{ ...NEW, lifecycle: { shutdownAt: '2026-06-01', successor: { slug: 'house/old', serves: true } } },
  };
  const app = await houseApp(t, [OLD, other]);
  const answer = await app.native({ ...PROMPT, model: 'house/old' });
  assert.equal(answer.body.error?.reason, 'retired', answer.text);
});

test('a host can have any model served by another, with its own map of qualities', async (t) => {
  const living = testModel({ slug: 'house/living', sizes: squares(64) });
  const app = await houseApp(t, [living, NEW], {
    models: { 'house/living': { servedBy: 'house/new', qualities: { standard: 'low', hd: 'high' } } },
  });
  const answer = await app.native({ ...PROMPT, model: 'house/living' });
  assert.equal(answer.body.data.served_by, 'house/new');
  assert.equal(app.calls[0]?.quality, 'low');
  assert.equal(answer.body.data.usage.cost, '0.020000');
  assert.equal(answer.get('deprecation'), undefined);
});

test('an alias of the host leads to its model on both surfaces', async (t) => {
  const app = await houseApp(t, [NEW], { models: { 'our-best': { aliasOf: 'house/new' } } });
  const native = await app.native({ ...PROMPT, model: 'our-best' });
  assert.equal(native.status, 200, native.text);
  assert.equal(native.body.data.model, 'our-best');
  assert.equal(native.body.data.served_by, 'house/new');
  assert.equal((await app.openai({ ...PROMPT, model: 'our-best' })).status, 200);
});

test('a bare name finds its model on the OpenAI surface only', async (t) => {
  const app = await houseApp(t, [NEW]);
  assert.equal((await app.openai({ ...PROMPT, model: 'new' })).status, 200);
  const native = await app.native({ ...PROMPT, model: 'new' });
  assert.equal(native.body.error.code, 'MODEL_NOT_FOUND');
});

test('a bare name that two vendors have finds neither', async (t) => {
  const app = await houseApp(t, [NEW, { ...NEW, slug: 'other/new' }]);
  const answer = await app.openai({ ...PROMPT, model: 'new' });
  assert.equal(answer.body.error.code, 'model_not_found');
});

test('access is asked of the slug behind an alias, not of the alias', async (t) => {
  const options = { models: { 'our-best': { aliasOf: 'house/new' } } };
  const denied = await houseApp(t, [NEW], { ...options, caller: { models: ['our-best'] } });
  assert.equal((await denied.native({ ...PROMPT, model: 'our-best' })).status, 403);
  const allowed = await houseApp(t, [NEW], { ...options, caller: { models: ['house/*'] } });
  assert.equal((await allowed.native({ ...PROMPT, model: 'our-best' })).status, 200);
});

test('access is asked at every hop of a model served by others', async (t) => {
  const middle = {
    ...{ ...NEW, slug: 'house/middle' },
    lifecycle: { shutdownAt: '2026-06-01', successor: { slug: 'house/new', serves: true } },
  };
  const lifecycle = { ...OLD.lifecycle, successor: { ...SUCCESSOR, slug: 'house/middle' } };
  const models = [{ ...OLD, lifecycle }, middle, NEW];
  const app = await houseApp(t, models, {
    identify: (req) => ({ ...TEST_CALLER, models: (req.get('X-Models') ?? '').split(' ') }),
  });
  const statusWith = async (...allowed: string[]) => {
    const answer = await app.native({ ...PROMPT, model: 'house/old' }).set('X-Models', allowed.join(' '));
    return answer.status;
  };
  assert.equal(await statusWith('house/old', 'house/middle', 'house/new'), 200);
  assert.equal(await statusWith('house/middle', 'house/new'), 403);
  assert.equal(await statusWith('house/old', 'house/middle'), 403);
  assert.equal(await statusWith('house/old', 'house/new'), 403);
});

test('patterns cover whole slugs: a star any run of characters, all else itself', async (t) => {
  const app = await houseApp(t, [NEW], {
    identify: (req) => ({ ...TEST_CALLER, models: [req.get('X-Models') ?? 'none'] }),
  });
  const statusWith = async (pattern: string) => {
    const answer = await app.native({ ...PROMPT, model: 'house/new' }).set('X-Models', pattern);
    return answer.status;
  };
  for (const pattern of ['*', 'house/*', '*/new', 'h*w', 'house/new']) {
    assert.equal(await statusWith(pattern), 200, pattern);
  }
  for (const pattern of ['house', 'house/ne', 'ouse/new', 'house.new', 'HOUSE/*', 'house/new.', '']) {
    assert.equal(await statusWith(pattern), 403, pattern);
  }
});

test('a model without a known price stops the router at construction, unless the host prices it', async (t) => {
  const unpriced = testModel({ price: undefined });
  await assert.rejects(houseApp(t, [unpriced]), (error) => {
    assert.ok(error instanceof ConfigError);
    assert.equal(error.path, "models['placeholder/sketch'].price");
    return true;
  });
  const app = await houseApp(t, [unpriced], { models: { 'placeholder/sketch': { price: usd(0.5) } } });
  const answer = await app.native({ ...PROMPT, model: 'placeholder/sketch' });
  assert.equal(answer.body.data.usage.cost, '0.500000');
});

test('a size or quality without a price in the table stops the router, too', async (t) => {
  const price = { '64x64': { '*': usd(0.1) }, '128x128': { low: usd(0.1), medium: usd(0.1) } };
  await assert.rejects(houseApp(t, [{ ...NEW, price }]), /house\/new.*128x128 in quality high/);
});

import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import type { TokenPrice, TokenUsage } from '../../src/core/provider.js';
import { imageCount, monthly, usd } from '../../src/core/windows.js';
import { type Billed, ProviderError } from '../../src/errors.js';
import type { PlaceholderOptions } from '../../src/providers/placeholder.js';
import { createTestApp, type TestAppOptions, testModel } from '../support/app.js';
import { altered } from '../support/hostile-providers.js';

const BODY = { model: 'placeholder/sketch', prompt: 'A lighthouse', n: 3 };

/** 5, 10 and 40 micro-dollars a token; a picture is at most 200,000. */
const BY_TOKEN: TokenPrice = {
  tokens: { textIn: usd(5), imageIn: usd(10), imageOut: usd(40) },
  ceiling: usd(0.2),
};

/** Three pictures, each with the twelve bytes of the prompt. */
const SHARE = 600_180;

interface Row {
  readonly title: string;
  readonly drawing?: PlaceholderOptions;
  readonly options?: TestAppOptions;
  readonly status: number;
  /** Micro-dollars and pictures. */
  readonly booked: readonly [microUsd: number, images: number];
  readonly event?: 'price.ceiling_exceeded' | 'usage.implausible';
}

const failing = (billed: Billed): PlaceholderOptions => ({
  fail: () => new ProviderError('timeout', 'Slow.', { billed }),
});

const blockedAll: PlaceholderOptions = { blocked: () => ({ reason: 'violence', stage: 'output' }) };

const reporting = (usage: unknown): PlaceholderOptions => ({ usage: () => usage as TokenUsage });

const PER_PICTURE: readonly Row[] = [
  { title: 'three pictures', status: 200, booked: [120_000, 3] },
  {
    title: 'two pictures and one withheld',
    drawing: { blocked: (_, index) => (index === 0 ? { reason: 'x', stage: 'output' } : undefined) },
    ...{ status: 200, booked: [80_000, 2] },
  },
  { title: 'all withheld', drawing: blockedAll, status: 400, booked: [0, 0] },
  { title: 'failed, surely unbilled', drawing: failing('no'), status: 504, booked: [0, 0] },
  { title: 'failed, perhaps billed', drawing: failing('unknown'), status: 504, booked: [120_000, 3] },
  { title: 'failed and billed', drawing: failing('yes'), status: 504, booked: [120_000, 3] },
  {
    title: 'failed for reasons nobody classified',
    drawing: { fail: () => new Error('?') },
    ...{ status: 502, booked: [120_000, 3] },
  },
  {
    title: 'failed, perhaps billed, on a router that waives that',
    ...{ drawing: failing('unknown'), options: { spend: { unknownCost: 'waive' } } },
    ...{ status: 504, booked: [0, 0] },
  },
  {
    title: 'the time for providers is up',
    ...{ drawing: { delayMs: 60_000 }, options: { limits: { requestMs: 100 } } },
    ...{ status: 504, booked: [120_000, 3] },
  },
  { title: 'the vendor’s own cost', drawing: { cost: () => 90_001 }, status: 200, booked: [90_001, 3] },
  { title: 'a cost of nothing', drawing: { cost: () => 0 }, status: 200, booked: [0, 3] },
  {
    title: 'a cost although all were withheld',
    ...{ drawing: { ...blockedAll, cost: () => 5_000 }, status: 400, booked: [5_000, 0] },
  },
  {
    title: 'a cost above the ceiling',
    ...{ drawing: { cost: () => 200_000 }, status: 200, booked: [200_000, 3] },
    event: 'price.ceiling_exceeded',
  },
  ...[-1, 0.5, 480_001, Number.NaN, Number.POSITIVE_INFINITY, '7', {}].map(
    (cost): Row => ({
      title: `a cost that cannot be one: ${String(cost)}`,
      ...{ drawing: { cost: () => cost as number }, status: 200, booked: [120_000, 3] },
      event: 'usage.implausible',
    }),
  ),
  {
    title: 'a cost where the host set the price',
    drawing: { cost: () => 90_000 },
    options: { models: { 'placeholder/sketch': { price: usd(0.1) } } },
    ...{ status: 200, booked: [300_000, 3] },
  },
  {
    title: 'tokens of a model priced by picture: only reported',
    drawing: reporting({ textIn: 1e9, imageIn: -1, imageOut: 'x' }),
    ...{ status: 200, booked: [120_000, 3] },
  },
];

const TOKENS: readonly Row[] = [
  {
    title: 'tokens in and out',
    drawing: reporting({ textIn: 10, imageIn: 3, imageOut: 3000 }),
    ...{ status: 200, booked: [50 + 30 + 120_000, 3] },
  },
  {
    title: 'written tokens at the price of drawn ones',
    drawing: reporting({ textIn: 0, imageIn: 0, imageOut: 100, textOut: 10 }),
    ...{ status: 200, booked: [4_400, 3] },
  },
  {
    title: 'tokens although all were withheld',
    drawing: { ...blockedAll, ...reporting({ textIn: 10, imageIn: 0, imageOut: 0 }) },
    ...{ status: 400, booked: [50, 0] },
  },
  {
    title: 'more tokens than the ceiling thought possible',
    drawing: reporting({ textIn: 0, imageIn: 0, imageOut: 50_000 }),
    ...{ status: 200, booked: [2_000_000, 3], event: 'price.ceiling_exceeded' },
  },
  ...[
    ...[undefined, null, {}, 'many', { textIn: '7', imageIn: 0, imageOut: 0 }],
    ...[
      { textIn: -1, imageIn: 0, imageOut: 0 },
      { textIn: Number.NaN, imageIn: 0, imageOut: 0 },
    ],
    ...[
      { textIn: 0, imageIn: 0, imageOut: 1e300 },
      { textIn: 0, imageIn: 0, imageOut: 60_020 },
    ],
    { textIn: 0, imageIn: 0, imageOut: Number.POSITIVE_INFINITY },
  ].map(
    (usage): Row => ({
      title: `usage that cannot be one: ${JSON.stringify(usage) ?? 'none'}`,
      ...{ drawing: reporting(usage), status: 200, booked: [SHARE, 3], event: 'usage.implausible' },
    }),
  ),
  { title: 'failed, surely unbilled', drawing: failing('no'), status: 504, booked: [0, 0] },
  { title: 'failed, perhaps billed', drawing: failing('unknown'), status: 504, booked: [SHARE, 3] },
];

async function runRow(t: Parameters<typeof createTestApp>[0], row: Row, model: object) {
  const app = await createTestApp(t, {
    caller: { budgets: [monthly(usd(100)), monthly(imageCount(100))] },
    placeholder: { models: [testModel(model)], ...row.drawing },
    ...row.options,
  });
  const answer = await app.native(BODY);
  assert.equal(answer.status, row.status, answer.text);
  const [microUsd, images] = row.booked;
  assert.deepEqual(await app.balances(), {
    'monthly-usd-tenant': { spent: microUsd, held: 0 },
    'monthly-images-tenant': { spent: images, held: 0 },
  });
  const odd = app.events.filter(({ type }) => type.startsWith('price.') || type.startsWith('usage.'));
  assert.deepEqual(
    odd.map(({ type }) => type),
    row.event === undefined ? [] : [row.event],
  );
  if (row.status === 200) assert.equal(answer.body.data.usage.cost, (microUsd / 1e6).toFixed(6));
  assert.equal(app.eventsOf('upstream.call').at(-1)?.costMicroUsd, microUsd);
}

for (const row of PER_PICTURE) {
  const [microUsd, images] = row.booked;
  test(`priced by picture, ${row.title}: ${microUsd} micro-dollars and ${images} pictures are booked`, (t) =>
    runRow(t, row, {}));
}

for (const row of TOKENS) {
  const [microUsd, images] = row.booked;
  test(`priced by token, ${row.title}: ${microUsd} micro-dollars and ${images} pictures are booked`, (t) =>
    runRow(t, row, { price: BY_TOKEN }));
}

/** Fails after the first picture. */
function breakingOff(billed: Billed, model: object) {
  return altered(
    async function* (events) {
      for await (const event of events) {
        if (event.type === 'image' && event.index > 0)
          throw new ProviderError('timeout', 'Slow.', { billed });
        yield event;
      }
    },
    { models: [testModel(model)] },
  );
}

for (const [title, model, billed, options, booked] of [
  ['priced by picture, surely unbilled', {}, 'no', {}, [40_000, 1]],
  ['priced by picture, perhaps billed', {}, 'unknown', {}, [120_000, 3]],
  ['priced by picture, waived', {}, 'unknown', { spend: { unknownCost: 'waive' } }, [40_000, 1]],
  ['priced by picture, billed and not waived', {}, 'yes', { spend: { unknownCost: 'waive' } }, [120_000, 3]],
  ['priced by token, surely unbilled', { price: BY_TOKEN }, 'no', {}, [200_060, 1]],
] as const) {
  test(`a call that failed after one of three pictures, ${title}: ${booked[0]} are booked`, async (t) => {
    const app = await createTestApp(t, {
      ...{ providers: [breakingOff(billed, model)], ...options },
      caller: { budgets: [monthly(usd(100)), monthly(imageCount(100))] },
    });
    const answer = await app.native(BODY);
    assert.equal(answer.body.data.data.length, 1, answer.text);
    assert.deepEqual(await app.balances(), {
      'monthly-usd-tenant': { spent: booked[0], held: 0 },
      'monthly-images-tenant': { spent: booked[1], held: 0 },
    });
  });
}

test('calls of one request are settled each by its own row', async (t) => {
  const app = await createTestApp(t, {
    placeholder: {
      models: [testModel({ maxImages: 1 })],
      fail: ({ seed }) => {
        if (seed === 0) return new ProviderError('unavailable', 'Down.', { billed: 'no' });
        return seed === 1 ? new ProviderError('timeout', 'Slow.', { billed: 'unknown' }) : undefined;
      },
    },
  });
  const answer = await app.native({ ...BODY, seed: 0 });
  assert.equal(answer.body.data.data.length, 1, answer.text);
  assert.equal(answer.body.data.usage.cost, '0.080000');
  assert.deepEqual((await app.balances())['monthly-usd-tenant'], { spent: 80_000, held: 0 });
});

test('calls that never began when time was up cost nothing', async (t) => {
  const app = await createTestApp(t, {
    limits: { requestMs: 150, callsAtOnce: 1 },
    placeholder: { models: [testModel({ maxImages: 1 })], delayMs: 60_000 },
    caller: { budgets: [monthly(usd(100)), monthly(imageCount(100))] },
  });
  const answer = await app.native(BODY);
  assert.equal(answer.body.error.code, 'BACKEND_TIMEOUT');
  assert.equal(app.calls.length, 1);
  assert.deepEqual(await app.balances(), {
    'monthly-usd-tenant': { spent: 40_000, held: 0 },
    'monthly-images-tenant': { spent: 1, held: 0 },
  });
});

test('a failure to store changes nothing: the picture was drawn and is paid', async (t) => {
  const { memoryStorage } = await import('../../src/storage/memory.js');
  let puts = 0;
  const storage = memoryStorage();
  const app = await createTestApp(t, {
    storage: {
      ...storage,
      put: (key, body, options) => {
        puts += 1;
        return puts <= 3 ? Promise.reject(new Error('full')) : storage.put(key, body, options);
      },
    },
  });
  const answer = await app.native(BODY);
  assert.equal(answer.status, 200, answer.text);
  assert.equal(answer.body.data.data.length, 2);
  assert.equal(answer.body.data.errors[0].code, 'STORAGE_ERROR');
  assert.deepEqual(answer.body.data.usage, { images: 2, cost: '0.120000', currency: 'USD' });
});

test('a call whose turn comes when the time of its request is nearly up is not sent, and costs nothing', async (t) => {
  t.after(() => mock.timers.reset());
  const app = await createTestApp(t, {
    limits: { requestMs: 60_000, callsAtOnce: 1 },
    placeholder: {
      models: [testModel({ maxImages: 1 })],
      onCall: () => mock.timers.tick(59_500),
    },
  });
  mock.timers.enable({ apis: ['Date'], now: Date.now() });
  const { status, body } = await app.native({ ...BODY, n: 2 });
  assert.equal(status, 200, JSON.stringify(body));
  assert.deepEqual(
    body.data.errors.map(({ index, code }: { index: number; code: string }) => [index, code]),
    [[1, 'BACKEND_TIMEOUT']],
  );
  assert.equal(app.calls.length, 1);
  assert.deepEqual((await app.balances())['monthly-usd-tenant'], { spent: 40_000, held: 0 });
});

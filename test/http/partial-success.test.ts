import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { GenerateEvent } from '../../src/core/provider.js';
import { imageCount, monthly, usd } from '../../src/core/windows.js';
import { ProviderError } from '../../src/errors.js';
import { createTestApp, testModel } from '../support/app.js';
import { only, startFor } from '../support/google-tests.js';
import { prediction } from '../support/google-upstream.js';
import { type Alter, altered } from '../support/hostile-providers.js';
import { picture } from '../support/pictures.js';

const BODY = { model: 'placeholder/sketch', prompt: 'A lighthouse' };
const BUDGETS = { budgets: [monthly(usd(100)), monthly(imageCount(100))] } as const;

interface Entry {
  readonly index: number;
  readonly code?: string;
  readonly reason?: string;
}

const indexes = (entries: readonly Entry[]) => entries.map(({ index }) => index);

test('pictures the vendor withheld are named in errors, and neither charged nor counted', async (t) => {
  const app = await createTestApp(t, {
    caller: BUDGETS,
    placeholder: {
      blocked: (_, index) => (index % 2 === 1 ? { reason: 'violence', stage: 'output' } : undefined),
    },
  });
  const answer = await app.native({ ...BODY, n: 4 });
  assert.equal(answer.status, 200, answer.text);
  const { data, errors, usage } = answer.body.data;
  assert.deepEqual(indexes(data), [0, 2]);
  const message = 'The provider’s safety system withheld this picture (violence).'.replace('’', "'");
  assert.deepEqual(errors, [
    { index: 1, code: 'BACKEND_ERROR', reason: 'content_filtered', message },
    { index: 3, code: 'BACKEND_ERROR', reason: 'content_filtered', message },
  ]);
  assert.deepEqual(usage, { images: 2, cost: '0.080000', currency: 'USD' });
  assert.deepEqual(await app.balances(), {
    'monthly-usd-tenant': { spent: 80_000, held: 0 },
    'monthly-images-tenant': { spent: 2, held: 0 },
  });
});

/** A picture whose bytes nobody can get at. */
const UNREADABLE = {
  type: 'image/png',
  get bytes(): Uint8Array {
    throw new TypeError('no bytes');
  },
};

test('a fault of ours in one picture is told to the host, once, whether or not others arrive', async (t) => {
  const app = await createTestApp(t, {
    placeholder: { tamper: (image, _, index) => (index === 1 ? UNREADABLE : image) },
  });
  const answer = await app.native({ ...BODY, n: 3 }).expect(200);
  assert.deepEqual(
    answer.body.data.errors.map(({ index, code }: Entry) => [index, code]),
    [[1, 'INTERNAL_ERROR']],
  );
  const [fault, ...more] = app.eventsOf('internal.error');
  assert.ok(fault?.cause instanceof TypeError, String(fault?.cause));
  assert.equal(fault.requestId, answer.body.meta.request_id);
  assert.deepEqual(more, []);

  const none = await createTestApp(t, { placeholder: { tamper: () => UNREADABLE } });
  await none.native(BODY).expect(500);
  assert.equal(none.eventsOf('internal.error').length, 1);
});

test('calls that failed are named in errors; the others are delivered and charged', async (t) => {
  const failure = new ProviderError('rejected', 'The vendor refused this one.', { billed: 'no' });
  const app = await createTestApp(t, {
    placeholder: {
      models: [testModel({ maxImages: 1 })],
      fail: ({ seed }) => (seed === 2 ? failure : undefined),
    },
  });
  const answer = await app.native({ ...BODY, n: 4, seed: 0 });
  assert.equal(answer.status, 200, answer.text);
  assert.deepEqual(indexes(answer.body.data.data), [0, 1, 3]);
  assert.deepEqual(answer.body.data.errors, [
    { index: 2, code: 'BACKEND_ERROR', reason: 'rejected', message: 'The vendor refused this one.' },
  ]);
  assert.equal(answer.body.data.usage.cost, '0.120000');
});

test('a picture that is none is named in errors and charged, because it was drawn', async (t) => {
  const app = await createTestApp(t, {
    placeholder: {
      tamper: (image, _, index) => (index === 1 ? { ...image, bytes: image.bytes.subarray(0, 99) } : image),
    },
  });
  const answer = await app.native({ ...BODY, n: 3 });
  assert.equal(answer.status, 200, answer.text);
  assert.deepEqual(indexes(answer.body.data.data), [0, 2]);
  assert.deepEqual(
    answer.body.data.errors.map(({ index, code }: Entry) => ({ index, code })),
    [{ index: 1, code: 'UPSTREAM_SHAPE_MISMATCH' }],
  );
  assert.deepEqual(answer.body.data.usage, { images: 2, cost: '0.120000', currency: 'USD' });
});

test('when no picture arrives the answer is the error of the first one, never an empty success', async (t) => {
  const app = await createTestApp(t, {
    placeholder: {
      models: [testModel({ maxImages: 1 })],
      // The first picture fails last.
      delayMs: ({ seed }) => (seed === 0 ? 60 : 0),
      fail: ({ seed }) =>
        new ProviderError(seed === 0 ? 'content_filtered' : 'rejected', `number ${seed}`, { billed: 'no' }),
    },
  });
  const answer = await app.native({ ...BODY, n: 3, seed: 0 });
  assert.equal(answer.status, 400, answer.text);
  assert.equal(answer.body.error.reason, 'content_filtered');
  assert.equal(answer.body.error.message, 'number 0');
});

test('when every picture is withheld the answer is a refusal, and nothing is charged', async (t) => {
  const app = await createTestApp(t);
  const answer = await app.native({ ...BODY, n: 2, prompt: '[blocked]' });
  assert.equal(answer.status, 400, answer.text);
  assert.equal(answer.body.error.code, 'BACKEND_ERROR');
  assert.equal(answer.body.error.reason, 'content_filtered');
  assert.equal(answer.get('x-should-retry'), 'false');
  assert.deepEqual((await app.balances())['monthly-usd-tenant'], { spent: 0, held: 0 });
});

function collect(change: (events: GenerateEvent[]) => readonly GenerateEvent[]): Alter {
  return async function* (events) {
    const all: GenerateEvent[] = [];
    for await (const event of events) all.push(event);
    yield* change(all);
  };
}

const isImage = (event: GenerateEvent) => event.type === 'image';

test('fewer pictures than asked: those that came are delivered and charged, the rest are named', async (t) => {
  const provider = altered(
    collect((events) => events.filter((event) => !isImage(event) || event.index !== 0)),
  );
  const app = await createTestApp(t, { caller: BUDGETS, providers: [provider] });
  const answer = await app.native({ ...BODY, n: 3 });
  assert.equal(answer.status, 200, answer.text);
  assert.deepEqual(indexes(answer.body.data.data), [1, 2]);
  assert.deepEqual(
    answer.body.data.errors.map(({ index, code }: Entry) => ({ index, code })),
    [{ index: 0, code: 'UPSTREAM_SHAPE_MISMATCH' }],
  );
  assert.deepEqual(await app.balances(), {
    'monthly-usd-tenant': { spent: 80_000, held: 0 },
    'monthly-images-tenant': { spent: 2, held: 0 },
  });
});

test('no picture at all, and a calm end: an error, and nothing is charged', async (t) => {
  const provider = altered(collect((events) => events.filter((event) => !isImage(event))));
  const app = await createTestApp(t, { providers: [provider] });
  const answer = await app.native(BODY);
  assert.equal(answer.status, 502, answer.text);
  assert.equal(answer.body.error.code, 'UPSTREAM_SHAPE_MISMATCH');
  assert.deepEqual((await app.balances())['monthly-usd-tenant'], { spent: 0, held: 0 });
});

test('an answer that breaks off without its end is charged in full and delivers what came', async (t) => {
  const provider = altered(collect((events) => events.filter(isImage).slice(0, 1)));
  const app = await createTestApp(t, { caller: BUDGETS, providers: [provider] });
  const answer = await app.native({ ...BODY, n: 3 });
  assert.equal(answer.status, 200, answer.text);
  assert.deepEqual(indexes(answer.body.data.data), [0]);
  assert.deepEqual(indexes(answer.body.data.errors), [1, 2]);
  assert.deepEqual(await app.balances(), {
    'monthly-usd-tenant': { spent: 120_000, held: 0 },
    'monthly-images-tenant': { spent: 3, held: 0 },
  });
});

test('an answer of Google that ends within its third picture of four delivers two, and is charged in full', async (t) => {
  const google = await startFor(t, 'rest');
  const drawn = prediction((await picture('png', { width: 1024, height: 1024 })).toString('base64'));
  const text = JSON.stringify({ predictions: [drawn, drawn, drawn, drawn] });
  const cut = text.slice(0, text.length * 0.6);
  google.upstream.respondWith(only({ json: { httpStatus: 200, text: cut } }));
  const app = await createTestApp(t, { caller: BUDGETS, providers: [google.provider] });
  const answer = await app.native({ model: 'google/imagen-4', prompt: 'A lighthouse', n: 4 });
  assert.equal(answer.status, 200, answer.text);
  assert.deepEqual(indexes(answer.body.data.data), [0, 1]);
  assert.deepEqual(indexes(answer.body.data.errors), [2, 3]);
  assert.deepEqual(answer.body.data.usage, { images: 2, cost: '0.160000', currency: 'USD' });
  assert.deepEqual(await app.balances(), {
    'monthly-usd-tenant': { spent: 160_000, held: 0 },
    'monthly-images-tenant': { spent: 4, held: 0 },
  });
});

for (const [title, extra] of [
  ['beyond what was asked', 2],
  ['twice the same', 0],
  ['with a negative index', -1],
  ['with half an index', 0.5],
  ['with an index that is no number', Number.NaN],
  ['with an index beyond counting', Number.POSITIVE_INFINITY],
] as const) {
  test(`surplus pictures are dropped, not delivered and not charged: ${title}`, async (t) => {
    const provider = altered(
      collect((events) => {
        const [first] = events.filter(isImage);
        return first === undefined ? events : [first, { ...first, index: extra }, ...events.slice(1)];
      }),
    );
    const app = await createTestApp(t, { providers: [provider] });
    const answer = await app.native({ ...BODY, n: 2 });
    assert.equal(answer.status, 200, answer.text);
    assert.deepEqual(indexes(answer.body.data.data), [0, 1]);
    assert.equal((await app.balances())['monthly-usd-tenant']?.spent, 80_000);
  });
}

test('nothing after the end of a call counts', async (t) => {
  const provider = altered(
    collect((events) => [...events.filter((event) => !isImage(event)), ...events.filter(isImage)]),
  );
  const app = await createTestApp(t, { providers: [provider] });
  assert.equal((await app.native(BODY)).status, 502);
});

test('pictures a call sent before it failed are delivered', async (t) => {
  const provider = altered(async function* (events) {
    for await (const event of events) {
      if (event.type === 'image' && event.index === 1) {
        throw new ProviderError('unavailable', 'The vendor broke down.', { billed: 'no' });
      }
      yield event;
    }
  });
  const app = await createTestApp(t, { providers: [provider] });
  const answer = await app.native({ ...BODY, n: 3 });
  assert.equal(answer.status, 200, answer.text);
  assert.deepEqual(indexes(answer.body.data.data), [0]);
  assert.deepEqual(
    answer.body.data.errors.map(({ index, message }: Entry & { message: string }) => [index, message]),
    [
      [1, 'The vendor broke down.'],
      [2, 'The vendor broke down.'],
    ],
  );
  assert.equal((await app.balances())['monthly-usd-tenant']?.spent, 40_000);
});

for (const [title, event] of [
  ['null', null],
  ['a string', 'image'],
  ['an event without bytes', { type: 'image', index: 0, image: { type: 'image/png' } }],
  ['an event without a picture', { type: 'image', index: 0 }],
  ['an event nobody knows', { type: 'progress', index: 0 }],
] as const) {
  test(`a provider that yields ${title} gets an error of its own, and the answer is clean`, async (t) => {
    const provider = altered(() =>
      (async function* () {
        yield event as never;
      })(),
    );
    const app = await createTestApp(t, { providers: [provider] });
    const answer = await app.native(BODY);
    assert.ok(answer.status >= 500, answer.text);
    assert.equal(answer.get('x-should-retry'), 'false');
    const { spent, held } = (await app.balances())['monthly-usd-tenant'] ?? {};
    assert.deepEqual([spent, held], [40_000, 0], 'nobody knows what it cost');
  });
}

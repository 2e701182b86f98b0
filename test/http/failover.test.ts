/** Several providers of one model: who is asked, who is asked next, what it costs, and how the model is then. */
import assert from 'node:assert/strict';
import { mock, type TestContext, test } from 'node:test';
import type { MicroUsd } from '../../src/core/image.js';
import type { GenerateCall, Provider, TokenPrice } from '../../src/core/provider.js';
import { monthly, usd } from '../../src/core/windows.js';
import { type Billed, ProviderError, type ProviderErrorKind } from '../../src/errors.js';
import { openai } from '../../src/providers/openai.js';
import {
  type PlaceholderModel,
  type PlaceholderOptions,
  placeholder,
} from '../../src/providers/placeholder.js';
import { createTestApp, TEST_KEY, type TestApp, type TestAppOptions, testModel } from '../support/app.js';
import { answers, createOpenAIUpstream } from '../support/openai-upstream.js';
import { picture } from '../support/pictures.js';

const SLUG = 'placeholder/sketch';
const BODY = { model: SLUG, prompt: 'A lighthouse' };

/** A provider of the one model, and the calls that reached it. */
interface Vendor {
  readonly provider: Provider;
  readonly calls: GenerateCall[];
}

function vendor(name: string, options: PlaceholderOptions = {}, model: PlaceholderModel = {}): Vendor {
  const calls: GenerateCall[] = [];
  const onCall = (call: GenerateCall) => void calls.push(call);
  return { provider: placeholder({ name, models: [testModel(model)], onCall, ...options }), calls };
}

function failure(kind: ProviderErrorKind, billed: Billed = 'no', message = 'No.'): ProviderError {
  return new ProviderError(kind, message, { billed });
}

/** A vendor whose every call fails. */
function failing(name: string, error: Error, model: PlaceholderModel = {}): Vendor {
  return vendor(name, { fail: () => error }, model);
}

function appOf(t: TestContext, vendors: readonly Vendor[], options: TestAppOptions = {}): Promise<TestApp> {
  return createTestApp(t, { providers: vendors.map(({ provider }) => provider), ...options });
}

const counts = (...vendors: readonly Vendor[]) => vendors.map(({ calls }) => calls.length);
const spent = async (app: TestApp) => (await app.balances())['monthly-usd-tenant'];

async function modelOf(app: TestApp) {
  const { data } = (await app.get(`/v1/models/${SLUG}`)).body;
  return [data.health_status, data.active_backend_count, data.total_backend_count];
}

test('the first provider of a model draws, and the others are left alone', async (t) => {
  const [a, b] = [vendor('a'), vendor('b')];
  const app = await appOf(t, [a, b]);
  assert.equal((await app.native(BODY)).status, 200);
  assert.deepEqual(counts(a, b), [1, 0]);
});

test('a backend without a price for what is asked is passed over', async (t) => {
  const a = vendor('a', {}, { price: { '64x64': { '*': usd(0.01) } } });
  const b = vendor('b', {}, { price: usd(0.05) });
  const app = await appOf(t, [a, b]);
  assert.equal((await app.native({ ...BODY, size: '96x48' })).body.data.usage.cost, '0.050000');
  assert.equal((await app.native({ ...BODY, size: '64x64' })).body.data.usage.cost, '0.010000');
  assert.deepEqual(counts(a, b), [1, 1]);
});

test('what no backend has a price for is refused, and nobody draws', async (t) => {
  const price = { '64x64': { '*': usd(0.01) } };
  const [a, b] = [vendor('a', {}, { price }), vendor('b', {}, { price })];
  const app = await appOf(t, [a, b]);
  const { body } = await app.native({ ...BODY, size: '96x48' }).expect(422);
  assert.equal(body.error.details[0].field, 'size');
  assert.deepEqual(counts(a, b), [0, 0]);
});

test('backends reorders providers', async (t) => {
  const [a, b, c] = [vendor('a'), vendor('b'), vendor('c')];
  const backends = [{ provider: 'c' }, { provider: 'a' }, { provider: 'b' }];
  const app = await appOf(t, [a, b, c], { models: { [SLUG]: { backends } } });
  assert.equal((await app.native(BODY)).status, 200);
  assert.deepEqual(counts(a, b, c), [0, 0, 1]);
});

test('priorities decide before the order of the list does', async (t) => {
  const [a, b] = [vendor('a'), failing('b', failure('unavailable'))];
  const backends = [
    { provider: 'a', priority: 7 },
    { provider: 'b', priority: -1 },
  ];
  const app = await appOf(t, [a, b], { models: { [SLUG]: { backends } } });
  assert.equal((await app.native(BODY)).status, 200);
  assert.deepEqual(counts(a, b), [1, 1]);
});

test('providers that backends does not name come last, whatever priority it gives', async (t) => {
  const [a, b, c] = [vendor('a'), vendor('b'), vendor('c')];
  const backends = [{ provider: 'b', priority: 100 }];
  const app = await appOf(t, [a, b, c], { models: { [SLUG]: { backends } } });
  assert.equal((await app.native(BODY)).status, 200);
  assert.deepEqual(counts(a, b, c), [0, 1, 0]);
});

test('a priority that is no number is a wrong option', async (t) => {
  const backends = [{ provider: 'a', priority: Number.NaN }];
  await assert.rejects(appOf(t, [vendor('a')], { models: { [SLUG]: { backends } } }), {
    path: `models['${SLUG}'].backends[0].priority`,
  });
});

test('equals share the requests', async (t) => {
  const [a, b] = [vendor('a'), vendor('b')];
  const backends = [
    { provider: 'a', priority: 0 },
    { provider: 'b', priority: 0, weight: 1 },
  ];
  const app = await appOf(t, [a, b], { models: { [SLUG]: { backends } } });
  for (let request = 0; request < 40; request += 1) assert.equal((await app.native(BODY)).status, 200);
  assert.equal(a.calls.length + b.calls.length, 40);
  assert.ok(a.calls.length > 0 && b.calls.length > 0, `${counts(a, b)}`);
});

const MOVABLE: ReadonlySet<ProviderErrorKind> = new Set([
  'unavailable',
  'timeout',
  'account',
  'rate_limited',
]);
const KINDS = [...MOVABLE, 'content_filtered', 'rejected', 'shape'] as const;
for (const kind of KINDS) {
  for (const billed of ['no', 'yes', 'unknown'] as const satisfies readonly Billed[]) {
    const moves = MOVABLE.has(kind) && billed === 'no';
    test(`${kind}, billed ${billed}: the next provider is ${moves ? '' : 'not '}asked`, async (t) => {
      const [a, b] = [failing('a', failure(kind, billed)), vendor('b')];
      const app = await appOf(t, [a, b]);
      const answer = await app.native(BODY);
      assert.deepEqual(counts(a, b), [1, moves ? 1 : 0]);
      assert.equal(answer.status === 200, moves, answer.text);
      // One picture at four cents: drawn by b, or possibly billed by a.
      assert.deepEqual(await spent(app), { spent: moves || billed !== 'no' ? 40_000 : 0, held: 0 });
    });
  }
}

test('an error nobody classified is not taken elsewhere: it may have been billed', async (t) => {
  const [a, b] = [failing('a', new TypeError('fetch failed')), vendor('b')];
  const app = await appOf(t, [a, b]);
  const answer = await app.native(BODY);
  assert.equal(answer.status, 502);
  assert.equal(answer.get('x-should-retry'), 'false');
  assert.ok(!answer.text.includes('fetch failed'), 'its words stay inside');
  assert.deepEqual(counts(a, b), [1, 0]);
});

test('the next provider gets the very same call, but for its model', async (t) => {
  const [a, b] = [failing('a', failure('unavailable')), vendor('b')];
  const app = await appOf(t, [a, b]);
  const body = { ...BODY, n: 2, seed: 5, style: 'vivid', metadata: { team: 'red' }, user: 'u' };
  assert.equal((await app.native(body)).status, 200);
  const comparable = ({ calls: [call] }: Vendor) => ({ ...call, model: undefined, fetch: undefined });
  assert.deepEqual(comparable(b), comparable(a));
});

test('when every provider fails, what the first said is told', async (t) => {
  const first = new ProviderError('rate_limited', 'Slow down.', { billed: 'no', retryAfter: 7 });
  const vendors = [
    failing('a', first),
    failing('b', failure('unavailable')),
    failing('c', failure('account')),
  ];
  const app = await appOf(t, vendors);
  const answer = await app.native(BODY);
  assert.equal(answer.status, 429);
  assert.equal(answer.body.error.code, 'BACKEND_RATE_LIMITED');
  assert.equal(answer.body.error.message, 'Slow down.');
  assert.equal(answer.body.error.retry_after, 7);
  assert.deepEqual(counts(...vendors), [1, 1, 1]);
  assert.deepEqual(await spent(app), { spent: 0, held: 0 });
});

test('a provider that refuses after another failed has the last word', async (t) => {
  const refusal = failure('content_filtered', 'no', 'Not this.');
  const vendors = [failing('a', failure('unavailable')), failing('b', refusal), vendor('c')];
  const app = await appOf(t, vendors);
  const answer = await app.native(BODY);
  assert.equal(answer.status, 400);
  assert.equal(answer.body.error.message, 'Not this.');
  assert.deepEqual(counts(...vendors), [1, 1, 0]);
});

test('every attempt is an event with its provider, its error and its cost', async (t) => {
  const vendors = [failing('a', failure('account')), vendor('b')];
  const app = await appOf(t, vendors);
  const answer = await app.native({ ...BODY, n: 2 });
  const events = app.eventsOf('upstream.call');
  assert.deepEqual(
    events.map(({ provider, asked, images, costMicroUsd, level }) => {
      return { provider, asked, images, costMicroUsd, level };
    }),
    [
      { provider: 'a', asked: 2, images: 0, costMicroUsd: 0, level: 'warn' },
      { provider: 'b', asked: 2, images: 2, costMicroUsd: 80_000, level: 'info' },
    ],
  );
  assert.ok(events[0]?.error instanceof ProviderError, 'the first says what it failed with');
  assert.equal(events[1]?.error, undefined);
  assert.equal(events[1]?.upstreamId, 'sketch-1');
  for (const event of events) assert.equal(event.requestId, answer.body.meta.request_id);
});

test('once a picture came, the rest of the call is not drawn elsewhere', async (t) => {
  const drawing = vendor('a');
  const half: Provider = {
    ...drawing.provider,
    async *generate(call) {
      for await (const event of drawing.provider.generate(call)) {
        yield event;
        if (event.type === 'image') throw failure('unavailable');
      }
    },
  };
  const b = vendor('b');
  const app = await appOf(t, [{ ...drawing, provider: half }, b]);
  const answer = await app.native({ ...BODY, n: 2 });
  assert.equal(answer.status, 200, answer.text);
  assert.equal(answer.body.data.data.length, 1);
  assert.equal(answer.body.data.errors.length, 1);
  assert.deepEqual(counts(b), [0]);
  assert.deepEqual(await spent(app), { spent: 40_000, held: 0 });
});

test('each call of a request finds its own backend', async (t) => {
  const a = vendor(
    'a',
    { fail: ({ seed }) => (seed === 1 ? failure('unavailable') : undefined) },
    { maxImages: 1 },
  );
  const b = vendor('b', {}, { maxImages: 1 });
  const app = await appOf(t, [a, b]);
  const answer = await app.native({ ...BODY, n: 3, seed: 0 });
  assert.equal(answer.body.data.data.length, 3);
  assert.deepEqual(counts(a, b), [3, 1]);
  assert.equal(b.calls[0]?.seed, 1);
});

test('a lone backend gets a second chance when it could not be reached', async (t) => {
  const a = vendor('a', { fail: (_, count) => (count === 1 ? failure('unavailable') : undefined) });
  const app = await appOf(t, [a]);
  assert.equal((await app.native(BODY)).status, 200);
  assert.deepEqual(counts(a), [2]);
  assert.equal(app.eventsOf('upstream.call').length, 2);
  assert.deepEqual(await spent(app), { spent: 40_000, held: 0 });
});

for (const kind of ['account', 'rate_limited', 'timeout'] as const) {
  test(`a lone backend gets no second chance after ${kind}`, async (t) => {
    const a = failing('a', failure(kind));
    const app = await appOf(t, [a]);
    assert.notEqual((await app.native(BODY)).status, 200);
    assert.deepEqual(counts(a), [1]);
  });
}

test('a vendor that answers 503 has not drawn: the next one does, and only it is paid', async (t) => {
  const upstreams = [await createOpenAIUpstream(), await createOpenAIUpstream()] as const;
  t.after(() => Promise.all(upstreams.map((upstream) => upstream.close())));
  const [down, well] = upstreams;
  down.respondWith(answers.raw(503, ''));
  const models = { 'openai/gpt-image-2': { price: usd(0.04) } };
  const providers = [
    openai({ name: 'down', apiKey: 'sk-test', baseURL: down.url }),
    openai({ name: 'well', apiKey: 'sk-test', baseURL: well.url }),
  ];
  const app = await createTestApp(t, { providers, models });
  const answer = await app.native({ model: 'openai/gpt-image-2', prompt: 'A lighthouse' });
  assert.equal(answer.status, 200, answer.text);
  assert.deepEqual([down.requests.length, well.requests.length], [1, 1]);
  assert.deepEqual(await spent(app), { spent: 40_000, held: 0 });
});

test('one deadline holds for all attempts together', async (t) => {
  const slow = vendor('a', { delayMs: 200, fail: () => failure('unavailable') });
  const slower = vendor('b', { delayMs: 60_000 });
  const app = await appOf(t, [slow, slower], { limits: { requestMs: 400 } });
  const began = performance.now();
  const answer = await app.native(BODY);
  assert.equal(answer.status, 504);
  assert.ok(performance.now() - began < 4_000, 'b gets no time of its own');
  assert.deepEqual(counts(slow, slower), [1, 1]);
});

test('five failures break the circuit: nobody is asked, and the wait is told', async (t) => {
  mock.timers.enable({ apis: ['Date'], now: Date.now() });
  t.after(() => mock.timers.reset());
  let well = false;
  const a = vendor('a', { fail: () => (well ? undefined : failure('account')) });
  const app = await appOf(t, [a]);
  assert.deepEqual(await modelOf(app), ['healthy', 1, 1]);
  for (let count = 0; count < 5; count += 1) assert.equal((await app.native(BODY)).status, 502);
  assert.deepEqual(await modelOf(app), ['unhealthy', 0, 1]);

  mock.timers.setTime(Date.now() + 2_500);
  const refused = await app.native(BODY);
  assert.equal(refused.status, 503);
  assert.equal(refused.body.error.code, 'MODEL_UNAVAILABLE');
  assert.equal(refused.body.error.retry_after, 8);
  assert.equal(refused.get('retry-after'), '8');
  assert.equal(refused.get('x-should-retry'), undefined);
  assert.deepEqual(counts(a), [5]);
  assert.deepEqual(await spent(app), { spent: 0, held: 0 });

  well = true;
  mock.timers.setTime(Date.now() + 7_500);
  assert.deepEqual(await modelOf(app), ['unhealthy', 1, 1]);
  assert.equal((await app.native(BODY)).status, 200);
  assert.deepEqual(await modelOf(app), ['healthy', 1, 1]);
});

test('a stream meets a broken circuit with an HTTP status', async (t) => {
  const app = await appOf(t, [failing('a', failure('account'))]);
  for (let count = 0; count < 5; count += 1) await app.openai(BODY);
  const answer = await app.openai({ ...BODY, stream: true });
  assert.equal(answer.status, 503);
  assert.equal(answer.body.error.code, 'model_unavailable');
});

test('a broken backend is passed over, and the model is degraded', async (t) => {
  const [a, b] = [failing('a', failure('account')), vendor('b')];
  const app = await appOf(t, [a, b]);
  for (let count = 0; count < 7; count += 1) assert.equal((await app.native(BODY)).status, 200);
  assert.deepEqual(counts(a, b), [5, 7]);
  assert.deepEqual(await modelOf(app), ['degraded', 1, 2]);
});

test('a backend that hangs until the deadline is broken too', async (t) => {
  const a = vendor('a', { delayMs: 60_000 });
  const app = await appOf(t, [a], { limits: { requestMs: 40 } });
  for (let count = 0; count < 5; count += 1) assert.equal((await app.native(BODY)).status, 504);
  assert.equal((await app.native(BODY)).status, 503);
  assert.deepEqual(counts(a), [5]);
});

test('refusals break no circuit, however many there are', async (t) => {
  const app = await appOf(t, [vendor('a')]);
  for (let count = 0; count < 6; count += 1) {
    assert.equal((await app.native({ ...BODY, prompt: '[fail:content_filtered]' })).status, 400);
  }
  assert.equal((await app.native(BODY)).status, 200);
  assert.deepEqual(await modelOf(app), ['healthy', 1, 1]);
});

test('the dearest backend is held for, and the one that draws is booked', async (t) => {
  const [cheap, dear] = [vendor('a', {}, { price: usd(0.02) }), vendor('b', {}, { price: usd(0.1) })];
  const poor = await appOf(t, [cheap, dear], { caller: { budgets: [monthly(usd(0.09))] } });
  const refused = await poor.native(BODY);
  assert.equal(refused.status, 402, 'b may come to draw');
  assert.match(refused.body.error.message, /\$0\.100000/);
  assert.deepEqual(counts(cheap, dear), [0, 0]);

  const app = await appOf(t, [cheap, dear], { caller: { budgets: [monthly(usd(0.1))] } });
  const answer = await app.native(BODY);
  assert.equal(answer.body.data.usage.cost, '0.020000');
  assert.deepEqual(await spent(app), { spent: 20_000, held: 0 });
});

test('the price of the backend that stepped in is booked', async (t) => {
  const cheap = failing('a', failure('unavailable'), { price: usd(0.02) });
  const app = await appOf(t, [cheap, vendor('b', {}, { price: usd(0.1) })]);
  const answer = await app.native({ ...BODY, n: 2 });
  assert.equal(answer.body.data.usage.cost, '0.200000');
  assert.deepEqual(await spent(app), { spent: 200_000, held: 0 });
});

test('a call that may have been billed costs the ceiling of the backend it went to, not of the dearest', async (t) => {
  const cheap = failing('a', failure('timeout', 'unknown'), { price: usd(0.02) });
  const app = await appOf(t, [cheap, vendor('b', {}, { price: usd(0.1) })]);
  assert.equal((await app.native({ ...BODY, n: 2 })).status, 504);
  assert.deepEqual(await spent(app), { spent: 40_000, held: 0 });
});

test('usage is plausible or not by the prices of the backend that reported it', async (t) => {
  const priced = (ceiling: MicroUsd): TokenPrice => {
    return { tokens: { textIn: usd(1), imageIn: usd(1), imageOut: usd(10) }, ceiling };
  };
  // Ten dollars a million: 6,000 tokens are six cents, three times the ceiling of a, far below that of b.
  const usage = () => ({ textIn: 0, imageIn: 0, imageOut: 6_000 });
  const a = vendor('a', { usage }, { price: priced(usd(0.02)) });
  const app = await appOf(t, [a, vendor('b', {}, { price: priced(usd(1)) })]);
  assert.equal((await app.native(BODY)).body.data.usage.cost, '0.060000');
  const [event] = app.eventsOf('price.ceiling_exceeded');
  assert.equal(
    event?.ceilingMicroUsd,
    20_012,
    'two cents, and a dollar a million for each byte of the prompt',
  );
});

test('a request is split so that each backend could take every call', async (t) => {
  const [a, b] = [vendor('a', {}, { maxImages: 10 }), vendor('b', {}, { maxImages: 2 })];
  const app = await appOf(t, [a, b]);
  assert.equal((await app.native({ ...BODY, n: 5 })).body.data.data.length, 5);
  assert.deepEqual(a.calls.map(({ n }) => n).sort(), [1, 2, 2]);
});

const INCAPABLE: readonly (readonly [string, PlaceholderModel, object])[] = [
  ['size', { sizes: { kind: 'list', values: [{ width: 32, height: 32 }], default: 'auto' } }, {}],
  ['quality', { qualities: ['standard'] }, { quality: 'hd' }],
  ['style', { styles: [] }, { style: 'natural' }],
  ['background', { backgrounds: ['auto'] }, { background: 'transparent' }],
  ['seed', { features: ['negative_prompt'] }, { seed: 1 }],
  ['negative prompt', { features: ['seed'] }, { negative_prompt: 'fog' }],
  ['length of prompt', { maxPromptLength: 11 }, {}],
];
for (const [what, model, changes] of INCAPABLE) {
  test(`a backend that cannot do the ${what} is never asked`, async (t) => {
    const [a, b] = [failing('a', failure('account')), vendor('b', {}, model)];
    const app = await appOf(t, [a, b]);
    const answer = await app.native({ ...BODY, ...changes });
    assert.equal(answer.body.error?.code, 'BACKEND_ERROR', answer.text);
    assert.deepEqual(counts(a, b), [1, 0]);
  });
}

test('a backend that takes fewer pictures, no mask or no edits is never asked to edit', async (t) => {
  const [a, b, c, d] = [
    failing('a', failure('account')),
    vendor('b', {}, { operations: ['generate'] }),
    vendor('c', {}, { maxInputs: 1 }),
    vendor('d', {}, { features: [] }),
  ];
  const app = await appOf(t, [a, b, c, d]);
  const image = `data:image/png;base64,${(await picture('png')).toString('base64')}`;
  const answer = await app.http
    .post('/v1/inference/images/edit')
    .set('Authorization', `Bearer ${TEST_KEY}`)
    .send({ ...BODY, images: [image, image], mask: image });
  assert.equal(answer.body.error?.code, 'BACKEND_ERROR', answer.text);
  assert.deepEqual(counts(a, b, c, d), [1, 0, 0, 0]);
});

test('what a backend cannot draw does not count for the hold', async (t) => {
  const a = vendor('a', {}, { price: usd(0.02) });
  const b = vendor('b', {}, { price: usd(1), maxPromptLength: 1 });
  const app = await appOf(t, [a, b], { caller: { budgets: [monthly(usd(0.02))] } });
  assert.equal((await app.native(BODY)).status, 200);
});

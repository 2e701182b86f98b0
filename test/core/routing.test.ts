/** In which order backends are tried, when a circuit breaks, and how it recovers. Only the clock is not real. */
import assert from 'node:assert/strict';
import { mock, type TestContext, test } from 'node:test';
import type { Backend } from '../../src/core/backends.js';
import { CLIENT_LEFT } from '../../src/core/deadline.js';
import { createRouting, mayFailOver, NOTHING_LEARNED, type Routing } from '../../src/core/routing.js';
import {
  type Billed,
  ImagesError,
  ProviderError,
  type ProviderErrorKind,
  type ProviderErrorOptions,
} from '../../src/errors.js';
import { placeholder } from '../../src/providers/placeholder.js';

/** Whether another backend may be tried after an unbilled failure of each kind. */
const KINDS = {
  content_filtered: false,
  rejected: false,
  rate_limited: true,
  account: true,
  unavailable: true,
  timeout: true,
  shape: false,
} as const satisfies Record<ProviderErrorKind, boolean>;
const ALL_KINDS = Object.keys(KINDS) as readonly ProviderErrorKind[];

function backend(name: string, place: Partial<Pick<Backend, 'priority' | 'weight'>> = {}): Backend {
  const provider = placeholder({ name });
  const [model] = provider.models;
  assert.ok(model, 'the placeholder has a model');
  return { provider, model, price: 0, hostPriced: false, priority: 0, weight: 1, ...place };
}

function failure(kind: ProviderErrorKind = 'unavailable', options: Partial<ProviderErrorOptions> = {}) {
  return new ProviderError(kind, 'No.', { billed: 'no', ...options });
}

/** One turn at a backend, ended with an error or well; false when none was given. */
function take(routing: Routing, at: Backend, error?: unknown): boolean {
  const attempt = routing.begin(at);
  attempt?.end(error);
  return attempt !== undefined;
}

function fail(routing: Routing, at: Backend, times: number): void {
  for (let count = 0; count < times; count += 1) take(routing, at, failure());
}

/** The clock stands still, and moves when the function returned says so. */
function stopClock(t: TestContext): (milliseconds: number) => void {
  mock.timers.enable({ apis: ['Date'], now: 1_800_000_000_000 });
  t.after(() => mock.timers.reset());
  return (milliseconds) => mock.timers.setTime(Date.now() + milliseconds);
}

for (const kind of ALL_KINDS) {
  for (const billed of ['no', 'yes', 'unknown'] as const satisfies readonly Billed[]) {
    const moves = KINDS[kind] && billed === 'no';
    test(`a failure of kind ${kind}, billed ${billed}, ${moves ? 'moves on' : 'stays'}`, () => {
      assert.equal(mayFailOver(failure(kind, { billed })), moves);
    });
  }
}

test('what is no failure of a provider does not move on', () => {
  const timeout = new ImagesError('BACKEND_TIMEOUT', 'Too slow.', { billed: 'no' });
  for (const error of [new Error('no'), CLIENT_LEFT, timeout, undefined, null, 'unavailable']) {
    assert.equal(mayFailOver(error), false, String(error));
  }
});

test('backends go by priority, whatever order they come in', () => {
  const [a, b, c] = [2, 0, 1].map((priority) => backend(`p${priority}`, { priority }));
  assert.ok(a && b && c, 'there are three');
  assert.deepEqual(createRouting().order([a, b, c]), [b, c, a]);
  assert.deepEqual(createRouting().order([]), []);
});

test('equals are drawn by weight, and none is left out', () => {
  const routing = createRouting();
  const [heavy, light] = [backend('heavy', { weight: 3 }), backend('light', { weight: 1 })];
  const last = backend('last', { priority: 1, weight: 1000 });
  let first = 0;
  for (let draw = 0; draw < 4_000; draw += 1) {
    const order = routing.order([light, last, heavy]);
    assert.equal(order[2], last);
    assert.equal(new Set(order).size, 3);
    if (order[0] === heavy) first += 1;
  }
  // Three quarters, seven standard deviations wide.
  assert.ok(Math.abs(first / 4_000 - 0.75) < 0.05, `the heavy one came first ${first} times`);
});

test('five failures in a row break a circuit, four do not', () => {
  const routing = createRouting();
  const at = backend('a');
  fail(routing, at, 4);
  assert.equal(routing.isAvailable(at), true);
  fail(routing, at, 1);
  assert.equal(routing.isAvailable(at), false);
  assert.equal(take(routing, at), false);
});

test('a success in between starts the count again', () => {
  const routing = createRouting();
  const at = backend('a');
  fail(routing, at, 4);
  take(routing, at);
  fail(routing, at, 4);
  assert.equal(routing.isAvailable(at), true);
});

const TELLING: readonly (readonly [string, unknown, 'well' | 'unwell' | 'nothing'])[] = [
  ...ALL_KINDS.map((kind) => {
    const refusal = kind === 'content_filtered' || kind === 'rejected';
    return [`a failure of kind ${kind}`, failure(kind), refusal ? 'well' : 'unwell'] as const;
  }),
  ['the end of the time for providers', new ImagesError('BACKEND_TIMEOUT', 'Too slow.'), 'unwell'],
  ['an error nobody classified', new TypeError('fetch failed'), 'unwell'],
  ['a client that left', CLIENT_LEFT, 'nothing'],
  ['a call given up before it was sent', NOTHING_LEARNED, 'nothing'],
  ['success', undefined, 'well'],
];
for (const [what, error, verdict] of TELLING) {
  test(`${what} says ${verdict} of a backend`, () => {
    const routing = createRouting();
    const [fresh, ailing] = [backend('a'), backend('b')];
    for (let count = 0; count < 5; count += 1) take(routing, fresh, error);
    assert.equal(routing.isAvailable(fresh), verdict !== 'unwell');
    fail(routing, ailing, 4);
    take(routing, ailing, error);
    fail(routing, ailing, 1);
    assert.equal(routing.isAvailable(ailing), verdict === 'well');
  });
}

test('failures of turns that ran side by side count like those in a row', () => {
  const routing = createRouting();
  const at = backend('a');
  const attempts = Array.from({ length: 8 }, () => routing.begin(at));
  for (const attempt of attempts) attempt?.end(failure());
  assert.equal(routing.isAvailable(at), false);
});

test('a broken circuit stays broken for ten seconds, and says how long it still is', (t) => {
  const pass = stopClock(t);
  const routing = createRouting();
  const at = backend('a');
  fail(routing, at, 5);
  assert.equal(routing.retryAfter([at]), 10);
  pass(6_500);
  assert.equal(routing.retryAfter([at]), 4);
  assert.equal(routing.isAvailable(at), false);
  pass(3_499);
  assert.equal(routing.retryAfter([at]), 1);
  assert.equal(take(routing, at), false);
  pass(1);
  assert.equal(routing.isAvailable(at), true);
});

test('the wait is that for the first backend of several', (t) => {
  const pass = stopClock(t);
  const routing = createRouting();
  const [a, b] = [backend('a'), backend('b')];
  fail(routing, a, 5);
  pass(4_000);
  fail(routing, b, 5);
  assert.equal(routing.retryAfter([b, a]), 6);
});

test('after ten seconds one turn is a trial, and nobody else is let in until it ends', (t) => {
  const pass = stopClock(t);
  const routing = createRouting();
  const at = backend('a');
  fail(routing, at, 5);
  pass(10_000);
  const trial = routing.begin(at);
  assert.ok(trial, 'the first one is let in');
  assert.equal(routing.begin(at), undefined);
  assert.equal(routing.isAvailable(at), false);
  assert.equal(routing.retryAfter([at]), 5);
  pass(60_000);
  assert.equal(routing.retryAfter([at]), 5, 'however long it takes');
  trial.end(undefined);
  assert.equal(routing.isAvailable(at), true);
  assert.equal(routing.health([at]), 'healthy');
  fail(routing, at, 4);
  assert.equal(routing.isAvailable(at), true, 'the count began anew');
});

test('a trial that fails breaks the circuit for ten more seconds', (t) => {
  const pass = stopClock(t);
  const routing = createRouting();
  const at = backend('a');
  fail(routing, at, 5);
  pass(10_000);
  fail(routing, at, 1);
  assert.equal(routing.isAvailable(at), false);
  assert.equal(routing.retryAfter([at]), 10);
  pass(10_000);
  assert.equal(take(routing, at), true);
  assert.equal(routing.isAvailable(at), true);
});

test('a trial whose client left mends nothing: the next one decides', (t) => {
  const pass = stopClock(t);
  const routing = createRouting();
  const at = backend('a');
  fail(routing, at, 5);
  pass(10_000);
  take(routing, at, CLIENT_LEFT);
  assert.equal(routing.isAvailable(at), true, 'somebody has to try');
  assert.equal(routing.health([at]), 'unhealthy');
  const trial = routing.begin(at);
  assert.equal(routing.isAvailable(at), false, 'one at a time');
  trial?.end(failure());
  assert.equal(routing.isAvailable(at), false);
  assert.equal(routing.retryAfter([at]), 10);
  pass(10_000);
  take(routing, at, CLIENT_LEFT);
  take(routing, at);
  assert.equal(routing.health([at]), 'healthy');
});

test('a turn that began before the circuit broke does not mend it', () => {
  const routing = createRouting();
  const at = backend('a');
  const early = routing.begin(at);
  fail(routing, at, 5);
  early?.end(undefined);
  assert.equal(routing.isAvailable(at), false);
});

test('turns that began before the circuit broke do not keep it broken', (t) => {
  const pass = stopClock(t);
  const routing = createRouting();
  const at = backend('a');
  const early = [routing.begin(at), routing.begin(at), routing.begin(at)];
  fail(routing, at, 5);
  pass(9_000);
  early[0]?.end(failure());
  assert.equal(routing.retryAfter([at]), 1);
  pass(1_000);
  const trial = routing.begin(at);
  early[1]?.end(failure());
  assert.equal(routing.retryAfter([at]), 5, 'the trial decides');
  trial?.end(undefined);
  assert.equal(routing.health([at]), 'healthy');
  early[2]?.end(failure());
  assert.equal(routing.isAvailable(at), true);
});

test('health is that of all backends together', () => {
  const routing = createRouting();
  const [a, b] = [backend('a'), backend('b')];
  assert.equal(routing.health([a, b]), 'healthy');
  fail(routing, a, 4);
  assert.equal(routing.health([a, b]), 'healthy');
  fail(routing, a, 1);
  assert.equal(routing.health([a, b]), 'degraded');
  fail(routing, b, 5);
  assert.equal(routing.health([a, b]), 'unhealthy');
});

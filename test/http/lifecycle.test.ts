import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { test } from 'node:test';
import { setImmediate, setTimeout as sleep } from 'node:timers/promises';
import { memoryBudget } from '../../src/budgets/memory.js';
import type { BudgetStore } from '../../src/core/budget.js';
import type { GenerateEvent, Provider } from '../../src/core/provider.js';
import type { MediaStorage } from '../../src/core/storage.js';
import type { UsageStore } from '../../src/core/usage.js';
import { ProviderError } from '../../src/errors.js';
import { anyone } from '../../src/http/identify.js';
import { placeholder } from '../../src/providers/placeholder.js';
import { createImagesRouter } from '../../src/router.js';
import { memoryStorage } from '../../src/storage/memory.js';
import { memoryUsage } from '../../src/usage/memory.js';
import { createTestApp, TEST_CALLER, TEST_KEY, type TestApp, testModel, until } from '../support/app.js';
import { openRaw, type RawConnection } from '../support/raw-http.js';

const BODY = { model: 'placeholder/sketch', prompt: 'A lighthouse' };
const FOREVER = 600_000;

/** Sends a generate request by hand, so that the client can leave. */
async function postRaw(app: TestApp, body: object = BODY): Promise<RawConnection> {
  const json = JSON.stringify(body);
  const raw = await openRaw(app.port, [
    ...[
      'POST /v1/inference/images/generate HTTP/1.1',
      'Host: localhost',
      `Authorization: Bearer ${TEST_KEY}`,
    ],
    ...['Content-Type: application/json', `Content-Length: ${Buffer.byteLength(json)}`],
  ]);
  raw.socket.write(json);
  return raw;
}

/** Whatever is waited for until the time of a request is up is a failure soon. */
const SOON = { timeout: 20_000 };

/** A provider that never answers and never looks at its signal. */
function deaf(): Provider & { readonly started: () => number } {
  let started = 0;
  return {
    ...{ name: 'deaf', models: placeholder({ models: [testModel()] }).models, started: () => started },
    generate: () => ({
      [Symbol.asyncIterator]: () => ({
        next: () => {
          started += 1;
          return new Promise<IteratorResult<GenerateEvent>>(() => undefined);
        },
      }),
    }),
  };
}

test('a client that leaves aborts the provider at once, and the call is settled', SOON, async (t) => {
  const app = await createTestApp(t, { placeholder: { models: [testModel()], delayMs: FOREVER } });
  const { socket } = await postRaw(app);
  await until(() => app.calls.length === 1);
  const [call] = app.calls;
  assert.ok(call);
  const aborted = once(call.signal, 'abort');
  socket.destroy();
  await aborted;
  await until(async () => (await app.balances())['monthly-usd-tenant']?.held === 0);
  assert.deepEqual((await app.balances())['monthly-usd-tenant'], { spent: 40_000, held: 0 });
  assert.equal(app.eventsOf('request.failed').length, 0, 'nobody was answered');
  assert.equal(app.eventsOf('upstream.call').length, 1);
});

test('a client that leaves with more requests in line aborts the providers of all', async (t) => {
  const app = await createTestApp(t, { placeholder: { models: [testModel()], delayMs: FOREVER } });
  const { socket } = await postRaw(app);
  const json = JSON.stringify(BODY);
  const head = `Authorization: Bearer ${TEST_KEY}\r\nContent-Type: application/json\r\nContent-Length: ${json.length}`;
  socket.write(`POST /v1/inference/images/generate HTTP/1.1\r\nHost: x\r\n${head}\r\n\r\n${json}`.repeat(2));
  await until(() => app.calls.length === 3);
  socket.destroy();
  await until(() => app.calls.every(({ signal }) => signal.aborted));
  await until(async () => (await app.balances())['monthly-usd-tenant']?.held === 0);
});

test('calls a client that left was still to get are never begun, and cost nothing', async (t) => {
  const app = await createTestApp(t, {
    limits: { callsAtOnce: 2 },
    placeholder: { models: [testModel({ maxImages: 1 })], delayMs: FOREVER },
  });
  const { socket } = await postRaw(app, { ...BODY, n: 6 });
  await until(() => app.calls.length === 2);
  socket.destroy();
  await until(async () => (await app.balances())['monthly-usd-tenant']?.held === 0);
  assert.equal(app.calls.length, 2);
  assert.deepEqual((await app.balances())['monthly-usd-tenant'], { spent: 80_000, held: 0 });
});

test('a client that left while it waited for a place costs nothing and is never drawn for', async (t) => {
  const app = await createTestApp(t, {
    limits: { concurrency: 1 },
    placeholder: { models: [testModel()], delayMs: FOREVER },
  });
  const first = await postRaw(app);
  await until(() => app.calls.length === 1);
  const second = await postRaw(app, { ...BODY, n: 5 });
  await sleep(50);
  second.socket.destroy();
  await second.closed;
  await sleep(20);
  first.socket.destroy();
  await until(async () => (await app.balances())['monthly-usd-tenant']?.held === 0);
  await sleep(50);
  assert.equal(app.calls.length, 1);
  assert.equal((await app.balances())['monthly-usd-tenant']?.spent, 40_000);
});

test('a client that left before it was identified is neither reserved nor drawn for', async (t) => {
  let proceed: () => void = () => undefined;
  const app = await createTestApp(t, {
    identify: async () => {
      await new Promise<void>((resolve) => {
        proceed = resolve;
      });
      return { tenant: 'acme', models: 'all', budgets: 'unlimited' };
    },
  });
  const { socket, closed } = await postRaw(app);
  await sleep(50);
  socket.destroy();
  await closed;
  await sleep(20);
  proceed();
  await sleep(50);
  assert.equal(app.calls.length, 0);
});

test(
  'time that is up frees the place of a request, also when the provider ignores its signal',
  SOON,
  async (t) => {
    const provider = deaf();
    const app = await createTestApp(t, {
      providers: [provider],
      limits: { requestMs: 200, concurrency: 1, queue: 1 },
    });
    const first = await app.native(BODY);
    assert.equal(first.status, 504, first.text);
    assert.equal(first.body.error.code, 'BACKEND_TIMEOUT');
    assert.deepEqual((await app.balances())['monthly-usd-tenant'], { spent: 40_000, held: 0 });
    const second = await app.native(BODY);
    assert.equal(second.status, 504, 'the place was free');
    assert.equal(provider.started(), 2);
  },
);

test('the sentence about time that is up says how long it was', async (t) => {
  const app = await createTestApp(t, { limits: { requestMs: 100 }, providers: [deaf()] });
  assert.match((await app.native(BODY)).body.error.message, /within 0\.1 seconds/);
});

test('pictures that came before the time was up are delivered, and the call is charged in full', async (t) => {
  const base = placeholder({ models: [testModel()] });
  const stalling: Provider = {
    ...base,
    async *generate(call) {
      for await (const event of base.generate(call)) {
        if (event.type === 'image' && event.index === 1) await new Promise(() => undefined);
        yield event;
      }
    },
  };
  const app = await createTestApp(t, { providers: [stalling], limits: { requestMs: 1500 } });
  const answer = await app.native({ ...BODY, n: 3 });
  assert.equal(answer.status, 200, answer.text);
  assert.equal(answer.body.data.data.length, 1);
  assert.deepEqual(
    answer.body.data.errors.map(({ index, code }: { index: number; code: string }) => [index, code]),
    [
      [1, 'BACKEND_TIMEOUT'],
      [2, 'BACKEND_TIMEOUT'],
    ],
  );
  assert.deepEqual((await app.balances())['monthly-usd-tenant'], { spent: 120_000, held: 0 });
});

test('OVERLOADED when every place and the queue are taken; those who waited are served', async (t) => {
  let release: () => void = () => undefined;
  const gate = new Promise<void>((resolve) => {
    release = resolve;
  });
  const base = placeholder({ models: [testModel()] });
  let started = 0;
  const slow: Provider = {
    ...base,
    async *generate(call) {
      started += 1;
      await gate;
      yield* base.generate(call);
    },
  };
  const app = await createTestApp(t, { providers: [slow], limits: { concurrency: 2, queue: 3 } });
  const answers = Array.from({ length: 8 }, (_, seed) =>
    app.native({ ...BODY, seed }).then((answer) => answer),
  );
  await until(() => started === 2 && app.eventsOf('request.failed').length === 3);
  release();
  const statuses = (await Promise.all(answers)).map(({ status }) => status).sort();
  assert.deepEqual(statuses, [200, 200, 200, 200, 200, 503, 503, 503]);
  assert.ok(app.eventsOf('request.failed').every(({ code }) => code === 'OVERLOADED'));
  assert.deepEqual((await app.balances())['monthly-usd-tenant'], { spent: 200_000, held: 0 });
});

test('a request whose time passes in the queue met a crowd, not a slow provider', async (t) => {
  // Storing goes on after the time for providers is up, and keeps the only place taken.
  const storage = memoryStorage();
  const slow: MediaStorage['put'] = async (...object) => {
    await sleep(2000);
    return storage.put(...object);
  };
  const app = await createTestApp(t, {
    storage: { ...storage, put: slow },
    limits: { requestMs: 800, concurrency: 1 },
  });
  const first = app.native(BODY).then((answer) => answer);
  await until(() => app.calls.length === 1);
  const second = await app.native(BODY);
  assert.equal(second.body.error?.code, 'OVERLOADED', second.text);
  assert.equal((await first).status, 200);
  assert.deepEqual((await app.balances())['monthly-usd-tenant'], { spent: 40_000, held: 0 });
});

test('close() refuses new requests and lets those in flight finish', async (t) => {
  const app = await createTestApp(t, { placeholder: { models: [testModel()], delayMs: 300 } });
  const inFlight = app.native(BODY).then((answer) => answer);
  await until(() => app.calls.length === 1);
  const closing = app.router.close();
  const refused = await app.native(BODY);
  assert.equal(refused.status, 503);
  assert.equal(refused.body.error.code, 'OVERLOADED');
  assert.equal((await inFlight).status, 200);
  await closing;
  assert.equal(app.calls.length, 1);
});

test('close() cuts off what is left after limits.drainMs, and settles it first', async (t) => {
  const app = await createTestApp(t, {
    limits: { drainMs: 100 },
    placeholder: { models: [testModel()], delayMs: FOREVER },
  });
  const inFlight = app.native(BODY).then((answer) => answer);
  await until(() => app.calls.length === 1);
  await app.router.close();
  assert.deepEqual((await app.balances())['monthly-usd-tenant'], { spent: 40_000, held: 0 });
  const answer = await inFlight;
  assert.equal(answer.status, 503, answer.text);
  assert.equal(answer.body.error.code, 'OVERLOADED');
  assert.equal(answer.get('x-should-retry'), 'false', 'the provider may have been at work');
});

test('close() with a hundred in flight waits for those that end, cuts off the others, and settles all', async (t) => {
  const base = placeholder({ models: [testModel()] });
  const signals: AbortSignal[] = [];
  const provider: Provider = {
    ...base,
    async *generate(call) {
      signals.push(call.signal);
      // Every second one is never done, and ends only by its signal.
      if (signals.length % 2 === 0) {
        await once(call.signal, 'abort');
        throw call.signal.reason;
      }
      await once(closing, 'begun');
      yield* base.generate(call);
    },
  };
  const closing = new EventEmitter().setMaxListeners(50);
  const drainMs = 2000;
  const app = await createTestApp(t, { providers: [provider], limits: { concurrency: 100, drainMs } });
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const statuses: unknown[] = [];
  const answers = Array.from({ length: 100 }, (_, seed) =>
    app.native({ ...BODY, seed }).then(({ status, body }) => statuses.push(body.error?.code ?? status)),
  );
  while (signals.length < 100) await setImmediate();
  const closed = app.router.close();
  closing.emit('begun');
  while (statuses.length < 50) await setImmediate();
  assert.deepEqual([...new Set(statuses)], [200]);
  t.mock.timers.tick(drainMs);
  await closed;
  assert.deepEqual((await app.balances())['monthly-usd-tenant'], { spent: 4_000_000, held: 0 });
  assert.equal(signals.filter(({ aborted }) => aborted).length, 50);
  await Promise.all(answers);
  assert.equal(statuses.filter((status) => status === 'OVERLOADED').length, 50);
});

test('close() may be called twice at once, and again later', async (t) => {
  const app = await createTestApp(t, {
    limits: { drainMs: 100 },
    placeholder: { models: [testModel()], delayMs: FOREVER },
  });
  const inFlight = app.native(BODY).then((answer) => answer);
  await until(() => app.calls.length === 1);
  await Promise.all([app.router.close(), app.router.close()]);
  await app.router.close();
  assert.equal((await inFlight).status, 503);
});

test('close() closes every part once, after the last request is over', async (t) => {
  const closed: string[] = [];
  const part = (name: string) => async () => void closed.push(name);
  const app = await createTestApp(t, {
    providers: [{ ...placeholder({ models: [testModel()], delayMs: 200 }), close: part('provider') }],
    storage: { ...memoryStorage(), close: part('storage') },
    budget: { ...memoryBudget(), close: part('budget') },
  });
  const inFlight = app.native(BODY).then(({ status }) => closed.push(`answer ${status}`));
  await sleep(100);
  await app.router.close();
  await app.router.close();
  await inFlight;
  assert.deepEqual(closed.toSorted(), ['answer 200', 'budget', 'provider', 'storage']);
});

test('close() closes the other parts when one fails, and names what failed', async () => {
  const closed: string[] = [];
  const part = (name: string) => async () => void closed.push(name);
  const router = createImagesRouter({
    providers: [{ ...placeholder(), close: part('provider') }],
    storage: { ...memoryStorage(), close: () => Promise.reject(new Error('the disk is gone')) },
    media: { secrets: 'a secret that only tests know, 32+ bytes' },
    identify: anyone(TEST_CALLER),
    budget: { ...memoryBudget(), close: part('budget') },
  });
  await assert.rejects(router.close(), (error) => {
    assert.ok(error instanceof AggregateError);
    assert.deepEqual(error.errors.map(String), ['Error: the disk is gone']);
    return true;
  });
  assert.deepEqual(closed, ['provider', 'budget']);
});

test('warmup() warms every provider that has something to warm, and fails with what failed', async (t) => {
  const warmed: string[] = [];
  const gone = new Error('no credentials');
  const warm = (name: string, warmup?: () => Promise<void>): Provider => ({
    ...placeholder({ name, models: [testModel()] }),
    warmup:
      warmup ??
      (async () => {
        await sleep(1);
        warmed.push(name);
      }),
  });
  const cold = placeholder({ name: 'cold', models: [testModel()] });
  const well = await createTestApp(t, { providers: [warm('a'), cold, warm('b')] });
  assert.deepEqual([...warmed], [], 'nothing is warmed unasked');
  await well.router.warmup();
  assert.deepEqual(warmed.toSorted(), ['a', 'b']);

  const ill = await createTestApp(t, { providers: [warm('c', () => Promise.reject(gone)), warm('d')] });
  await assert.rejects(ill.router.warmup(), (error) => error === gone);
  await until(() => warmed.includes('d'));
});

test('a provider that fails after it was given up becomes no unhandled rejection', async (t) => {
  const base = placeholder({ models: [testModel()] });
  let fail: () => void = () => undefined;
  const late: Provider = {
    ...base,
    generate: () => ({
      [Symbol.asyncIterator]: () => ({
        next: () =>
          new Promise((_, reject) => {
            fail = () => reject(new ProviderError('unavailable', 'Too late.', { billed: 'no' }));
          }),
      }),
    }),
  };
  const app = await createTestApp(t, { providers: [late], limits: { requestMs: 50 } });
  assert.equal((await app.native(BODY)).status, 504);
  fail();
  await sleep(20);
});

/**
 * A storage whose bodies wait, after their first bytes, for `release()`; it says whether it was closed before they
 * ended.
 */
function slowStorage() {
  const memory = memoryStorage();
  let release: () => void = () => undefined;
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  const seen = { open: 0, openAtClose: -1 };
  async function* slowly(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    seen.open += 1;
    try {
      for await (const chunk of body) {
        yield chunk.subarray(0, 10);
        await released;
        yield chunk.subarray(10);
      }
    } finally {
      seen.open -= 1;
    }
  }
  const storage: MediaStorage = {
    ...memory,
    async get(key, options) {
      const object = await memory.get(key, options);
      return object && { ...object, body: slowly(object.body) };
    },
    async close() {
      seen.openAtClose = seen.open;
    },
  };
  return { storage, seen, release };
}

async function drawnUrl(app: TestApp): Promise<string> {
  const { body } = await app.native(BODY).expect(200);
  return body.data.data[0].url;
}

test('close() refuses pictures to new requests, and lets downloads in flight finish before storage is closed', async (t) => {
  const { storage, seen, release } = slowStorage();
  const app = await createTestApp(t, { storage });
  const url = await drawnUrl(app);
  const download = await fetch(url);
  assert.equal(download.status, 200);
  const closing = app.router.close();
  for (const method of ['GET', 'HEAD']) {
    const refused = await fetch(url, { method });
    assert.equal(refused.status, 503, method);
    if (method === 'GET') assert.match(await refused.text(), /OVERLOADED/);
  }
  assert.equal(seen.openAtClose, -1, 'storage is still open');
  release();
  const { byteLength } = await download.arrayBuffer();
  assert.equal(byteLength, Number(download.headers.get('content-length')));
  await closing;
  assert.equal(seen.openAtClose, 0);
});

test('close() cuts off downloads that are left after limits.drainMs, and closes what they read', async (t) => {
  const { storage, seen, release } = slowStorage();
  const app = await createTestApp(t, { storage, limits: { drainMs: 100 } });
  const download = await fetch(await drawnUrl(app));
  const whole = download.arrayBuffer();
  const cut = assert.rejects(whole, /terminated/);
  await app.router.close();
  await cut;
  assert.notEqual(seen.openAtClose, -1, 'storage was closed after the wait');
  release();
  await until(() => seen.open === 0);
  assert.deepEqual(app.eventsOf('storage.failed'), []);
});

test('close() answers downloads that still wait for storage when limits.drainMs is over', async (t) => {
  const memory = memoryStorage();
  let answer: () => void = () => undefined;
  let ended = false;
  async function* body(): AsyncGenerator<Uint8Array> {
    yield new Uint8Array(1);
  }
  const get: MediaStorage['get'] = async (...args) => {
    await new Promise<void>((resolve) => {
      answer = resolve;
    });
    const object = await memory.get(...args);
    const chunks = body();
    const closed = async () => {
      ended = true;
      return { done: true, value: undefined } as const;
    };
    const source = { [Symbol.asyncIterator]: () => ({ next: () => chunks.next(), return: closed }) };
    return object && { ...object, body: source };
  };
  const app = await createTestApp(t, { storage: { ...memory, get }, limits: { drainMs: 100 } });
  const url = await drawnUrl(app);
  const waiting = fetch(url);
  await sleep(200);
  const closing = app.router.close();
  const refused = await waiting;
  assert.equal(refused.status, 503);
  assert.match(await refused.text(), /OVERLOADED/);
  answer();
  await closing;
  assert.ok(ended, 'what storage opened too late is closed');
});

test('close() lets questions about usage and budgets end before their stores are closed', async (t) => {
  const ledger = memoryBudget();
  const rows = memoryUsage();
  let asked = 0;
  let closed = 0;
  let answer: () => void = () => undefined;
  const held = new Promise<void>((resolve) => {
    answer = resolve;
  });
  const waiting = async <T>(work: () => Promise<T>) => {
    asked += 1;
    await held;
    assert.equal(closed, 0, 'the store is still open');
    return work();
  };
  const close = async () => {
    closed += 1;
  };
  const budget: BudgetStore = { ...ledger, read: (keys) => waiting(() => ledger.read(keys)), close };
  const usage: UsageStore = {
    ...rows,
    query: (...args) => waiting(() => rows.query(...args)),
    summarize: (...args) => waiting(() => rows.summarize(...args)),
    close,
  };
  const app = await createTestApp(t, { budget, usage, caller: { role: 'admin' } });
  const paths = [
    '/v1/accounting/usage',
    '/v1/accounting/usage/summary?group_by=model',
    '/v1/accounting/budgets',
  ];
  const answers = paths.map((path) => app.get(path).then(({ status }) => status));
  await until(() => asked === paths.length);
  const closing = app.router.close();
  await sleep(200);
  answer();
  assert.deepEqual(await Promise.all(answers), [200, 200, 200]);
  await closing;
  assert.equal(closed, 2);
});

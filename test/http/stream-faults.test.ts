/** Streams under stress: slow providers, slow readers, clients that leave, and what is booked then. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { mock, type TestContext, test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { createGate } from '../../src/core/gate.js';
import type { Provider } from '../../src/core/provider.js';
import { imageCount, monthly, usd } from '../../src/core/windows.js';
import { ProviderError } from '../../src/errors.js';
import type { PlaceholderOptions } from '../../src/providers/placeholder.js';
import { memoryStorage } from '../../src/storage/memory.js';
import { createTestApp, TEST_KEY, type TestApp, testModel, until } from '../support/app.js';
import { altered } from '../support/hostile-providers.js';
import { hugeNoise } from '../support/pictures.js';
import { framesOf, openAnswer, textOf } from '../support/sse.js';

const BODY = { model: 'placeholder/sketch', prompt: 'A lighthouse', stream: true };
const BUDGETS = { budgets: [monthly(usd(100)), monthly(imageCount(100))] } as const;

/** The placeholder behind a door: calls wait until it is opened, or until they are aborted. */
interface GuardedProvider {
  readonly provider: Provider;
  /** Calls that came so far. */
  readonly calls: () => number;
  /** Calls that wait. */
  readonly waiting: () => number;
  readonly open: () => void;
}

function guarded(options: PlaceholderOptions = {}): GuardedProvider {
  const door = createGate({ limit: 1 });
  const closed = door.enter();
  let [calls, waiting] = [0, 0];
  const provider = altered(async function* (events, { signal }) {
    calls += 1;
    waiting += 1;
    const leave = await door.enter(signal).finally(() => {
      waiting -= 1;
    });
    leave();
    yield* events;
  }, options);
  return {
    provider,
    calls: () => calls,
    waiting: () => waiting,
    open: () => void closed.then((open) => open()),
  };
}

// What does not come would be waited for until the time of a request is up, or with the clock stopped without end.
const PATIENCE = { timeout: 60_000 };

/** Timers pass when the test says so from here on. */
function stopClock(t: TestContext): void {
  mock.timers.enable({ apis: ['setTimeout', 'setInterval'] });
  t.after(() => mock.timers.reset());
}

/** Lets everything happen that waits for no clock. */
async function settled(): Promise<void> {
  for (let turns = 0; turns < 50; turns += 1) await turn();
}

test(
  'headers go out after ten seconds, then a heartbeat every fifteen, then the picture',
  PATIENCE,
  async (t) => {
    const { provider, calls, open } = guarded();
    const app = await createTestApp(t, { providers: [provider] });
    stopClock(t);
    const opening = openAnswer(app, BODY);
    let opened = false;
    void opening.then(() => {
      opened = true;
    });
    await until(() => calls() === 1);
    mock.timers.tick(9_999);
    await settled();
    assert.equal(opened, false, 'no headers yet');
    mock.timers.tick(1);
    const { response } = await opening;
    assert.equal(response.statusCode, 200);
    assert.equal(response.headers['x-accel-buffering'], 'no');
    let text = '';
    response.on('data', (chunk: Buffer) => {
      text += chunk;
    });
    await settled();
    assert.equal(text, '');
    mock.timers.tick(15_000);
    await until(() => text !== '');
    mock.timers.tick(15_000);
    await until(() => text.length > 3);
    assert.equal(text, ':\n\n:\n\n');
    open();
    await once(response, 'end');
    assert.match(text, /^:\n\n:\n\nevent: image_generation.completed\ndata: \{[^\n]*\}\n\n$/);
  },
);

test('a failure after ten seconds is an error event, because the headers are out', PATIENCE, async (t) => {
  const { provider, calls, open } = guarded();
  const app = await createTestApp(t, { providers: [provider] });
  stopClock(t);
  const opening = openAnswer(app, { ...BODY, prompt: '[fail:rejected]' });
  await until(() => calls() === 1);
  mock.timers.tick(10_000);
  const { response } = await opening;
  open();
  const text = await textOf(response);
  assert.match(text, /^event: error\ndata: \{[^\n]*\}\n\n$/);
  const { error } = JSON.parse(text.slice(text.indexOf('{')));
  assert.equal(error.type, 'invalid_request_error');
  assert.equal(error.code, 'backend_error');
  assert.deepEqual(
    app.eventsOf('request.failed').map(({ code, reason }) => ({ code, reason })),
    [{ code: 'BACKEND_ERROR', reason: 'rejected' }],
  );
});

test(
  'a stream that waits in the queue for longer than ten seconds is served all the same',
  PATIENCE,
  async (t) => {
    const { provider, calls, open } = guarded();
    const app = await createTestApp(t, {
      providers: [provider],
      caller: BUDGETS,
      limits: { concurrency: 1 },
    });
    stopClock(t);
    const first = openAnswer(app, BODY);
    await until(() => calls() === 1);
    const second = openAnswer(app, BODY);
    await settled();
    mock.timers.tick(10_000);
    const answers = await Promise.all([first, second]);
    open();
    for (const { response } of answers) {
      assert.match(await textOf(response), /^event: image_generation.completed\ndata: [^\n]*\n\n$/);
    }
  },
);

test(
  'a provider that hangs is given up at the deadline, which is told in the stream',
  PATIENCE,
  async (t) => {
    let calls = 0;
    const hanging = altered(async function* () {
      calls += 1;
      await new Promise(() => undefined);
      yield { type: 'end' };
    });
    const app = await createTestApp(t, { providers: [hanging], caller: BUDGETS });
    stopClock(t);
    const opening = openAnswer(app, BODY);
    await until(() => calls === 1);
    mock.timers.tick(10_000);
    const { response } = await opening;
    mock.timers.tick(170_000);
    assert.match(await textOf(response), /event: error\ndata: .*"code":"backend_timeout"/);
    assert.deepEqual(await app.balances(), {
      'monthly-usd-tenant': { spent: 40_000, held: 0 },
      'monthly-images-tenant': { spent: 1, held: 0 },
    });
  },
);

test('a client that leaves before the first frame ends the call, which is booked', PATIENCE, async (t) => {
  const { provider, calls, waiting } = guarded();
  const app = await createTestApp(t, { providers: [provider], caller: BUDGETS });
  const socket = await rawPost(app, BODY);
  await until(() => calls() === 1);
  socket.destroy();
  await until(() => waiting() === 0);
  await until(async () => (await app.balances())['monthly-usd-tenant']?.held === 0);
  assert.deepEqual(await app.balances(), {
    'monthly-usd-tenant': { spent: 40_000, held: 0 },
    'monthly-images-tenant': { spent: 1, held: 0 },
  });
  assert.deepEqual(app.eventsOf('request.failed'), []);
});

test(
  'a client that leaves in mid-stream ends the call, which is booked and no failure',
  PATIENCE,
  async (t) => {
    let isAborted = false;
    const provider = altered(async function* (events, { signal }) {
      for await (const event of events) {
        yield event;
        if (event.type === 'preview')
          await new Promise((_, reject) => signal.addEventListener('abort', reject));
      }
    });
    const app = await createTestApp(t, {
      providers: [
        {
          ...provider,
          generate(call) {
            call.signal.addEventListener('abort', () => {
              isAborted = true;
            });
            return provider.generate(call);
          },
        },
      ],
      caller: BUDGETS,
    });
    const { response, leave } = await openAnswer(app, { ...BODY, partial_images: 1 });
    const { value } = await framesOf(response).next();
    assert.equal(value?.event, 'image_generation.partial_image');
    leave();
    await until(() => isAborted);
    await until(async () => (await app.balances())['monthly-usd-tenant']?.held === 0);
    assert.deepEqual(await app.balances(), {
      'monthly-usd-tenant': { spent: 40_000, held: 0 },
      'monthly-images-tenant': { spent: 1, held: 0 },
    });
    await settled();
    assert.deepEqual(app.eventsOf('request.failed'), []);
    assert.deepEqual(app.eventsOf('request.completed'), []);
    assert.equal(app.eventsOf('upstream.call').length, 1);
  },
);

test('calls that were not sent when the client left cost nothing', async (t) => {
  const { provider, calls, waiting } = guarded({ models: [testModel({ maxImages: 1 })] });
  const app = await createTestApp(t, {
    providers: [provider],
    caller: BUDGETS,
    limits: { callsAtOnce: 2 },
  });
  const socket = await rawPost(app, { ...BODY, n: 10 });
  await until(() => calls() === 2);
  socket.destroy();
  await until(() => waiting() === 0);
  await until(async () => (await app.balances())['monthly-usd-tenant']?.held === 0);
  assert.deepEqual(await app.balances(), {
    'monthly-usd-tenant': { spent: 80_000, held: 0 },
    'monthly-images-tenant': { spent: 2, held: 0 },
  });
  assert.equal(app.eventsOf('upstream.call').length, 2);
});

test('calls that were not sent at the deadline cost nothing, and a plain answer says so', async (t) => {
  const { provider } = guarded({ models: [testModel({ maxImages: 1 })] });
  const app = await createTestApp(t, {
    providers: [provider],
    caller: BUDGETS,
    limits: { callsAtOnce: 1, requestMs: 200 },
  });
  const answer = await app.openai({ ...BODY, stream: false, n: 4 });
  assert.equal(answer.status, 504, answer.text);
  assert.equal((await app.balances())['monthly-usd-tenant']?.spent, 40_000);
  assert.equal(app.eventsOf('upstream.call').length, 1);
});

test('a reader who takes nothing is waited for a moment, then the provider is read to its end, and nothing is lost', async (t) => {
  const bytes = await hugeNoise(1000);
  let drawn = 0;
  const provider = altered(
    async function* (_, { n }) {
      for (let index = 0; index < n; index += 1) {
        yield { type: 'image', index, image: { bytes, type: 'image/png' } };
        drawn += 1;
      }
      yield { type: 'end' };
    },
    { models: [testModel()] },
  );
  const app = await createTestApp(t, { providers: [provider] });
  const { response } = await openAnswer(app, { ...BODY, n: 10, size: '1000x1000' });
  response.pause();
  await until(() => drawn === 10);
  const frames = [];
  for await (const { event, data } of framesOf(response)) frames.push({ event, index: data.index });
  assert.deepEqual(
    frames,
    Array.from({ length: 10 }, (_, index) => ({ event: 'image_generation.completed', index })),
  );
});

test(
  'a reader that stops for two minutes has left: its place is free and what was drawn is booked',
  PATIENCE,
  async (t) => {
    const bytes = await hugeNoise(1000);
    const provider = altered(async function* (_, { n }) {
      for (let index = 0; index < n; index += 1) {
        yield { type: 'image', index, image: { bytes, type: 'image/png' } };
      }
      yield { type: 'end' };
    });
    const app = await createTestApp(t, {
      providers: [provider],
      caller: BUDGETS,
      // The clock is turned far faster than pictures are drawn: nobody's time may be up by that.
      limits: { concurrency: 1, queue: 1, requestMs: 2_000_000_000 },
    });
    stopClock(t);
    const { response } = await openAnswer(app, { ...BODY, n: 10, size: '1000x1000' });
    response.pause();
    const next = app.openai({ ...BODY, stream: false, size: '64x64' });
    const answered = next.then(({ status }) => status);
    await until(async () => {
      mock.timers.tick(10_000);
      return (await app.balances())['monthly-usd-tenant']?.spent === 440_000;
    });
    assert.equal(await answered, 200, 'its place is free for the next');
    // All of it was read from the provider meanwhile; the client has the rest of its two minutes.
    mock.timers.tick(130_000);
    await assert.rejects(textOf(response), 'the answer was never whole');
    assert.deepEqual(app.eventsOf('request.failed'), []);
  },
);

/** Posts without reading anything, so that the test can leave whenever it wants. */
async function rawPost(app: TestApp, body: object): Promise<Socket> {
  const text = JSON.stringify(body);
  const socket = connect(app.port, '127.0.0.1');
  await once(socket, 'connect');
  socket.write(
    `POST /oai/v1/images/generations HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${TEST_KEY}\r\n` +
      `Content-Type: application/json\r\nContent-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`,
  );
  return socket;
}

test('a router that closes cuts a stream off with an error, after it waited', async (t) => {
  const { provider, calls } = guarded();
  const app = await createTestApp(t, { providers: [provider], limits: { drainMs: 50 } });
  const opening = openAnswer(app, BODY);
  await until(() => calls() === 1);
  await app.router.close();
  const { response } = await opening;
  assert.equal(response.statusCode, 503);
  assert.equal(JSON.parse(await textOf(response)).error.code, 'overloaded');
});

test('a router that closes while a picture is stored says that it closes, and books the picture', async (t) => {
  const storage = memoryStorage();
  let puts = 0;
  const put = async (): Promise<never> => {
    puts += 1;
    return new Promise(() => undefined);
  };
  const app = await createTestApp(t, { storage: { ...storage, put }, limits: { drainMs: 50 } });
  const answering = app.native({ model: BODY.model, prompt: BODY.prompt }).then((answer) => answer);
  await until(() => puts === 1);
  await app.router.close();
  const answer = await answering;
  assert.equal(answer.status, 503, answer.text);
  assert.equal(answer.body.error.code, 'OVERLOADED');
  assert.equal(answer.get('x-should-retry'), 'false', 'it was paid for');
  assert.equal((await app.balances())['monthly-usd-tenant']?.spent, 40_000);
});

test('a provider that goes on after its end, or fails after it, changes nothing', async (t) => {
  const provider = altered(async function* (events) {
    yield* events;
    throw new ProviderError('unavailable', 'Too late.', { billed: 'unknown' });
  });
  const app = await createTestApp(t, { providers: [provider] });
  const { response } = await openAnswer(app, BODY);
  assert.match(await textOf(response), /^event: image_generation.completed\ndata: [^\n]*\n\n$/);
});

/** Servers of OpenAI's shape: each of their pictures goes on as soon as it is there, while the next still arrives. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { type TestContext, test } from 'node:test';
import { imageCount, monthly, usd } from '../../src/core/windows.js';
import { isProviderError } from '../../src/errors.js';
import { type ModelOffer, stableDiffusion } from '../../src/providers/stable-diffusion.js';
import { memoryStorage } from '../../src/storage/memory.js';
import { createTestApp, onlySize, until } from '../support/app.js';
import { during, outcome, pictures } from '../support/diffusion-calls.js';
import { createOpenAIShapedServer } from '../support/diffusion-openai.js';
import { generateCall } from '../support/generate-call.js';
import { countingStorage } from '../support/hostile-providers.js';
import { noise, picture } from '../support/pictures.js';
import { framesOf, openAnswer } from '../support/sse.js';

/** Whatever is held back for ever is a failure soon. */
const SOON = { timeout: 20_000 };

const EDGE = 512;
const MODELS: readonly ModelOffer[] = [{ maxImages: 3, sizes: onlySize(EDGE) }];
const BODY = { model: 'stability/sd-xl', prompt: 'Noise', n: 2 } as const;

/** More than is written at once, so that clients get it when it is there. */
const drawn = await noise(EDGE);
const ITEM = JSON.stringify({ b64_json: drawn.toString('base64') });

/** A server that sends what a test says, when it says so: each answer with its head and `{"data":[` already sent. */
async function handServer(t: TestContext) {
  const server = await during(t, createOpenAIShapedServer());
  const answers: ServerResponse[] = [];
  server.override('/v1/images/generations', (_request, response) => {
    response.writeHead(200, { 'content-type': 'application/json' });
    response.write('{"created":1,"data":[');
    answers.push(response);
    return undefined;
  });
  /** The answer of that place, once it is asked for. */
  const answer = async (place: number): Promise<ServerResponse> => {
    await until(() => answers.length > place);
    return answers[place] as ServerResponse;
  };
  const provider = (changes: ModelOffer = {}) =>
    stableDiffusion({ url: server.url, protocol: 'openai', models: [{ ...MODELS[0], ...changes }] });
  return { answers, answer, provider };
}

/** A client's answer that has begun, because the server has sent so many pictures and is about to send another one. */
async function begunAnswer(t: TestContext, body: object, sent = 1) {
  const { answer, provider } = await handServer(t);
  const app = await createTestApp(t, { providers: [provider()] });
  const opening = openAnswer(app, { ...BODY, ...body });
  const sending = await answer(0);
  sending.write(`${ITEM},`.repeat(sent));
  return { ...(await opening), app, answer, sending };
}

test('a picture is stored before the server has sent the next one', SOON, async (t) => {
  const { answer, provider } = await handServer(t);
  const { storage, puts } = countingStorage();
  const app = await createTestApp(t, { providers: [provider()], storage });
  const asked = app.native(BODY).then((response) => response);
  const sending = await answer(0);
  sending.write(`${ITEM},`);
  await until(() => puts.length === 1);
  sending.end(`${ITEM}]}`);
  const { status, body } = await asked;
  assert.equal(status, 200);
  assert.deepEqual(
    body.data.data.map(({ index }: { index: number }) => index),
    [0, 1],
  );
});

test('a picture is with the client before the server has sent the next one', SOON, async (t) => {
  const { sending, response } = await begunAnswer(t, { response_format: 'b64_json' });
  const chunks: Buffer[] = [];
  for await (const chunk of response) {
    chunks.push(chunk);
    // Almost all of the first, of which there is no second yet.
    if (Buffer.concat(chunks).byteLength > drawn.byteLength && !sending.writableEnded)
      sending.end(`${ITEM}]}`);
  }
  assert.equal(JSON.parse(Buffer.concat(chunks).toString()).data.length, 2);
});

test('a picture of a stream is with the client before the server has sent all of them', SOON, async (t) => {
  // The last that is there waits for the end, because it tells what is missing.
  const { sending, response } = await begunAnswer(t, { n: 3, stream: true }, 2);
  const indexes: unknown[] = [];
  for await (const { event, data } of framesOf(response)) {
    assert.equal(event, 'image_generation.completed');
    indexes.push(data.index);
    if (indexes.length === 1) sending.end(`${ITEM}]}`);
  }
  assert.deepEqual(indexes, [0, 1, 2]);
});

test(
  'the next call is sent when the answer to the one before begins, however slowly its pictures are taken',
  SOON,
  async (t) => {
    const { answers, answer, provider } = await handServer(t);
    const memory = memoryStorage();
    let take = () => {};
    const taken = new Promise<void>((resolve) => {
      take = resolve;
    });
    const put: typeof memory.put = async (...args) => {
      await taken;
      await memory.put(...args);
    };
    const app = await createTestApp(t, { providers: [provider()], storage: { ...memory, put } });
    const first = app.native(BODY).then((response) => response);
    (await answer(0)).end(`${ITEM},${ITEM}]}`);
    const second = app.native(BODY).then((response) => response);
    (await answer(1)).end(`${ITEM},${ITEM}]}`);
    take();
    for (const { status, body } of await Promise.all([first, second])) {
      assert.deepEqual([status, body.data.data.length], [200, 2]);
    }
    assert.equal(answers.length, 2);
  },
);

test(
  'a client that leaves between two pictures ends the answer, and the next call does not wait',
  SOON,
  async (t) => {
    const { app, answer, sending, leave } = await begunAnswer(t, { response_format: 'b64_json' });
    const closed = once(sending, 'close');
    leave();
    await closed;
    const asked = app.native(BODY).then((response) => response);
    (await answer(1)).end(`${ITEM},${ITEM}]}`);
    assert.equal((await asked).status, 200);
  },
);

test('whoever takes no more pictures ends the answer', SOON, async (t) => {
  const { answer, provider } = await handServer(t);
  const drawing = provider();
  const [model] = drawing.models;
  assert.ok(model, 'it has a model');
  const events = drawing.generate(generateCall(model, { n: 2 }))[Symbol.asyncIterator]();
  const first = events.next();
  const sending = await answer(0);
  sending.write(`${ITEM},`);
  assert.equal((await first).value.type, 'image');
  const closed = once(sending, 'close');
  await events.return?.();
  await closed;
});

test('a call that nobody starts keeps no place in the line', SOON, async (t) => {
  const { answer, provider } = await handServer(t);
  const drawing = provider();
  const [model] = drawing.models;
  assert.ok(model, 'it has a model');
  drawing.generate(generateCall(model));
  const drawnNext = pictures(drawing);
  (await answer(0)).end(`${ITEM}]}`);
  assert.equal((await drawnNext).length, 1);
});

test('of an answer that is cut, the pictures before the cut are delivered, and all are paid for', async (t) => {
  const { answers, answer, provider } = await handServer(t);
  const app = await createTestApp(t, {
    providers: [provider({ price: usd(0.04) })],
    caller: { budgets: [monthly(usd(100)), monthly(imageCount(100))] },
  });
  const asked = app.native({ ...BODY, n: 3 }).then((response) => response);
  const sending = await answer(0);
  await new Promise((resolve) => sending.write(`${ITEM},{"b64_json":"iVBORw0KGgo`, resolve));
  sending.destroy();
  const { status, body } = await asked;
  assert.deepEqual([status, body.data.data.length], [200, 1]);
  assert.deepEqual(
    body.data.errors.map(({ index, code }: { index: number; code: string }) => [index, code]),
    [1, 2].map((index) => [index, 'BACKEND_ERROR']),
  );
  const { 'monthly-usd-tenant': money, 'monthly-images-tenant': count } = await app.balances();
  assert.deepEqual([money?.spent, count?.spent], [120_000, 3]);
  assert.equal(answers.length, 1, 'what may have been billed is not tried again');
});

const SMALL = { b64_json: (await picture('png')).toString('base64') };

for (const [what, data] of [
  ['no base64', [SMALL, { b64_json: '!' }, SMALL]],
  ['no text', [SMALL, { b64_json: 7 }, SMALL]],
  ['no object', [SMALL, 7, SMALL]],
  ['null', [SMALL, null, SMALL]],
] as const) {
  test(`a picture that is ${what} fails the call, but only after the good ones have arrived`, async (t) => {
    const { answer, provider } = await handServer(t);
    const drawing = outcome(provider(), { n: 3, seed: 5 });
    (await answer(0)).end(`${JSON.stringify(data).slice(1)}}`);
    const { events, thrown } = await drawing;
    assert.deepEqual(
      events.map((event) => event.type === 'image' && [event.index, event.seed]),
      [
        [0, 5],
        [2, 7],
      ],
    );
    assert.ok(isProviderError(thrown), `a ProviderError, not ${String(thrown)}`);
    assert.equal(thrown.kind, 'shape');
  });
}

test('pictures beyond those asked for are dropped, and missing ones do not arrive', async (t) => {
  for (const n of [1, 3]) {
    const { answer, provider } = await handServer(t);
    const drawing = outcome(provider(), { n });
    (await answer(0)).end(`${JSON.stringify([SMALL, SMALL]).slice(1)}}`);
    const { events, thrown } = await drawing;
    assert.equal(thrown, undefined);
    assert.deepEqual(
      events.map(({ type }) => type),
      [...Array(Math.min(n, 2)).fill('image'), 'end'],
    );
  }
});

test('memory of a picture is given back when it is released', async (t) => {
  const { answer, provider } = await handServer(t);
  const drawing = provider();
  const [model] = drawing.models;
  assert.ok(model, 'it has a model');
  const events = drawing.generate(generateCall(model))[Symbol.asyncIterator]();
  const first = events.next();
  (await answer(0)).end(`${ITEM}]}`);
  const { value: event } = await first;
  assert.ok(event?.type === 'image', 'a picture');
  assert.ok(drawn.equals(event.image.bytes), 'byte for byte');
  event.release?.();
  assert.equal(event.image.bytes.byteLength, 0);
  assert.deepEqual(await events.next(), { done: false, value: { type: 'end' } });
});

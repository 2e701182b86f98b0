import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { imageCount, monthly, usd } from '../../src/core/windows.js';
import { isProviderError } from '../../src/errors.js';
import { stableDiffusion } from '../../src/providers/stable-diffusion.js';
import { createTestApp, until } from '../support/app.js';
import { during, outcome, pictures } from '../support/diffusion-calls.js';
import { createSdapiServer } from '../support/diffusion-sdapi.js';
import { picture } from '../support/pictures.js';

const TXT2IMG = '/sdapi/v1/txt2img';

/** A server whose pictures are finished one by one, by hand. */
async function heldServer(t: TestContext) {
  const server = await during(t, createSdapiServer());
  const drawn = (await picture('png')).toString('base64');
  const finish: (() => void)[] = [];
  let running = 0;
  let most = 0;
  server.override(TXT2IMG, async () => {
    running += 1;
    most = Math.max(most, running);
    await new Promise<void>((resolve) => finish.push(resolve));
    running -= 1;
    return { status: 200, body: { images: [drawn] } };
  });
  return { server, finish, most: () => most };
}

test('a server is given one call at a time, in the order they came', async (t) => {
  const { server, finish, most } = await heldServer(t);
  const provider = stableDiffusion({ url: server.url, protocol: 'sdapi' });
  const calls = ['A', 'B', 'C'].map((prompt) => outcome(provider, { prompt }));
  for (let turn = 1; turn <= 3; turn += 1) {
    await until(() => finish.length === turn);
    finish[turn - 1]?.();
  }
  await Promise.all(calls);
  assert.equal(most(), 1);
  const prompts = server.to(TXT2IMG).map(({ body }) => JSON.parse(body.toString()).prompt);
  assert.deepEqual(prompts, ['A', 'B', 'C']);
});

test('a host may say that a server draws several at once', async (t) => {
  const { server, finish, most } = await heldServer(t);
  const provider = stableDiffusion({ url: server.url, protocol: 'sdapi', concurrency: 2 });
  const calls = ['A', 'B', 'C'].map((prompt) => outcome(provider, { prompt }));
  await until(() => finish.length === 2);
  for (const done of finish) done();
  await until(() => finish.length === 3);
  finish[2]?.();
  await Promise.all(calls);
  assert.equal(most(), 2);
});

test('a call that leaves the line is never sent, and says that it was not billed', {
  timeout: 20_000,
}, async (t) => {
  const { server, finish } = await heldServer(t);
  const provider = stableDiffusion({ url: server.url, protocol: 'sdapi' });
  const first = outcome(provider, { prompt: 'first' });
  await until(() => finish.length === 1);
  const controller = new AbortController();
  const second = outcome(provider, { prompt: 'second', signal: controller.signal });
  const third = outcome(provider, { prompt: 'third' });
  controller.abort({ reason: 'the client left' });
  const { thrown } = await second;
  assert.ok(isProviderError(thrown), String(thrown));
  assert.deepEqual([thrown.kind, thrown.billed, thrown.retryAfter], ['rate_limited', 'no', 5]);
  finish[0]?.();
  await until(() => finish.length === 2);
  finish[1]?.();
  await Promise.all([first, third]);
  const prompts = server.to(TXT2IMG).map(({ body }) => JSON.parse(body.toString()).prompt);
  assert.deepEqual(prompts, ['first', 'third']);
});

test('a call whose turn comes when its time is nearly up is not sent, and lets the next one pass', async (t) => {
  const { server, finish } = await heldServer(t);
  const provider = stableDiffusion({ url: server.url, protocol: 'sdapi' });
  const first = outcome(provider, { prompt: 'first' });
  await until(() => finish.length === 1);
  const second = outcome(provider, { prompt: 'second', sendBy: Date.now() });
  const third = outcome(provider, { prompt: 'third' });
  await sleep(10);
  finish[0]?.();
  const { thrown } = await second;
  assert.ok(isProviderError(thrown), String(thrown));
  assert.deepEqual([thrown.kind, thrown.billed], ['rate_limited', 'no']);
  await until(() => finish.length === 2);
  finish[1]?.();
  await Promise.all([first, third]);
  const prompts = server.to(TXT2IMG).map(({ body }) => JSON.parse(body.toString()).prompt);
  assert.deepEqual(prompts, ['first', 'third']);
});

test('a failed call makes room for the next', async (t) => {
  const server = await during(t, createSdapiServer());
  const provider = stableDiffusion({ url: server.url });
  server.override(TXT2IMG, () => ({ status: 500 }));
  await outcome(provider);
  server.override(TXT2IMG, () => ({ status: 200, body: { images: [] } }));
  assert.equal((await outcome(provider)).thrown, undefined);
});

test('a call is over when its client leaves, though the server draws on and the next has to wait for it', async (t) => {
  const server = await during(t, createSdapiServer({ drawMs: 100 }));
  const provider = stableDiffusion({ url: server.url, protocol: 'sdapi' });
  const controller = new AbortController();
  const left = outcome(provider, { signal: controller.signal });
  await until(() => server.to(TXT2IMG).length === 1);
  controller.abort(new Error('the client left'));
  assert.equal((await left).thrown, controller.signal.reason);
  assert.equal(server.card.drawn, 0);
  assert.equal((await pictures(provider)).length, 1);
  assert.equal(server.card.drawn, 2, 'the abandoned picture was drawn first');
});

test('the next call waits as long as an abandoned one usually takes, because the server draws on', async (t) => {
  const server = await during(t, createSdapiServer({ drawMs: 3_000 }));
  const provider = stableDiffusion({ url: server.url, protocol: 'sdapi' });
  await pictures(provider);
  const controller = new AbortController();
  const left = outcome(provider, { signal: controller.signal });
  await until(() => server.to(TXT2IMG).length === 2);
  controller.abort(new Error('the client left'));
  await left;
  const next = pictures(provider);
  await sleep(1_500);
  assert.equal(server.to(TXT2IMG).length, 2, 'the card is not free yet');
  await next;
});

const SDXL = { model: 'stability/sd-xl', prompt: 'A lighthouse' };

/** An app with a server of one place, whose pictures cost four cents, and little time. */
async function pricedApp(t: TestContext) {
  const { server, finish } = await heldServer(t);
  const app = await createTestApp(t, {
    providers: [stableDiffusion({ url: server.url, protocol: 'sdapi' })],
    models: { [SDXL.model]: { price: usd(0.04) } },
    limits: { requestMs: 2_000, callsAtOnce: 10 },
    caller: { budgets: [monthly(usd(100)), monthly(imageCount(100))] },
  });
  const spent = async () => {
    const balances = await app.balances();
    return [balances['monthly-usd-tenant'], balances['monthly-images-tenant']].map((each) => each?.spent);
  };
  return { server, finish, app, spent };
}

test('of a request whose time is up, calls that never left the line are not booked', async (t) => {
  const { server, finish, app, spent } = await pricedApp(t);
  const drawing = app.native({ ...SDXL, n: 4 });
  const answer = drawing.then((response) => response);
  await until(() => finish.length === 1);
  finish[0]?.();
  const { status, body } = await answer;
  assert.deepEqual([status, server.to(TXT2IMG).length], [200, 2]);
  assert.deepEqual([body.data.data.length, body.data.errors.length], [1, 3]);
  assert.deepEqual(await spent(), [80_000, 2], 'one was delivered, one is being drawn');
});

test('a line too long for the time breaks nothing and costs nothing but what was sent', async (t) => {
  const { server, finish, app, spent } = await pricedApp(t);
  const requests = Array.from({ length: 8 }, () => app.native(SDXL).then((response) => response));
  const answers = await Promise.all(requests);
  const [timedOut, ...others] = answers.toSorted((a, b) => b.status - a.status);
  assert.deepEqual([timedOut?.status, timedOut?.get('x-should-retry')], [504, 'false']);
  for (const { status, headers, body } of others) {
    assert.deepEqual([status, body.error.code, headers['retry-after']], [429, 'BACKEND_RATE_LIMITED', '5']);
    assert.equal(headers['x-should-retry'], undefined, 'a retry is free');
  }
  assert.equal(
    server.to(TXT2IMG).length,
    1,
    'an expiring call does not hand its place to one that expires with it',
  );
  assert.deepEqual(await spent(), [40_000, 1]);
  const { body } = await app.get(`/v1/models/${SDXL.model}`);
  assert.equal(body.data.health_status, 'healthy');
  const retry = app.native(SDXL).then((response) => response);
  await until(() => finish.length === 2);
  finish[1]?.();
  assert.equal((await retry).status, 200);
});

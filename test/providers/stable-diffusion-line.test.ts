import assert from 'node:assert/strict';
import { test } from 'node:test';
import { stableDiffusion } from '../../src/providers/stable-diffusion.js';
import { until } from '../support/app.js';
import { during, outcome, pictures } from '../support/diffusion-calls.js';
import { createSdapiServer } from '../support/diffusion-sdapi.js';

const TXT2IMG = '/sdapi/v1/txt2img';

/** A server whose pictures are finished one by one, by hand. */
async function heldServer(t: Parameters<typeof during>[0]) {
  const server = await during(t, createSdapiServer());
  const finish: (() => void)[] = [];
  let running = 0;
  let most = 0;
  server.override(TXT2IMG, async () => {
    running += 1;
    most = Math.max(most, running);
    await new Promise<void>((resolve) => finish.push(resolve));
    running -= 1;
    return { status: 200, body: { images: [] } };
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

test('a call that leaves the line is never sent, and throws the reason it was given', {
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
  assert.equal((await second).thrown, controller.signal.reason);
  finish[0]?.();
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

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { stableDiffusion } from '../../src/providers/stable-diffusion.js';
import { during, failure, outcome, pictures } from '../support/diffusion-calls.js';
import { createOpenAIShapedServer } from '../support/diffusion-openai.js';
import { createSdapiServer } from '../support/diffusion-sdapi.js';
import { type DiffusionServer, serve } from '../support/diffusion-servers.js';

const MODELS = '/sdapi/v1/sd-models';

/** The requests of a server, in order. */
function routes(server: DiffusionServer): string[] {
  return server.requests.map(({ method, path }) => `${method} ${path}`);
}

test('a server that speaks sdapi is found out by one GET', async (t) => {
  const server = await during(t, createSdapiServer());
  await pictures(stableDiffusion({ url: server.url }));
  assert.deepEqual(routes(server), [`GET ${MODELS}`, 'POST /sdapi/v1/txt2img']);
});

test('sd-server, which speaks both, is spoken to by sdapi', async (t) => {
  const server = await during(t, createSdapiServer({ flavour: 'sd-server' }));
  await pictures(stableDiffusion({ url: `${server.url}/` }));
  assert.deepEqual(routes(server), [`GET ${MODELS}`, 'POST /sdapi/v1/txt2img']);
});

test('a server of OpenAI’s shape is found out by a second GET', async (t) => {
  const server = await during(t, createOpenAIShapedServer());
  await pictures(stableDiffusion({ url: server.url }));
  assert.deepEqual(routes(server), [`GET ${MODELS}`, 'GET /v1/models', 'POST /v1/images/generations']);
});

test('a page for every path is no sdapi', async (t) => {
  const server = await during(t, createOpenAIShapedServer());
  server.override(MODELS, () => ({ status: 200, body: '<!doctype html>' }));
  assert.equal((await pictures(stableDiffusion({ url: server.url }))).length, 1);
});

test('what was found out is remembered', async (t) => {
  const server = await during(t, createSdapiServer());
  const provider = stableDiffusion({ url: server.url });
  await pictures(provider);
  await pictures(provider);
  assert.equal(server.to(MODELS).length, 1);
});

test('first calls at the same time find out once', async (t) => {
  const server = await during(t, createSdapiServer());
  const provider = stableDiffusion({ url: server.url, concurrency: 8 });
  const drawn = await Promise.all(Array.from({ length: 8 }, () => pictures(provider)));
  assert.equal(drawn.flat().length, 8);
  assert.equal(server.to(MODELS).length, 1);
});

test('a server that was down is asked again by the next call', async (t) => {
  const server = await during(t, createSdapiServer());
  const provider = stableDiffusion({ url: server.url });
  let down = true;
  server.override(MODELS, () => (down ? { status: 503 } : { status: 200, body: [] }));
  assert.equal((await failure(provider)).kind, 'unavailable');
  down = false;
  assert.equal((await pictures(provider)).length, 1);
});

test('a call that leaves while it finds out does not fail the others that wait for it', async (t) => {
  const server = await during(t, createSdapiServer());
  const provider = stableDiffusion({ url: server.url });
  const controller = new AbortController();
  let asked = 0;
  server.override(MODELS, () => {
    asked += 1;
    if (asked > 1) return { status: 200, body: [] };
    // The first is never answered; whoever waits behind it must not wait for ever.
    controller.abort(new Error('the client left'));
    return undefined;
  });
  const leaving = outcome(provider, { signal: controller.signal });
  const staying = pictures(provider);
  assert.equal((await leaving).thrown, controller.signal.reason);
  assert.equal((await staying).length, 1);
});

test('a call that waits for another to find out may leave', { timeout: 20_000 }, async (t) => {
  const server = await during(t, createSdapiServer());
  const provider = stableDiffusion({ url: server.url });
  server.override(MODELS, () => undefined);
  const [first, second] = [new AbortController(), new AbortController()];
  const asking = outcome(provider, { signal: first.signal });
  const waiting = outcome(provider, { signal: second.signal });
  second.abort(new Error('the client left'));
  assert.equal((await waiting).thrown, second.signal.reason);
  first.abort(new Error('the other left too'));
  assert.equal((await asking).thrown, first.signal.reason);
});

test('a server that speaks neither is the host’s trouble, not the client’s', async (t) => {
  const server = await during(
    t,
    serve(() => ({ status: 404 })),
  );
  const error = await failure(stableDiffusion({ url: server.url }));
  assert.deepEqual([error.kind, error.billed], ['account', 'no']);
  assert.deepEqual(routes(server), [`GET ${MODELS}`, 'GET /v1/models']);
});

test('a server that does not let us in is not asked anything more', async (t) => {
  const server = await during(t, createSdapiServer({ auth: 'ann:secret' }));
  const error = await failure(stableDiffusion({ url: server.url }));
  assert.deepEqual([error.kind, error.status], ['account', 401]);
  assert.deepEqual(routes(server), [`GET ${MODELS}`]);
});

test('basic auth is sent with every request', async (t) => {
  const server = await during(t, createSdapiServer({ auth: 'änn:se:cret' }));
  const provider = stableDiffusion({ url: server.url, username: 'änn', password: 'se:cret' });
  assert.equal((await pictures(provider)).length, 1);
});

test('a key is sent with every request', async (t) => {
  const server = await during(t, createOpenAIShapedServer({ apiKey: 'sk-local' }));
  assert.equal((await pictures(stableDiffusion({ url: server.url, apiKey: 'sk-local' }))).length, 1);
  assert.equal((await failure(stableDiffusion({ url: server.url, apiKey: 'sk-other' }))).kind, 'account');
});

test('a server behind a path is asked under it', async (t) => {
  const server = await during(t, createSdapiServer());
  server.override(`/gpu1${MODELS}`, () => ({ status: 200, body: [] }));
  await outcome(stableDiffusion({ url: `${server.url}/gpu1/` }));
  assert.deepEqual(routes(server), [`GET /gpu1${MODELS}`, 'POST /gpu1/sdapi/v1/txt2img']);
});

/** An app whose Express is 4, with its own body parser before the router and without. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import express, { type Express } from 'express';
import manifest from 'express/package.json' with { type: 'json' };
import { bearerKeys, createImagesRouter, hashKey } from 'express-images-router';
import { memoryBudget } from 'express-images-router/budgets/memory';
import { placeholder } from 'express-images-router/providers/placeholder';
import { memoryStorage } from 'express-images-router/storage/memory';

assert.match(manifest.version, /^4\./);

const GENERATE = '/v1/inference/images/generate';

interface NativeAnswer {
  readonly data?: { readonly data: readonly { readonly url: string }[] };
  readonly error?: { readonly code: string };
}

function post(url: string, body: string, key = 'a-key'): Promise<Response> {
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json' };
  return fetch(url, { method: 'POST', headers, body });
}

async function expectError(answer: Response, status: number, code: string): Promise<void> {
  const { error } = (await answer.json()) as NativeAnswer;
  assert.deepEqual([answer.status, error?.code], [status, code]);
}

async function expectPictures(base: string): Promise<void> {
  const body = { model: 'placeholder/sketch', prompt: 'a lighthouse', size: '64x32' };
  const drawn = await post(base + GENERATE, JSON.stringify(body));
  assert.equal(drawn.status, 200);
  const { data } = (await drawn.json()) as NativeAnswer;
  const url = data?.data[0]?.url ?? '';
  assert.ok(url.startsWith(`${base}/v1/media/`), url);
  const media = await fetch(url);
  assert.equal(media.headers.get('content-type'), 'image/png');
  assert.ok((await media.arrayBuffer()).byteLength > 100);
  assert.equal((await fetch(url, { headers: { range: 'bytes=0-9' } })).status, 206);
  assert.equal((await fetch(url.replace(/token=.*/, 'token=x'))).status, 403);
}

async function expectModels(base: string): Promise<void> {
  const headers = { authorization: 'Bearer a-key' };
  for (const path of [
    '/v1/models',
    '/v1/models/placeholder/sketch',
    '/v1/models/placeholder%2Fsketch',
    '/oai/v1/models',
  ]) {
    assert.equal((await fetch(base + path, { headers })).status, 200, path);
  }
}

async function expectErrors(base: string, hostParses: boolean): Promise<void> {
  await expectError(await post(base + GENERATE, '{}', 'wrong'), 401, 'AUTH_TOKEN_INVALID');
  await expectError(await post(base + GENERATE, '{}'), 422, 'VALIDATION_ERROR');
  await expectError(await post(base + GENERATE, '{"model":"no/such","prompt":"x"}'), 404, 'MODEL_NOT_FOUND');
  const failing = JSON.stringify({ model: 'placeholder/sketch', prompt: '[fail:unavailable]' });
  await expectError(await post(base + GENERATE, failing), 502, 'BACKEND_ERROR');
  if (!hostParses) await expectError(await post(base + GENERATE, '{"model":'), 422, 'VALIDATION_ERROR');
  await expectError(await fetch(base + GENERATE), 405, 'METHOD_NOT_ALLOWED');
}

/** The host's routes lie behind the router: what is not the router's reaches them untouched. */
async function expectHostUntouched(origin: string, base: string): Promise<void> {
  const own = await post(`${origin}/own`, '{"a":1}');
  assert.deepEqual([own.status, await own.text(), own.headers.get('x-request-id')], [200, 'own', null]);
  assert.equal((await fetch(`${base}/v1/nothing`)).status, 404);
  assert.equal((await fetch(`${base}/v1/nothing`)).headers.get('x-request-id'), null);
  const options = await fetch(base + GENERATE, { method: 'OPTIONS' });
  assert.deepEqual([options.status, options.headers.get('x-host')], [204, 'yes']);
}

function createHost(prefix: string, hostParses: boolean): { app: Express; close(): Promise<void> } {
  const images = createImagesRouter({
    providers: [placeholder()],
    storage: memoryStorage(),
    media: { secrets: 'a secret for tests of at least 32 bytes' },
    identify: bearerKeys({ [hashKey('a-key')]: { tenant: 'acme', models: 'all', budgets: 'unlimited' } }),
    budget: memoryBudget(),
  });
  const app = express();
  if (hostParses) app.use(express.json());
  app.use(prefix, images);
  app.options('*', (_req, res) => res.set('x-host', 'yes').sendStatus(204));
  app.post('/own', (_req, res) => res.send('own'));
  return { app, close: () => images.close() };
}

for (const prefix of ['/', '/ai']) {
  for (const hostParses of [false, true]) {
    const { app, close } = createHost(prefix, hostParses);
    const server = app.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const base = origin + prefix.replace(/\/$/, '');
    await expectPictures(base);
    await expectModels(base);
    await expectErrors(base, hostParses);
    await expectHostUntouched(origin, base);
    server.close();
    await close();
  }
}

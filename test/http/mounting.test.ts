import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import express, { type ErrorRequestHandler, type Express, Router } from 'express';
import { memoryBudget } from '../../src/budgets/memory.js';
import { anyone } from '../../src/http/identify.js';
import { placeholder } from '../../src/providers/placeholder.js';
import { createImagesRouter } from '../../src/router.js';
import { memoryStorage } from '../../src/storage/memory.js';
import { createTestApp, TEST_CALLER, TEST_KEY, type TestAppOptions, testModel } from '../support/app.js';
import { ask, draw, LINK_SECRET } from '../support/media.js';

const BODY = { model: 'placeholder/sketch', prompt: 'a hill' };
const GENERATE = '/v1/inference/images/generate';

/** Every endpoint, with the methods it serves. */
const ENDPOINTS = {
  [GENERATE]: 'POST',
  '/oai/v1/images/generations': 'POST',
  '/v1/models': 'GET, HEAD',
  '/v1/models/acme/model': 'GET, HEAD',
  '/v1/models/acme%2Fmodel': 'GET, HEAD',
  '/oai/v1/models': 'GET, HEAD',
  '/oai/v1/models/acme/model': 'GET, HEAD',
  '/v1/media/img_x.png': 'GET, HEAD',
  '/v1/images/openapi.json': 'GET, HEAD',
} as const;

/** Paths close to ours that are the host's. */
const STRANGERS = [
  '/',
  '/v1',
  '/v1/inference/images',
  '/v1/inference/images/generate/more',
  '/V1/models',
  '/v1/Models',
  '/v1/media',
  '/v1/media/',
  '/v1/media/a/b',
  '/v1/modelsx',
  '/oai',
  '/oai/v1',
  '/oai/v1/images',
  '/oai/v1/chat/completions',
  '/v1/images',
  '/xv1/models',
];

/** The host's last word, which says what has been done to the request and to the answer before. */
function tell(app: Express): void {
  app.use((req, res) => {
    res.status(404).json({ from: 'host', headers: res.getHeaderNames(), body: req.body ?? null });
  });
}

/** An error handler of the host's that is never to be reached by a fault of ours. */
function trap(): { readonly handle: ErrorRequestHandler; readonly caught: unknown[] } {
  const caught: unknown[] = [];
  const handle: ErrorRequestHandler = (error, _req, res, _next) => {
    caught.push(error);
    res.status(418).json({ from: 'host' });
  };
  return { handle, caught };
}

for (const mount of ['/', '/ai', '/deep/er']) {
  test(`everything works mounted at ${mount}`, async (t) => {
    const app = await createTestApp(t, { mount });
    const { url } = await draw(app);
    assert.ok(url.startsWith(`${app.url}/v1/media/`));
    assert.equal((await fetch(url)).status, 200);
    await app.openai(BODY).expect(200);
    await app.get('/v1/models').expect(200);
    await app.get('/oai/v1/models/sketch').expect(200);
    await app.get('/v1/images/openapi.json').expect(200);
  });

  test(`the host's own paths are untouched by a router at ${mount}`, async (t) => {
    const app = await createTestApp(t, {
      mount,
      identify: () => assert.fail('nobody is asked who is there'),
      after: tell,
    });
    for (const path of STRANGERS) {
      for (const method of ['GET', 'POST', 'DELETE']) {
        const sent = method === 'POST' ? '{"a":' : undefined;
        const answer = await fetch(app.url + path, {
          method,
          headers: { 'content-type': 'application/json' },
          ...(sent !== undefined && { body: sent }),
        });
        assert.equal(answer.status, 404, `${method} ${path}`);
        const expected = { from: 'host', headers: ['x-powered-by'], body: null };
        assert.deepEqual(await answer.json(), expected, `${method} ${path}`);
      }
    }
    assert.deepEqual(app.events, []);
  });
}

test('routes of the host before and after the router serve as if it were not there', async (t) => {
  const app = await createTestApp(t, {
    before: (host) => host.get('/v1/mine', (_req, res) => void res.send('before')),
    after: (host) => {
      host.post('/v1/images/mine', express.json(), (req, res) => void res.send(req.body));
    },
  });
  const before = await app.http.get('/v1/mine').expect(200);
  assert.equal(before.text, 'before');
  const after = await app.http.post('/v1/images/mine').send({ a: 1 }).expect(200);
  assert.deepEqual(after.body, { a: 1 });
  for (const { headers } of [before, after]) assert.equal(headers['x-request-id'], undefined);
});

test('a route of the host before the router shadows ours', async (t) => {
  const app = await createTestApp(t, {
    before: (host) => host.get('/v1/models', (_req, res) => void res.json({ mine: true })),
  });
  assert.deepEqual((await app.get('/v1/models').expect(200)).body, { mine: true });
});

for (const [path, allow] of Object.entries(ENDPOINTS)) {
  test(`other methods of ${path} are 405, before anybody is asked who is there`, async (t) => {
    const app = await createTestApp(t, { identify: () => assert.fail('identify was called') });
    const served: readonly string[] = allow.split(', ');
    for (const method of ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'PROPFIND']) {
      if (served.includes(method)) continue;
      const { status, headers, body } = await ask({ port: app.port, path, method });
      assert.equal(status, 405, method);
      assert.equal(headers.allow, allow);
      assert.equal(headers['x-should-retry'], 'false');
      if (method === 'HEAD') continue;
      const { error } = JSON.parse(body.toString());
      assert.equal(error.code.toUpperCase(), 'METHOD_NOT_ALLOWED');
      assert.equal('type' in error, path.startsWith('/oai'));
    }
  });

  test(`OPTIONS of ${path} is the host's`, async (t) => {
    const app = await createTestApp(t, {
      after: (host) => host.options(/.*/, (_req, res) => void res.json(res.getHeaderNames())),
    });
    const { status, body } = await ask({ port: app.port, path, method: 'OPTIONS' });
    assert.equal(status, 200);
    assert.deepEqual(JSON.parse(body.toString()), ['x-powered-by']);
  });
}

test('two routers in one app keep to themselves', async (t) => {
  const storage = memoryStorage();
  const second = createImagesRouter({
    providers: [placeholder({ models: [testModel({ slug: 'second/only' })] })],
    storage,
    media: { secrets: 'the secret of the second of two routers' },
    identify: anyone({ ...TEST_CALLER, tenant: 'other' }),
    budget: memoryBudget(),
  });
  const app = await createTestApp(t, {
    mount: '/one',
    storage,
    media: { secrets: LINK_SECRET },
    after: (host) => host.use('/two', second),
  });
  const two = app.url.replace(/\/one$/, '/two');
  const drawn = await fetch(`${two}${GENERATE}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ ...BODY, model: 'second/only' }),
  });
  const { data } = (await drawn.json()) as { data: { data: { url: string }[] } };
  const url = data.data[0]?.url ?? '';
  assert.ok(url.startsWith(`${two}/v1/media/`), url);
  assert.equal((await fetch(url)).status, 200);
  assert.equal((await fetch(url.replace('/two/', '/one/'))).status, 403, 'their secrets differ');
  await app.native({ ...BODY, model: 'second/only' }).expect(404);
  assert.equal((await fetch(`${app.url}/v1/models`)).status, 401);
  assert.equal((await fetch(`${two}/v1/models`)).status, 200);
  await second.close();
  await app.native(BODY).expect(200);
});

test('one router may be mounted twice', async (t) => {
  const app = await createTestApp(t, { mount: '/a' });
  app.app.use('/b', app.router);
  const answer = await fetch(`${app.url.replace(/\/a$/, '/b')}${GENERATE}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${TEST_KEY}`, 'content-type': 'application/json' },
    body: JSON.stringify(BODY),
  });
  const { data } = (await answer.json()) as { data: { data: { url: string }[] } };
  const url = data.data[0]?.url ?? '';
  assert.match(url, /^http:\/\/127\.0\.0\.1:\d+\/b\/v1\/media\//);
  assert.equal((await fetch(url)).status, 200);
  assert.equal((await fetch(url.replace('/b/', '/a/'))).status, 200);
});

test("a router nested in the host's own, and in an app of an app, has its whole path in URLs", async (t) => {
  const app = await createTestApp(t, { mount: '/inner' });
  const nested = Router({ mergeParams: true }).use('/images', app.router);
  const sub = express().use('/t/:tenant', nested);
  const server = createServer(express().use('/api', sub)).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}/api/t/acme%20inc/images`;
  const answer = await fetch(`${base}${GENERATE}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${TEST_KEY}`, 'content-type': 'application/json', connection: 'close' },
    body: JSON.stringify(BODY),
  });
  const { data } = (await answer.json()) as { data: { data: { url: string }[] } };
  const url = data.data[0]?.url ?? '';
  assert.ok(url.startsWith(`${base}/v1/media/`), url);
  assert.equal((await fetch(url, { headers: { connection: 'close' } })).status, 200);
});

test("paths are ours to the letter, whatever the host's routing is like", async (t) => {
  const app = await createTestApp(t, {
    before: (host) => host.disable('case sensitive routing').disable('strict routing'),
    after: tell,
  });
  await app.get('/v1/models').expect(200);
  await app.get('/V1/models').expect(404);
  await app.get('/v1/models/PLACEHOLDER/sketch').expect(404, /MODEL_NOT_FOUND/);
});

test('a slash at the end of a path makes no difference', async (t) => {
  const app = await createTestApp(t);
  await app.get('/v1/models/').expect(200);
  await app.get('/oai/v1/models/').expect(200);
  const answer = await fetch(`${app.url}${GENERATE}/`, {
    method: 'POST',
    headers: { authorization: `Bearer ${TEST_KEY}`, 'content-type': 'application/json' },
    body: JSON.stringify(BODY),
  });
  assert.equal(answer.status, 200);
});

const PARSERS: Readonly<Record<string, (app: Express) => void>> = {
  none: () => undefined,
  'express.json()': (app) => app.use(express.json()),
  'express.json() and express.urlencoded()': (app) => app.use(express.json(), express.urlencoded()),
  'express.raw() of everything': (app) => app.use(express.raw({ type: '*/*' })),
  'express.text() of everything': (app) => app.use(express.text({ type: '*/*' })),
  'express.json() and express.raw()': (app) => app.use(express.json(), express.raw({ type: '*/*' })),
};

for (const [name, before] of Object.entries(PARSERS)) {
  test(`bodies are read behind the host's parser: ${name}`, async (t) => {
    const app = await createTestApp(t, { before });
    const { body } = await app.native({ ...BODY, unknown: 1, n: 2 }).expect(200);
    assert.equal(body.data.data.length, 2);
    assert.equal(body.data.warnings[0].field, 'unknown');
    const openai = await app.openai(BODY).expect(200);
    assert.equal(openai.body.data.length, 1);
    const faulty = await app.native({ ...BODY, n: 'x' }).expect(422);
    assert.equal(faulty.body.error.details[0].field, 'n');
    const wrong = await app.native(JSON.stringify(BODY)).set('Content-Type', 'text/plain').expect(422);
    assert.equal(wrong.body.error.details[0].field, 'body');
    const empty = await app.native('').expect(422);
    assert.equal(empty.body.error.details[0].field, 'body');
  });
}

test('a compressed body is read where the host reads none', async (t) => {
  const { gzipSync } = await import('node:zlib');
  for (const before of [PARSERS.none, PARSERS['express.json()']]) {
    const app = await createTestApp(t, { before });
    const answer = await fetch(`${app.url}${GENERATE}`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${TEST_KEY}`,
        'content-type': 'application/json',
        'content-encoding': 'gzip',
      },
      body: gzipSync(JSON.stringify(BODY)),
    });
    assert.equal(answer.status, 200);
  }
});

test("what the host's parser refuses is the host's to answer", async (t) => {
  const { handle, caught } = trap();
  const app = await createTestApp(t, {
    before: (host) => host.use(express.json({ limit: 100 })),
    after: (host) => host.use(handle),
  });
  await app.native('{"model":').expect(418);
  await app.native({ ...BODY, prompt: 'x'.repeat(200) }).expect(418);
  assert.equal(caught.length, 2);
  assert.deepEqual(app.events, []);
});

test("without a parser of the host's, what cannot be read is ours to answer", async (t) => {
  const { handle, caught } = trap();
  const app = await createTestApp(t, { after: (host) => host.use(handle) });
  const { body } = await app.native('{"model":').expect(422);
  assert.equal(body.error.code, 'VALIDATION_ERROR');
  assert.deepEqual(caught, []);
});

const FAULTS: Readonly<Record<string, { readonly options: TestAppOptions; readonly status: number }>> = {
  'identify throws': { options: { identify: () => Promise.reject(new Error('down')) }, status: 500 },
  'the provider throws': { options: { placeholder: { fail: () => new Error('bug') } }, status: 502 },
  'storage throws': {
    options: { storage: { ...memoryStorage(), put: () => Promise.reject(new Error('full')) } },
    status: 503,
  },
  'the budget throws': {
    options: { budget: { ...memoryBudget(), reserve: () => Promise.reject(new Error('gone')) } },
    status: 503,
  },
};

for (const [name, { options, status }] of Object.entries(FAULTS)) {
  test(`the host's error handler never hears of it when ${name}`, async (t) => {
    const { handle, caught } = trap();
    const app = await createTestApp(t, { ...options, after: (host) => host.use(handle) });
    await app.native(BODY).expect(status);
    await app.openai(BODY).expect(status);
    assert.deepEqual(caught, []);
  });
}

test("a host's middleware that knows the caller needs no header of ours", async (t: TestContext) => {
  const app = await createTestApp(t, {
    before: (host) => {
      host.use((req, _res, next) => {
        Object.assign(req, { tenant: 'acme' });
        next();
      });
    },
    identify: (req) => 'tenant' in req && { ...TEST_CALLER, tenant: String(req.tenant) },
  });
  await app.http.post(GENERATE).send(BODY).expect(200);
});

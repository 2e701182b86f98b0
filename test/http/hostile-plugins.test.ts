import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { memoryBudget } from '../../src/budgets/memory.js';
import { ImagesError } from '../../src/errors.js';
import { anyone } from '../../src/http/identify.js';
import { placeholder } from '../../src/providers/placeholder.js';
import { createImagesRouter } from '../../src/router.js';
import { memoryStorage } from '../../src/storage/memory.js';
import { createTestApp, TEST_CALLER, until } from '../support/app.js';

const BODY = { model: 'placeholder/sketch', prompt: 'a' };

test('an error with a reason named like a method of every object is answered like any other', async (t) => {
  const identify = () => {
    throw new ImagesError('BACKEND_ERROR', 'No.', { reason: 'constructor' });
  };
  const app = await createTestApp(t, { identify });
  const { body } = await app.native(BODY).expect(502);
  assert.equal(body.error.code, 'BACKEND_ERROR');
});

test('a listener whose promise is rejected harms nobody', async (t) => {
  const rejections: unknown[] = [];
  const note = (reason: unknown) => rejections.push(reason);
  process.on('unhandledRejection', note);
  t.after(() => process.off('unhandledRejection', note));
  const router = createImagesRouter({
    providers: [placeholder()],
    storage: memoryStorage(),
    media: { secrets: 'a secret that only tests know, 32+ bytes' },
    identify: anyone(TEST_CALLER),
    budget: memoryBudget(),
    onEvent: async () => {
      throw new Error('the log is full');
    },
  });
  const app = await createTestApp(t, { after: (host) => host.use('/second', router) });
  const answer = await fetch(`${app.url}/second/v1/models/no/such`);
  assert.equal(answer.status, 404);
  await sleep(20);
  assert.deepEqual(rejections, []);
  await router.close();
});

test('a replay does not wait for storage that hangs', async (t) => {
  const storage = memoryStorage();
  let hangs = false;
  const app = await createTestApp(t, {
    storage: { ...storage, get: (...args) => (hangs ? new Promise(() => undefined) : storage.get(...args)) },
    limits: { storageMs: 200 },
  });
  const body = { ...BODY, response_format: 'b64_json' };
  await app.native(body).set('Idempotency-Key', 'k').expect(200);
  hangs = true;
  const { body: refused } = await app.native(body).set('Idempotency-Key', 'k').expect(503);
  assert.equal(refused.error.code, 'STORAGE_ERROR');
});

test('a replay whose picture was never stored is an error, not an empty success', async (t) => {
  const storage = { ...memoryStorage(), put: () => Promise.reject(new Error('full')) };
  const app = await createTestApp(t, { storage, limits: { spoolBytes: 1 } });
  const body = { ...BODY, response_format: 'b64_json' };
  await app.native(body).set('Idempotency-Key', 'k').expect(200);
  const { body: refused, headers } = await app.native(body).set('Idempotency-Key', 'k').expect(503);
  assert.equal(refused.error.code, 'STORAGE_ERROR');
  assert.equal(headers['x-should-retry'], 'false');
});

test('an error of another copy of the package is replayed as it was', async (t) => {
  // What a plugin with its own copy throws: branded alike, of another class.
  const foreign = Object.assign(new Error('It came out wrong.'), {
    ...{ code: 'UPSTREAM_SHAPE_MISMATCH', kind: 'shape', billed: 'yes', details: undefined },
    ...{ reason: undefined, retryAfter: undefined, status: undefined, upstreamId: undefined },
  });
  for (const brand of ['ImagesError', 'ProviderError']) {
    Object.defineProperty(foreign, Symbol.for(`express-images-router.${brand}`), { value: true });
  }
  const app = await createTestApp(t, { placeholder: { fail: () => foreign } });
  const first = await app.native(BODY).set('Idempotency-Key', 'k').expect(502);
  const again = await app.native(BODY).set('Idempotency-Key', 'k').expect(502);
  assert.deepEqual(again.body.error, first.body.error);
});

test('a body storage opens too late is closed', async (t) => {
  const storage = memoryStorage();
  let closed = 0;
  let late = false;
  const app = await createTestApp(t, {
    limits: { storageMs: 50 },
    storage: {
      ...storage,
      async get(...args) {
        const object = await storage.get(...args);
        if (!late || object === undefined) return object;
        await sleep(200);
        const body = {
          async *[Symbol.asyncIterator]() {
            yield new Uint8Array();
          },
        };
        const iterator = () => ({ next: async () => ({ done: true, value: undefined }), return: note });
        const note = async () => {
          closed += 1;
          return { done: true, value: undefined };
        };
        return {
          ...object,
          body: { ...body, [Symbol.asyncIterator]: iterator } as AsyncIterable<Uint8Array>,
        };
      },
    },
  });
  const { body } = await app.native(BODY).expect(200);
  late = true;
  assert.equal((await fetch(body.data.data[0].url)).status, 503);
  await until(() => closed === 1);
});

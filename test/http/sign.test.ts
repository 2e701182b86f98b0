import assert from 'node:assert/strict';
import { test } from 'node:test';
import { tenantTag } from '../../src/media/picture-id.js';
import { memoryStorage } from '../../src/storage/memory.js';
import { createTestApp, TEST_KEY, type TestApp } from '../support/app.js';

function sign(app: TestApp, body: object) {
  return app.http.post('/v1/media/sign').set('Authorization', `Bearer ${TEST_KEY}`).send(body);
}

async function drawn(app: TestApp, n = 1): Promise<readonly string[]> {
  const { body } = await app.native({ model: 'placeholder/sketch', prompt: 'a', n }).expect(200);
  return body.data.data.map(({ id }: { readonly id: string }) => id);
}

test('a picture’s id gets a fresh link that opens it', async (t) => {
  const app = await createTestApp(t);
  const [id] = await drawn(app);
  const { body, headers } = await sign(app, { ids: [id] }).expect(200);
  assert.equal(body.status, 'ok');
  assert.equal(body.meta.request_id, headers['x-request-id']);
  const [item] = body.data.items;
  assert.equal(item.id, id);
  const now = Date.now() / 1000;
  assert.ok(item.expires_at > now + 3500 && item.expires_at <= now + 3660, 'the usual life of a link');
  const picture = await fetch(item.url);
  assert.equal(picture.status, 200);
  assert.equal(picture.headers.get('content-type'), 'image/png');
});

test('a hundred ids are answered in the order asked, missing ones with a code', async (t) => {
  const app = await createTestApp(t);
  const [id = ''] = await drawn(app);
  const gone = `${id.slice(0, -32)}${'0'.repeat(32)}`;
  const ids = Array.from({ length: 100 }, (_, place) =>
    place % 3 === 0 ? id : place % 3 === 1 ? gone : 'nonsense',
  );
  const { body } = await sign(app, { ids }).expect(200);
  assert.deepEqual(
    body.data.items.map((item: { id: string; code?: string; url?: string }) => [
      item.id,
      item.code ?? typeof item.url,
    ]),
    ids.map((asked) => [asked, asked === id ? 'string' : 'MEDIA_NOT_FOUND']),
  );
});

test('another tenant’s picture looks like one that never was', async (t) => {
  const storage = memoryStorage();
  const owner = await createTestApp(t, { storage });
  const stranger = await createTestApp(t, { storage, caller: { tenant: 'other' } });
  const [id] = await drawn(owner);
  const { body } = await sign(stranger, { ids: [id] }).expect(200);
  assert.deepEqual(body.data.items, [{ id, code: 'MEDIA_NOT_FOUND' }]);
});

test('ttl_seconds sets the life of the link, up to the ceiling', async (t) => {
  const app = await createTestApp(t);
  const [id] = await drawn(app);
  const { body } = await sign(app, { ids: [id], ttl_seconds: 60 }).expect(200);
  assert.ok(body.data.items[0].expires_at <= Date.now() / 1000 + 121, 'a minute, rounded up to a minute');
  const refused = await sign(app, { ids: [id], ttl_seconds: 86_401 }).expect(422);
  assert.deepEqual(refused.body.error.details, [
    { field: 'ttl_seconds', message: 'expected a whole number of seconds from 1 to 86400' },
  ]);
});

for (const [what, body] of Object.entries({
  'no ids': {},
  'an empty list': { ids: [] },
  'a hundred and one ids': { ids: Array.from({ length: 101 }, String) },
  'ids that are no text': { ids: [1] },
})) {
  test(`${what} cannot be signed`, async (t) => {
    const app = await createTestApp(t);
    const refused = await sign(app, body).expect(422);
    assert.equal(refused.body.error.code, 'VALIDATION_ERROR');
    assert.match(refused.body.error.details[0].field, /^ids(\[0\])?$/);
  });
}

test('a viewer may not sign', async (t) => {
  const app = await createTestApp(t, { caller: { role: 'viewer' } });
  const refused = await sign(app, { ids: ['x'] }).expect(403);
  assert.equal(refused.body.error.code, 'AUTHZ_PERMISSION_DENIED');
});

test('storage that fails is 503 and an event', async (t) => {
  const broken = { ...memoryStorage(), stat: () => Promise.reject(new Error('down')) };
  const app = await createTestApp(t, { storage: broken });
  const id = `img_20260101_${tenantTag('acme')}_${'a'.repeat(32)}`;
  const refused = await sign(app, { ids: [id] }).expect(503);
  assert.equal(refused.body.error.code, 'STORAGE_ERROR');
  assert.equal(app.eventsOf('storage.failed')[0]?.operation, 'stat');
});

test('look-ups that hang end with the time of the request, each as its own failure', async (t) => {
  const memory = memoryStorage();
  let hangs = '';
  const storage: typeof memory = {
    ...memory,
    stat: (key) => (key.includes(hangs) ? new Promise(() => undefined) : memory.stat(key)),
  };
  const app = await createTestApp(t, { storage, limits: { requestMs: 1000, storageMs: 600_000 } });
  const [sound = '', hung = ''] = await drawn(app, 2);
  hangs = hung;
  const ids = [sound, ...Array.from({ length: 30 }, () => hung)];
  const { body } = await sign(app, { ids }).expect(200);
  assert.deepEqual(
    body.data.items.map(({ code }: { readonly code?: string }) => code),
    [undefined, ...Array.from({ length: 30 }, () => 'STORAGE_ERROR')],
  );
  assert.match(String(app.eventsOf('storage.failed')[0]?.cause), /time of the request/);
});

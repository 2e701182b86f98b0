/** Whoever has a picture already is told so from memory, within bounds. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { mediaFile } from '../../src/media/picture-id.js';
import { memoryStorage } from '../../src/storage/memory.js';
import { createTestApp, until } from '../support/app.js';
import { ask, LINK_SECRET, linkSigner, type PlacedFacts, place, recordingStorage } from '../support/media.js';
import { picture } from '../support/pictures.js';

async function stage(t: TestContext, facts: PlacedFacts = {}) {
  const storage = recordingStorage(memoryStorage());
  const app = await createTestApp(t, { storage, media: { secrets: LINK_SECRET } });
  const placed = await place(storage, await picture('png'), facts);
  const get = (headers: Record<string, string> = {}, path = placed.path) =>
    ask({ port: app.port, path }, headers);
  const etag = String((await get()).headers.etag);
  storage.asked.length = 0;
  return { app, storage, placed, get, etag };
}

test('a 304 within a minute asks storage nothing, and one after it once', async (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: Date.now() });
  const { get, etag, storage } = await stage(t);
  t.mock.timers.tick(59_000);
  for (const condition of [
    { 'if-none-match': etag },
    { 'if-modified-since': 'Fri, 01 Jan 2100 00:00:00 GMT' },
  ]) {
    assert.equal((await get(condition)).status, 304);
  }
  assert.deepEqual(storage.asked, []);
  t.mock.timers.tick(1_001);
  assert.equal((await get({ 'if-none-match': etag })).status, 304);
  assert.deepEqual(storage.asked, ['stat original']);
});

test('a part of a picture takes one look-up within a minute of another, and so does one whose copy is old', async (t) => {
  const { get, storage } = await stage(t);
  assert.equal((await get({ range: 'bytes=-10' })).status, 206);
  assert.equal((await get({ 'if-none-match': '"another"' })).status, 200);
  assert.deepEqual(storage.asked, ['get original', 'get original']);
  assert.equal((await get({ range: 'bytes=999999999-' })).status, 416);
  assert.deepEqual(storage.asked.slice(2), ['stat original'], 'what has no body could have gone');
});

test('only what has no body is answered from memory: all else is looked up', async (t) => {
  const { get, storage } = await stage(t);
  assert.equal((await get({ 'if-none-match': '"another"' })).status, 200);
  assert.equal((await get({ range: 'bytes=0-9' })).status, 206);
  assert.equal((await get()).status, 200);
  assert.equal(storage.asked.filter((asked) => asked === 'get original').length, 3);
});

test('a picture that somebody else removed is not served, whatever is remembered of it', async (t) => {
  const { get, storage, placed } = await stage(t);
  const version = `${placed.path}&w=64&format=webp`;
  assert.equal((await get({}, version)).status, 200);
  await storage.delete(placed.key);
  for (const headers of [{}, { 'if-none-match': '"another"' }, { range: 'bytes=0-9' }] as Record<
    string,
    string
  >[]) {
    assert.equal((await get(headers)).status, 404);
    assert.equal((await get(headers, version)).status, 404);
  }
});

for (const [name, remove] of Object.entries({
  deletePicture: ({ app, placed }) => app.router.deletePicture(placed.id),
  deleteTenant: ({ app }) => app.router.deleteTenant('acme'),
} satisfies Record<string, (staged: Awaited<ReturnType<typeof stage>>) => Promise<void>>)) {
  test(`after ${name} nobody is told that a picture is unchanged`, async (t) => {
    const staged = await stage(t);
    const { get, etag, placed } = staged;
    assert.equal((await get({ 'if-none-match': etag })).status, 304);
    await remove(staged);
    assert.equal((await get({ 'if-none-match': etag })).status, 404);
    assert.equal((await get({ 'if-none-match': '*' }, `${placed.path}&w=64&format=webp`)).status, 404);
  });
}

test('what storage says while a picture is removed is not remembered', async (t) => {
  const memory = memoryStorage();
  let answer: (() => void) | undefined;
  let isHeld = false;
  const storage = {
    ...memory,
    async stat(key: string) {
      const info = await memory.stat(key);
      if (isHeld)
        await new Promise<void>((resolve) => {
          answer = resolve;
        });
      return info;
    },
  };
  const app = await createTestApp(t, { storage, media: { secrets: LINK_SECRET } });
  const placed = await place(storage, await picture('png'));
  const get = () => ask({ port: app.port, path: placed.path }, { 'if-none-match': '*' });
  isHeld = true;
  const early = get();
  await until(() => answer !== undefined);
  await app.router.deletePicture(placed.id);
  answer?.();
  assert.equal((await early).status, 304);
  isHeld = false;
  assert.equal((await get()).status, 404);
});

test('a picture that expires within the minute is gone when it expires', async (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: Date.now() });
  const { get, etag, placed } = await stage(t, { expiresAt: Date.now() + 30_000 });
  const file = mediaFile(placed.id, 'image/png');
  const longer = `/v1/media/${file}?token=${linkSigner.sign(file, Date.now() + 3_600_000)}`;
  assert.equal((await get({ 'if-none-match': etag }, longer)).status, 304);
  t.mock.timers.tick(30_000);
  assert.equal((await get({ 'if-none-match': etag }, longer)).status, 404);
});

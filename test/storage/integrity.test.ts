/** What is stored and no longer what was stored: an error, never wrong bytes, and found by a sweep that verifies. */
import assert from 'node:assert/strict';
import { readdir, readFile, rename, stat, truncate, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { MediaStorage } from '../../src/core/storage.js';
import { ConfigError, isImagesError } from '../../src/errors.js';
import { pictureKey } from '../../src/media/picture-id.js';
import { filesystem } from '../../src/storage/filesystem.js';
import { memoryStorage } from '../../src/storage/memory.js';
import { createTestApp, TEST_KEY, type TestApp, until } from '../support/app.js';
import { ask, countingStorage, draw } from '../support/media.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import { factsOf, keyOf, readAndHash } from './samples.js';

const small = Buffer.from('a small picture');
const big = Buffer.alloc(3_000_000, 'a big picture ');

function isDamaged(error: unknown): boolean {
  return isImagesError(error) && error.code === 'STORAGE_ERROR' && error.reason === 'damaged';
}

/** Changes a file as a failing disk does: its modification time, which is the expiry, stays. */
async function spoil(path: string, change: (bytes: Buffer) => Uint8Array): Promise<void> {
  const { mtime } = await stat(path);
  await writeFile(path, change(await readFile(path)));
  await utimes(path, mtime, mtime);
}

function flip(path: string, at: number): Promise<void> {
  return spoil(path, (bytes) => bytes.fill((bytes[at] ?? 0) ^ 1, at, at + 1));
}

async function flipLast(path: string): Promise<void> {
  await flip(path, (await stat(path)).size - 1);
}

function cut(path: string): Promise<void> {
  return spoil(path, (bytes) => bytes.subarray(0, 900));
}

/** An app whose pictures are files, and where the file of each is. */
async function appOnDisk(
  t: TestContext,
): Promise<{ app: TestApp; folder: string; fileOf: (id: string) => string }> {
  const root = await temporaryFolder(t);
  const app = await createTestApp(t, { storage: filesystem({ root }) });
  return { app, folder: root, fileOf: (id) => `${join(root, pictureKey(id))}@object` };
}

for (const [name, body] of Object.entries({ small, big })) {
  test(`a file of a ${name} object in which any byte has changed is an error, and its last chunk never comes`, async (t) => {
    const root = await temporaryFolder(t);
    const storage = filesystem({ root });
    await storage.put(keyOf('a'), body, factsOf(body));
    const path = `${join(root, keyOf('a'))}@object`;
    const { byteLength } = await readFile(path);
    for (const fromEnd of [1, 8, body.byteLength]) {
      await flip(path, byteLength - fromEnd);
      let read = 0;
      const reading = async () => {
        for await (const chunk of (await storage.get(keyOf('a')))?.body ?? []) read += chunk.byteLength;
      };
      await assert.rejects(reading, isDamaged, `${fromEnd} from the end`);
      assert.ok(read < body.byteLength, 'nobody takes it for the whole object');
      await flip(path, byteLength - fromEnd);
    }
    assert.equal((await readAndHash(storage, keyOf('a')))?.read, body.byteLength);
  });
}

test('a range of a whole object is served although the checksum is one of all bytes', async (t) => {
  const storage = filesystem({ root: await temporaryFolder(t) });
  await storage.put(keyOf('a'), big, factsOf(big));
  const object = await storage.get(keyOf('a'), { range: { start: 0, end: 1_000_000 } });
  let read = 0;
  for await (const chunk of object?.body ?? []) read += chunk.byteLength;
  assert.equal(read, 1_000_001);
});

test('a picture whose bytes rotted breaks the connection, and as base64 it is STORAGE_ERROR', async (t) => {
  const { app, fileOf } = await appOnDisk(t);
  const body = { model: 'placeholder/sketch', prompt: 'a', response_format: 'b64_json' };
  const keyed = () => app.native(body).set('Idempotency-Key', 'k');
  const { url, id } = await draw(app);
  const [{ id: encodedId }] = (await keyed().expect(200)).body.data.data;
  for (const rotten of [id, encodedId]) await flip(fileOf(rotten), 900);

  const { pathname, search } = new URL(url);
  await assert.rejects(ask({ port: app.port, path: pathname + search }));
  const { body: answer } = await keyed().expect(503);
  assert.equal(answer.error.code, 'STORAGE_ERROR');
  assert.equal(answer.error.reason, 'damaged');
  assert.deepEqual(
    app.eventsOf('storage.damaged').map((event) => event.id),
    [id, encodedId],
  );
});

test('a storage that hands out other bytes than it says is noticed where they are read whole', async (t) => {
  const sound = memoryStorage();
  const storage: MediaStorage = {
    ...sound,
    put: (key, bytes, options) => sound.put(key, Buffer.from(bytes).fill(0, 100, 101), options),
  };
  const app = await createTestApp(t, { storage });
  const body = { model: 'placeholder/sketch', prompt: 'a', response_format: 'b64_json' };
  await app.native(body).set('Idempotency-Key', 'k').expect(200);
  const { body: answer } = await app.native(body).set('Idempotency-Key', 'k').expect(503);
  assert.equal(answer.error.code, 'STORAGE_ERROR');
});

test('pictures that were swapped or cut are STORAGE_ERROR', async (t) => {
  const { app, fileOf } = await appOnDisk(t);
  const [one, other, short] = [await draw(app), await draw(app, { seed: 2 }), await draw(app, { seed: 3 })];
  await rename(fileOf(one.id), `${fileOf(one.id)}.aside`);
  await rename(fileOf(other.id), fileOf(one.id));
  await rename(`${fileOf(one.id)}.aside`, fileOf(other.id));
  await cut(fileOf(short.id));
  for (const { url } of [one, other, short]) {
    for (const headers of [{}, { range: 'bytes=0-9' }]) {
      const answer = await fetch(url, { headers });
      assert.equal(answer.status, 503);
      assert.equal(((await answer.json()) as { error: { code: string } }).error.code, 'STORAGE_ERROR');
    }
  }
});

test('a sweep that verifies finds what is swapped, cut and rotten, says whose it is, and leaves it there', async (t) => {
  const { app, fileOf } = await appOnDisk(t);
  const pictures = [];
  for (let seed = 0; seed < 6; seed += 1) pictures.push(await draw(app, { seed }));
  const [rotten, short, foreign, header, ...sound] = pictures.map(({ id }) => id);
  assert.ok(rotten && short && foreign && header && sound[0], 'there are six');
  const other = await readFile(fileOf(sound[0]));
  await flip(fileOf(rotten), 900);
  await cut(fileOf(short));
  await spoil(fileOf(foreign), () => other);
  await flip(fileOf(header), 30);

  assert.deepEqual(await app.router.sweep(), { removed: 0, orphans: 0, checked: 0, damaged: 0, unread: 0 });
  assert.deepEqual(app.eventsOf('storage.damaged'), []);
  const report = { removed: 0, orphans: 0, checked: 6, damaged: 4, unread: 0 };
  assert.deepEqual(await app.router.sweep({ verify: true }), report);
  const found = app.eventsOf('storage.damaged');
  assert.deepEqual(found.map(({ id }) => id).sort(), [rotten, short, foreign, header].sort());
  assert.ok(
    found.every(({ id, key, level }) => key === pictureKey(id ?? '') && level === 'error'),
    'with their keys',
  );
  for (const { id } of found) await app.router.deletePicture(id ?? '');
  assert.deepEqual(await app.router.sweep({ verify: true }), { ...report, checked: 2, damaged: 0 });
  assert.equal((await readdir(join(fileOf(sound[0]), '..'))).length, 1, 'what is sound is still there');
});

test('a file that was rewritten or cut just now is told as damaged and kept, however long pictures are kept', async (t) => {
  const { app, fileOf } = await appOnDisk(t);
  const [short, header] = [await draw(app), await draw(app, { seed: 2 })];
  await truncate(fileOf(short.id), 900);
  await writeFile(fileOf(header.id), (await readFile(fileOf(header.id))).fill(0, 30, 31));
  const report = { removed: 0, orphans: 0, checked: 2, damaged: 2, unread: 0 };
  assert.deepEqual(await app.router.sweep({ verify: true }), report);
  assert.equal(app.eventsOf('storage.damaged').length, 2);
  for (const { id } of [short, header]) assert.ok(await stat(fileOf(id)), 'it is still there');
});

test('a sweep that verifies compares with the digest, whatever the storage itself checks', async (t) => {
  const storage = memoryStorage();
  const app = await createTestApp(t, { storage });
  await storage.put(keyOf('rotten'), small, factsOf(big));
  await storage.put(keyOf('sound'), small, factsOf(small));
  const { checked, damaged } = await app.router.sweep({ verify: true });
  assert.deepEqual({ checked, damaged }, { checked: 2, damaged: 1 });
  const [event] = app.eventsOf('storage.damaged');
  assert.equal(event?.key, keyOf('rotten'));
  assert.equal(event?.id, undefined, 'it is no picture of the router');
});

test('a sweep that verifies holds one chunk of one object at a time, and can be aborted', async (t) => {
  const storage = countingStorage(memoryStorage());
  let most = 0;
  const get: MediaStorage['get'] = async (...args) => {
    const object = await storage.get(...args);
    most = Math.max(most, storage.open());
    return object;
  };
  const app = await createTestApp(t, { storage: { ...storage, get } });
  for (let index = 0; index < 20; index += 1) await storage.put(keyOf(`${index}`), big, factsOf(big));
  assert.equal((await app.router.sweep({ verify: true })).checked, 20);
  assert.equal(most, 1);

  const abort = new AbortController();
  const before = storage.opened();
  const sweeping = app.router.sweep({ verify: true, signal: abort.signal });
  abort.abort(new Error('shutting down'));
  await assert.rejects(sweeping, /shutting down/);
  assert.ok(storage.opened() - before < 20, 'it did not go on');
  assert.equal(storage.open(), 0);
});

test('objects that cannot be read, or hang, are counted and the others verified', async (t) => {
  const sound = memoryStorage();
  for (const name of ['broken', 'hanging', 'stuck', 'sound']) {
    await sound.put(keyOf(name), small, factsOf(small));
  }
  const stuck = { [Symbol.asyncIterator]: () => ({ next: () => new Promise<never>(() => undefined) }) };
  const get: MediaStorage['get'] = async (key, options) => {
    if (key === keyOf('broken')) throw new Error('EIO');
    if (key === keyOf('hanging')) return new Promise(() => undefined);
    const object = await sound.get(key, options);
    return object && key === keyOf('stuck') ? { ...object, body: stuck } : object;
  };
  const app = await createTestApp(t, { storage: { ...sound, get }, limits: { storageMs: 50 } });
  const report = { removed: 0, orphans: 0, checked: 1, damaged: 0, unread: 3 };
  assert.deepEqual(await app.router.sweep({ verify: true }), report);
  assert.equal(app.eventsOf('storage.failed').length, 3);
});

test('a storage that cannot list is a ConfigError before anything is swept', async (t) => {
  const { list: _, ...storage } = memoryStorage();
  const app = await createTestApp(t, { storage });
  await assert.rejects(
    app.router.sweep({ verify: true }),
    (error) => error instanceof ConfigError && error.path === 'storage',
  );
  assert.equal((await app.router.sweep()).checked, 0);
});

test('a damaged picture fails alone among those to be signed, and the host is told which it is', async (t) => {
  const { app, fileOf } = await appOnDisk(t);
  const [sound, rotten] = [await draw(app), await draw(app)];
  await cut(fileOf(rotten.id));
  const sign = (ids: readonly string[]) =>
    app.http.post('/v1/media/sign').set('Authorization', `Bearer ${TEST_KEY}`).send({ ids });
  const { body } = await sign([rotten.id, sound.id, 'nonsense']).expect(200);
  const [first, second, third] = body.data.items;
  assert.deepEqual(first, { id: rotten.id, code: 'STORAGE_ERROR' });
  assert.equal((await fetch(second.url)).status, 200);
  assert.deepEqual(third, { id: 'nonsense', code: 'MEDIA_NOT_FOUND' });
  assert.deepEqual(
    app.eventsOf('storage.damaged').map(({ id }) => id),
    [rotten.id],
  );
  await sign([rotten.id, rotten.id]).expect(503);
});

for (const [what, damage, firstAnswer] of [
  ['cut short', cut, 'whole'],
  ['changed in its last byte', flipLast, 'broken off'],
] as const) {
  test(`a smaller version that is ${what} is told as damaged and made again; its first reader's answer is ${firstAnswer}`, async (t) => {
    const { app, folder } = await appOnDisk(t);
    const { id, url } = await draw(app, { size: '1024x1024' });
    const read = async () => Buffer.from(await (await fetch(`${url}&w=512&format=jpeg`)).arrayBuffer());
    const sound = await read();
    const file = (await readdir(folder, { recursive: true })).find((name) => name.includes('512x512-jpeg'));
    await damage(join(folder, file ?? ''));

    const first = await read().catch(() => undefined);
    assert.equal(first === undefined ? 'broken off' : 'whole', firstAnswer);
    // Whoever was cut off does not wait for the removal.
    await until(async () => (await read().catch(() => undefined))?.equals(sound) === true);
    assert.deepEqual([...new Set(app.eventsOf('storage.damaged').map((event) => event.id))], [id]);
    assert.deepEqual(app.eventsOf('storage.failed'), []);
    const { damaged } = await app.router.sweep({ verify: true });
    assert.equal(damaged, 0, 'what is stored now is sound');
  });
}

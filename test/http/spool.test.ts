/** Paid pictures that storage does not take wait in the spool, and whoever asks again gets them. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdtemp, readdir, readFile, readlink, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { MediaStorage } from '../../src/core/storage.js';
import { memoryStorage } from '../../src/storage/memory.js';
import { createTestApp, type TestApp, type TestAppOptions, until } from '../support/app.js';
import { countingStorage } from '../support/media.js';

// Other tests make spools at the same time.
process.env.TMPDIR = await mkdtemp(join(tmpdir(), 'images-router-'));
after(() => rm(tmpdir(), { recursive: true }));

const BODY = { model: 'placeholder/sketch', prompt: 'a' };
const BASE64 = { ...BODY, response_format: 'b64_json' };

/** A storage that can be out of order: then every method rejects. */
function fragile(sound: MediaStorage = memoryStorage()) {
  const state = { down: true, puts: 0 };
  const guard = () => {
    if (state.down) throw new Error('storage is down');
  };
  const storage: MediaStorage = {
    put: async (...args) => {
      state.puts += 1;
      guard();
      await sound.put(...args);
    },
    get: async (...args) => {
      guard();
      return sound.get(...args);
    },
    stat: async (key) => {
      guard();
      return sound.stat(key);
    },
    delete: async (key) => {
      guard();
      await sound.delete(key);
    },
    deletePrefix: async (prefix) => {
      guard();
      await sound.deletePrefix?.(prefix);
    },
  };
  return { state, storage, sound };
}

async function fragileApp(t: TestContext, options: TestAppOptions = {}, sound?: MediaStorage) {
  const parts = fragile(sound);
  return { ...parts, app: await createTestApp(t, { ...options, storage: parts.storage }) };
}

function keyed(app: TestApp, body: object = BODY, key = 'k') {
  return app.native(body).set('Idempotency-Key', key);
}

/** The folders of spools among the temporary files that were not there before. */
async function spoolFolders(before: readonly string[] = []): Promise<string[]> {
  const names = await readdir(tmpdir());
  return names.filter((name) => name.startsWith('images-router-spool-') && !before.includes(name));
}

test('a picture storage did not take is STORAGE_ERROR, and the same key gets it by a link meanwhile', async (t) => {
  const { app, state, sound } = await fragileApp(t);
  const first = await keyed(app).expect(503);
  assert.equal(first.body.error.code, 'STORAGE_ERROR');
  assert.equal(first.body.error.reason, 'waiting');
  assert.equal(first.headers['x-should-retry'], 'false');

  const again = await keyed(app).expect(200);
  assert.equal(again.headers['idempotency-replayed'], 'true');
  const [picture] = again.body.data.data;
  const answer = await fetch(picture.url);
  assert.equal(answer.status, 200);
  assert.equal(answer.headers.get('content-type'), 'image/png');
  const bytes = Buffer.from(await answer.arrayBuffer());
  assert.equal(bytes.length, picture.bytes);
  const part = await fetch(picture.url, { headers: { range: 'bytes=10-19' } });
  assert.deepEqual(Buffer.from(await part.arrayBuffer()), bytes.subarray(10, 20));
  const head = await fetch(picture.url, { method: 'HEAD' });
  assert.equal(head.headers.get('etag'), answer.headers.get('etag'));

  assert.equal(app.calls.length, 1, 'it was drawn once');
  assert.deepEqual((await app.balances())['monthly-usd-tenant'], { spent: 40_000, held: 0 });
  const [spooled] = app.eventsOf('storage.spooled');
  assert.equal(spooled?.id, picture.id);
  assert.equal(spooled?.waiting, 1);
  assert.equal(spooled?.waitingBytes, picture.bytes);

  // Dates in headers are of whole seconds.
  await sleep(1100);
  state.down = false;
  await until(() => app.eventsOf('storage.landed').length === 1);
  const landed = await fetch(picture.url);
  for (const name of ['last-modified', 'etag']) {
    assert.equal(landed.headers.get(name), answer.headers.get(name), `its ${name} is what it was`);
  }
  assert.deepEqual(Buffer.from(await landed.arrayBuffer()), bytes, 'the same link, the same bytes');
  const keys: string[] = [];
  for await (const key of sound.list?.('') ?? []) keys.push(key);
  assert.equal(keys.length, 1);
  assert.equal((await sound.stat(keys[0] ?? ''))?.sha256.length, 64);
  assert.equal((await sound.stat(keys[0] ?? ''))?.metadata.model, 'placeholder/sketch');
});

test('a picture handed over as base64 is delivered at once, and again to the same key', async (t) => {
  const { app, state } = await fragileApp(t);
  const first = await keyed(app, BASE64).expect(200);
  const again = await keyed(app, BASE64).expect(200);
  assert.deepEqual(again.body.data, first.body.data);
  state.down = false;
  await until(() => app.eventsOf('storage.landed').length === 1);
  assert.deepEqual((await keyed(app, BASE64).expect(200)).body.data, first.body.data);
});

test('of several pictures those that waited come with the retry', async (t) => {
  const { app, storage, state } = await fragileApp(t);
  state.down = false;
  const put = storage.put;
  let taken = 0;
  storage.put = async (...args) => {
    if (taken === 1) throw new Error('storage is full');
    await put(...args);
    taken += 1;
  };
  const first = await keyed(app, { ...BODY, n: 3 }).expect(200);
  assert.equal(first.body.data.data.length, 1);
  assert.deepEqual(
    first.body.data.errors.map(({ code, reason }: { code: string; reason: string }) => [code, reason]),
    [
      ['STORAGE_ERROR', 'waiting'],
      ['STORAGE_ERROR', 'waiting'],
    ],
  );
  assert.match(first.body.data.errors[0].message, /ask again with the same Idempotency-Key/);
  const again = await keyed(app, { ...BODY, n: 3 }).expect(200);
  assert.equal(again.body.data.data.length, 3);
  assert.equal(again.body.data.errors, undefined);
  for (const { url } of again.body.data.data) assert.equal((await fetch(url)).status, 200);
});

test('without a key nobody could ask again, so nothing is kept', async (t) => {
  const before = await spoolFolders();
  const { app } = await fragileApp(t);
  const { body } = await app.native(BODY).expect(503);
  assert.equal(body.error.code, 'STORAGE_ERROR');
  assert.equal(body.error.reason, undefined);
  assert.deepEqual(app.eventsOf('storage.spooled'), []);
  assert.deepEqual(await spoolFolders(before), []);
});

test('the spool is a private folder of private files, made for the first picture and removed by close()', async (t) => {
  const before = await spoolFolders();
  const { app } = await fragileApp(t);
  assert.deepEqual(await spoolFolders(before), []);
  await keyed(app).expect(503);
  const [name = ''] = await spoolFolders(before);
  const folder = join(tmpdir(), name);
  assert.equal((await stat(folder)).mode & 0o777, 0o700);
  const [file = ''] = await readdir(folder);
  assert.equal((await stat(join(folder, file))).mode & 0o777, 0o600);
  assert.equal((await readFile(join(folder, file))).subarray(1, 4).toString(), 'PNG');
  await app.router.close();
  assert.deepEqual(await spoolFolders(before), []);
});

test('a sweep removes what killed processes left of pictures that have expired', async (t) => {
  const left = await mkdtemp(join(tmpdir(), 'images-router-spool-'));
  await writeFile(join(left, `${Date.now() - 2 * 3_600_000}-${randomUUID()}`), 'expired');
  const { app } = await fragileApp(t);
  await keyed(app).expect(503);
  const names = await spoolFolders();
  await app.router.sweep();
  assert.deepEqual(
    await spoolFolders(),
    names.filter((name) => join(tmpdir(), name) !== left),
  );
  assert.equal((await keyed(app).expect(200)).body.data.data.length, 1, 'what waits is still there');
});

test('close() offers everything once more and tells what is lost', async (t) => {
  const { app, state } = await fragileApp(t);
  for (const key of ['a', 'b', 'c']) await keyed(app, BODY, key).expect(503);
  state.down = false;
  await app.router.close();
  assert.equal(app.eventsOf('storage.landed').length, 3);
  assert.deepEqual(app.eventsOf('storage.lost'), []);

  const other = await fragileApp(t);
  for (const key of ['a', 'b', 'c']) await keyed(other.app, BODY, key).expect(503);
  await other.app.router.close();
  const ids = other.app.eventsOf('storage.spooled').map(({ id }) => id);
  const lost = other.app.eventsOf('storage.lost');
  assert.deepEqual(lost.map(({ id }) => id).sort(), ids.sort());
  assert.ok(
    lost.every(({ reason, level }) => reason === 'closed' && level === 'error'),
    'by closing',
  );
});

test('close() does not wait longer than its drain for storage that hangs', { timeout: 20_000 }, async (t) => {
  const { app, storage } = await fragileApp(t, { limits: { drainMs: 200 } });
  for (const key of ['a', 'b', 'c']) await keyed(app, BODY, key).expect(503);
  storage.put = () => new Promise(() => undefined);
  await app.router.close();
  assert.equal(app.eventsOf('storage.lost').length, 3);
});

test('a full spool keeps what it has; the next picture is STORAGE_ERROR also for its retry', async (t) => {
  const { app } = await fragileApp(t, { limits: { spoolBytes: 1 } });
  const first = await keyed(app).expect(503);
  assert.equal(first.body.error.reason, undefined);
  const again = await keyed(app).expect(503);
  assert.equal(again.body.error.code, 'STORAGE_ERROR');
  assert.equal(app.calls.length, 1);
  assert.deepEqual(
    app.eventsOf('storage.lost').map(({ reason }) => reason),
    ['full'],
  );
  const bytes = await keyed(app, BASE64, 'b').expect(200);
  assert.equal(bytes.body.data.data[0].id, undefined, 'bytes in hand are delivered all the same');
});

test('room in the spool comes back when storage has taken a picture', async (t) => {
  const sizes = await fragileApp(t);
  const { bytes } = (await keyed(sizes.app, BASE64).expect(200)).body.data.data[0];
  const { app, state } = await fragileApp(t, { limits: { spoolBytes: bytes } });
  await keyed(app, BASE64, 'a').expect(200);
  await keyed(app, BASE64, 'b').expect(200);
  assert.equal(app.eventsOf('storage.lost').length, 1);
  state.down = false;
  await until(() => app.eventsOf('storage.landed').length === 1);
  state.down = true;
  await keyed(app, BASE64, 'c').expect(200);
  assert.equal(app.eventsOf('storage.spooled').length, 2);
});

test('a picture that is deleted while it waits is gone for good', async (t) => {
  const { app, state, sound } = await fragileApp(t);
  for (const key of ['a', 'b', 'c']) await keyed(app, BODY, key).expect(503);
  const link = async (key: string) => (await keyed(app, BODY, key).expect(200)).body.data.data[0];
  const [a, b, c] = [await link('a'), await link('b'), await link('c')];
  // Storage is down, so whoever deletes is told to come back; what waits is gone already.
  await assert.rejects(app.router.deletePicture(a.id), /storage is down/);
  state.down = false;
  await app.router.deletePicture(a.id);
  await app.router.deleteTenant('acme');
  for (const { url } of [a, b, c]) assert.equal((await fetch(url)).status, 404);
  const lost = await keyed(app, BODY, 'a').expect(503);
  assert.equal(lost.body.error.code, 'STORAGE_ERROR');
  await app.router.close();
  for await (const key of sound.list?.('') ?? []) assert.fail(`${key} was stored after all`);
});

test('a picture that is deleted while storage is taking it is not stored after all', async (t) => {
  const { app, state, storage, sound } = await fragileApp(t);
  await keyed(app).expect(503);
  const [{ id }] = (await keyed(app).expect(200)).body.data.data;
  let proceed: (() => void) | undefined;
  // Past the point where it looks at its signal.
  storage.put = async (...args) => {
    await new Promise<void>((resolve) => {
      proceed = resolve;
    });
    await sound.put(args[0], args[1], { ...args[2], signal: undefined });
  };
  state.down = false;
  await until(() => proceed !== undefined);
  await app.router.deletePicture(id);
  proceed?.();
  await app.router.close();
  await until(async () => {
    for await (const _ of sound.list?.('') ?? []) return false;
    return true;
  });
});

/** A storage whose puts do not heed their signal and wait to be let in, and whose deletes can be refused. */
function stubborn() {
  const { state, storage, sound } = fragile();
  const waiting: (() => void)[] = [];
  const deletes = { refused: 0, asked: 0 };
  storage.put = async (key, bytes, options) => {
    if (state.down) throw new Error('storage is down');
    await new Promise<void>((resolve) => waiting.push(resolve));
    await sound.put(key, bytes, { ...options, signal: undefined });
  };
  storage.delete = async (key) => {
    deletes.asked += 1;
    if (deletes.refused > 0) {
      deletes.refused -= 1;
      throw new Error('nothing is deleted today');
    }
    await sound.delete(key);
  };
  const letIn = () => {
    for (const proceed of waiting.splice(0)) proceed();
  };
  return { state, storage, sound, waiting, deletes, letIn };
}

/** A picture that was deleted while storage was taking it, and lands then. */
async function deletedTooEarly(t: TestContext) {
  const parts = stubborn();
  const app = await createTestApp(t, { storage: parts.storage });
  await keyed(app).expect(503);
  const [{ id, url }] = (await keyed(app).expect(200)).body.data.data;
  parts.state.down = false;
  await until(() => parts.waiting.length > 0);
  await app.router.deletePicture(id);
  return { ...parts, app, id, url };
}

async function isStored(storage: MediaStorage): Promise<boolean> {
  for await (const _ of storage.list?.('') ?? []) return true;
  return false;
}

test('a picture that lands after it was deleted is not served, and deleted until storage has done it', async (t) => {
  const { app, sound, deletes, letIn, url } = await deletedTooEarly(t);
  deletes.refused = Number.POSITIVE_INFINITY;
  letIn();
  const failures = () => app.eventsOf('storage.failed').filter(({ operation }) => operation === 'delete');
  await until(() => failures().length >= 2);
  assert.equal(await isStored(sound), true);
  for (const headers of [{}, { range: 'bytes=0-9' }]) {
    assert.equal((await fetch(url, { headers })).status, 404);
  }
  deletes.refused = 0;
  await until(async () => !(await isStored(sound)));
  assert.equal((await fetch(url)).status, 404);
  const failed = failures();
  assert.match(String(failed[0]?.cause), /nothing is deleted today/);
  await app.router.close();
  assert.deepEqual(app.eventsOf('storage.undeleted'), []);
});

test('a picture that lands after it was deleted, and cannot be deleted by close(), is told', async (t) => {
  const { app, sound, deletes, letIn, id } = await deletedTooEarly(t);
  deletes.refused = Number.POSITIVE_INFINITY;
  letIn();
  await until(() => isStored(sound));
  await app.router.close();
  const [event, ...others] = app.eventsOf('storage.undeleted');
  assert.equal(event?.level, 'error');
  assert.ok(event?.key.includes(`/${id}/`), `it says which: ${event?.key}`);
  assert.match(String(event?.cause), /nothing is deleted today/);
  assert.deepEqual(others, []);
  const { asked } = deletes;
  await sleep(600);
  assert.equal(deletes.asked, asked, 'nobody asks after close()');
});

test('close() waits for a put that lands after its picture was deleted, within its drain', async (t) => {
  const { app, sound, letIn } = await deletedTooEarly(t);
  const closing = app.router.close();
  letIn();
  await closing;
  assert.equal(await isStored(sound), false);
  assert.deepEqual(app.eventsOf('storage.undeleted'), []);
});

test('a picture that is being stored while its tenant is deleted is gone when storage has it', async (t) => {
  const { storage, sound, state, waiting, letIn } = stubborn();
  state.down = false;
  const app = await createTestApp(t, { storage });
  const drawing = keyed(app).then((answer) => answer);
  await until(() => waiting.length === 1);
  await app.router.deleteTenant('acme');
  letIn();
  const { url } = (await drawing).body.data.data[0];
  assert.equal((await fetch(url)).status, 404);
  await until(async () => !(await isStored(sound)));
});

test('a picture storage will not have does not keep the others from it', async (t) => {
  const { app, state, storage } = await fragileApp(t);
  for (const key of ['a', 'b', 'c']) await keyed(app, BODY, key).expect(503);
  const [first] = app.eventsOf('storage.spooled');
  const put = storage.put;
  storage.put = async (...args) => {
    if (args[0].includes(first?.id ?? '')) throw new Error('not this one');
    await put(...args);
  };
  state.down = false;
  await until(() => app.eventsOf('storage.landed').length === 2);
  assert.equal((await fetch((await keyed(app, BODY, 'a').expect(200)).body.data.data[0].url)).status, 200);
});

test('of pictures that another process lost, a retry gets those that are there', async (t) => {
  const { app, storage, state } = await fragileApp(t);
  state.down = false;
  const put = storage.put;
  let taken = 0;
  storage.put = async (...args) => {
    if (taken === 2) throw new Error('storage is full');
    await put(...args);
    taken += 1;
  };
  await keyed(app, { ...BODY, n: 3 }).expect(200);
  // As it looks to a process that has the ledger and the storage, and another spool.
  const elsewhere = await createTestApp(t, { storage, budget: app.budget });
  const again = await keyed(elsewhere, { ...BODY, n: 3 }).expect(200);
  assert.equal(again.body.data.data.length, 2);
  assert.deepEqual(
    again.body.data.errors.map(({ code }: { code: string }) => code),
    ['STORAGE_ERROR'],
  );
});

test('a waiting picture is read in chunks, and no file stays open', async (t) => {
  if (process.platform !== 'linux') return t.skip('counts open files in /proc');
  const { app } = await fragileApp(t);
  await keyed(app, { ...BODY, size: '1024x1024' }).expect(503);
  const { url } = (await keyed(app, { ...BODY, size: '1024x1024' }).expect(200)).body.data.data[0];
  for (let round = 0; round < 5; round += 1) {
    const leaving = new AbortController();
    await fetch(url, { signal: leaving.signal });
    leaving.abort();
  }
  await until(async () => {
    const links = await readdir('/proc/self/fd');
    const open = await Promise.all(links.map((name) => readlink(`/proc/self/fd/${name}`).catch(() => '')));
    return !open.some((target) => target.includes('images-router-spool-'));
  });
});

test('what waits is offered one after the other: one picture is in memory', async (t) => {
  const { app, state, storage, sound } = await fragileApp(t, {}, countingStorage(memoryStorage()));
  for (const key of ['a', 'b', 'c', 'd']) await keyed(app, BODY, key).expect(503);
  let offered = 0;
  let most = 0;
  storage.put = async (...args) => {
    offered += 1;
    most = Math.max(most, offered);
    await sleep(20);
    await sound.put(...args);
    offered -= 1;
  };
  state.down = false;
  await until(() => app.eventsOf('storage.landed').length === 4);
  assert.equal(most, 1);
});

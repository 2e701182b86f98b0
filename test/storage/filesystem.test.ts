import assert from 'node:assert/strict';
import {
  mkdir,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  stat,
  symlink,
  truncate,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ConfigError, isImagesError } from '../../src/errors.js';
import { filesystem } from '../../src/storage/filesystem.js';
import { countDiskTrips } from '../support/disk-trips.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import { factsOf, keyOf, readAndHash } from './samples.js';

const small = Buffer.from('a small picture');
const big = Buffer.alloc(3_000_000, 'a big picture ');
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

function storageError(cause: RegExp) {
  return (error: unknown) =>
    isImagesError(error) &&
    error.code === 'STORAGE_ERROR' &&
    !/\//.test(error.message) &&
    cause.test(String(error.cause));
}

function pathOf(root: string, key: string): string {
  return `${join(root, key)}@object`;
}

/** Every file below a folder, as paths relative to it. */
async function filesBelow(root: string): Promise<string[]> {
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

/** How many files below a folder this process has open. */
async function openFiles(root: string): Promise<number> {
  const links = await readdir('/proc/self/fd');
  const targets = await Promise.all(links.map((name) => readlink(`/proc/self/fd/${name}`).catch(() => '')));
  return targets.filter((target) => target.startsWith(root)).length;
}

test('making a storage touches no disk', async (t) => {
  const root = join(await temporaryFolder(t), 'media');
  const storage = filesystem({ root });
  await assert.rejects(stat(root), { code: 'ENOENT' });
  assert.equal(await storage.get(keyOf('a')), undefined);
  assert.deepEqual(await storage.sweep?.({ before: Date.now() }), { removed: 0, orphans: 0 });
  await assert.rejects(stat(root), { code: 'ENOENT' });
});

test('a root that is no path is a ConfigError', () => {
  for (const root of ['', 'a\0b', undefined, 1]) {
    assert.throws(
      () => filesystem({ root: root as string }),
      (error) => error instanceof ConfigError && error.path === 'root',
    );
  }
});

test('objects outlive the process that stored them', async (t) => {
  const root = await temporaryFolder(t);
  await filesystem({ root }).put(keyOf('a'), big, factsOf(big));
  const found = await readAndHash(filesystem({ root }), keyOf('a'));
  assert.equal(found?.digest, factsOf(big).sha256);
});

test('an object and a folder of one name live side by side', async (t) => {
  const storage = filesystem({ root: await temporaryFolder(t) });
  await storage.put('a/b', small, factsOf(small));
  await storage.put('a/b/c', big, factsOf(big));
  assert.equal((await readAndHash(storage, 'a/b'))?.read, small.byteLength);
  assert.equal((await readAndHash(storage, 'a/b/c'))?.read, big.byteLength);
});

test('a stored object is one file, and nothing else is left', async (t) => {
  const root = await temporaryFolder(t);
  await filesystem({ root }).put(keyOf('a'), big, factsOf(big));
  assert.deepEqual(await filesBelow(root), [pathOf(root, keyOf('a'))]);
});

test('facts longer than a page come back', async (t) => {
  const storage = filesystem({ root: await temporaryFolder(t) });
  const metadata = Object.fromEntries(
    Array.from({ length: 16 }, (_, index) => [`key${index}`, '🗼'.repeat(512)]),
  );
  await storage.put(keyOf('a'), small, factsOf(small, { metadata }));
  assert.deepEqual((await storage.stat(keyOf('a')))?.metadata, metadata);
  assert.equal((await readAndHash(storage, keyOf('a')))?.digest, factsOf(small).sha256);
});

test('an empty object has no bytes', async (t) => {
  const storage = filesystem({ root: await temporaryFolder(t) });
  await storage.put(keyOf('a'), new Uint8Array(0), factsOf(new Uint8Array(0)));
  assert.equal((await readAndHash(storage, keyOf('a')))?.read, 0);
});

test('an expiry that is no instant is refused before anything is written', async (t) => {
  const root = await temporaryFolder(t);
  const put = filesystem({ root }).put(
    keyOf('a'),
    small,
    factsOf(small, { expiresAt: Number.POSITIVE_INFINITY }),
  );
  await assert.rejects(put, TypeError);
  assert.deepEqual(await readdir(root), []);
});

test('an abort reaches the caller as its own reason, for puts, gets and bodies', async (t) => {
  const storage = filesystem({ root: await temporaryFolder(t) });
  await storage.put(keyOf('a'), big, factsOf(big));
  const abort = new AbortController();
  const { signal } = abort;
  const reason = new Error('the client left');
  const object = await storage.get(keyOf('a'), { signal });
  const put = storage.put(keyOf('b'), big, factsOf(big, { signal }));
  abort.abort(reason);
  await assert.rejects(put, reason);
  await assert.rejects(async () => object?.body[Symbol.asyncIterator]().next(), reason);
  await assert.rejects(storage.get(keyOf('a'), { signal }), reason);
});

test('big objects are read in chunks of 256 KiB, and of 512 KiB after 8 MiB that were taken without a pause', async (t) => {
  const storage = filesystem({ root: await temporaryFolder(t) });
  const bytes = Buffer.alloc(11 * 1024 * 1024);
  await storage.put(keyOf('a'), bytes, factsOf(bytes));
  const object = await storage.get(keyOf('a'));
  const kibibytes: number[] = [];
  for await (const chunk of object?.body ?? []) {
    kibibytes.push(chunk.byteLength / 1024);
    if (kibibytes.length === 35) await sleep(1100);
  }
  // The first came with the facts.
  const chunks = [64, ...Array(32).fill(256), 512, 512, ...Array(7).fill(256), 192];
  assert.deepEqual(kibibytes.map(Math.round), chunks);
});

test('a range outside the object is refused', async (t) => {
  const storage = filesystem({ root: await temporaryFolder(t) });
  await storage.put('a', small, factsOf(small));
  for (const range of [
    { start: 0, end: small.byteLength },
    { start: 5, end: 4 },
    { start: -1, end: 4 },
  ]) {
    await assert.rejects(storage.get('a', { range }), RangeError);
  }
});

test('no file stays open: read to the end, left early, left unread, aborted, refused or described', async (t) => {
  if (process.platform !== 'linux') return t.skip('counts open files in /proc');
  const root = await temporaryFolder(t);
  const storage = filesystem({ root });
  await storage.put(keyOf('a'), big, factsOf(big));
  const get = async () => (await storage.get(keyOf('a')))?.body[Symbol.asyncIterator]();

  const held = await get();
  assert.equal(await openFiles(root), 1);
  await held?.return?.();
  const left = await get();
  await left?.next();
  await left?.return?.();
  await readAndHash(storage, keyOf('a'));
  await storage.stat(keyOf('a'));
  await assert.rejects(storage.get(keyOf('a'), { range: { start: 0, end: big.byteLength } }), RangeError);
  const abort = new AbortController();
  await storage.get(keyOf('a'), { signal: abort.signal });
  abort.abort();
  for (let attempt = 0; attempt < 100 && (await openFiles(root)) > 0; attempt += 1) await sleep(20);
  assert.equal(await openFiles(root), 0);
});

test('an object whose file is too short or too long is an error', async (t) => {
  const root = await temporaryFolder(t);
  const storage = filesystem({ root });
  await storage.put(keyOf('a'), big, factsOf(big));
  const path = pathOf(root, keyOf('a'));
  const { size } = await stat(path);
  for (const length of [size - 1, size + 1, 100, 10, 0]) {
    await truncate(path, length);
    await assert.rejects(storage.get(keyOf('a')), storageError(/original/), `cut to ${length}`);
    await assert.rejects(storage.stat(keyOf('a')), storageError(/original/), `cut to ${length}`);
  }
});

test('an object that is cut while it is read is an error, not a short answer', async (t) => {
  const root = await temporaryFolder(t);
  const storage = filesystem({ root });
  await storage.put(keyOf('a'), big, factsOf(big));
  const object = await storage.get(keyOf('a'));
  const reading = async () => {
    for await (const _ of object?.body ?? []) await truncate(pathOf(root, keyOf('a')), 600_000);
  };
  await assert.rejects(reading, storageError(/ends before/));
});

test('a header with any byte changed is an error', async (t) => {
  const root = await temporaryFolder(t);
  const storage = filesystem({ root });
  await storage.put(keyOf('a'), small, factsOf(small));
  const path = pathOf(root, keyOf('a'));
  const sound = await readFile(path);
  for (let at = 0; at < sound.byteLength - small.byteLength; at += 1) {
    const rotten = Buffer.from(sound);
    rotten[at] = (rotten[at] ?? 0) ^ 1;
    await writeFile(path, rotten);
    await assert.rejects(storage.get(keyOf('a')), storageError(/original/), `byte ${at}`);
  }
});

test('an object under the name of another is an error', async (t) => {
  const root = await temporaryFolder(t);
  const storage = filesystem({ root });
  await storage.put(keyOf('a'), small, factsOf(small));
  await storage.put(keyOf('b'), small, factsOf(small));
  await rename(pathOf(root, keyOf('a')), pathOf(root, keyOf('b')));
  await assert.rejects(storage.get(keyOf('b')), storageError(/was stored as/));
});

test('a link in the place of an object is not followed', async (t) => {
  const root = await temporaryFolder(t);
  const storage = filesystem({ root });
  await storage.put(keyOf('a'), small, factsOf(small));
  const path = pathOf(root, keyOf('a'));
  await rename(path, join(root, 'elsewhere'));
  await symlink(join(root, 'elsewhere'), path);
  await assert.rejects(storage.get(keyOf('a')), storageError(/ELOOP|EMLINK/));
});

test('nothing is written or removed through a folder that is a link', async (t) => {
  const root = await temporaryFolder(t);
  const outside = await temporaryFolder(t);
  await filesystem({ root: outside }).put('x/2026/a', small, factsOf(small));
  await symlink(join(outside, 'x'), join(root, 'x'));
  const storage = filesystem({ root });
  await assert.rejects(storage.put('x/2026/b', small, factsOf(small)), storageError(/symbolic link/));
  await assert.rejects(storage.put('x/new/b', small, factsOf(small)), storageError(/symbolic link/));
  await assert.rejects(storage.delete('x/2026/a'), storageError(/symbolic link/));
  for (const prefix of ['x/', 'x/2026/']) {
    await assert.rejects(async () => storage.deletePrefix?.(prefix), storageError(/symbolic link/));
  }
  await storage.sweep?.({ before: Date.now() + 10 * HOUR_MS });
  assert.deepEqual(await filesBelow(join(outside, 'x')), [join(outside, 'x/2026/a@object')]);
  assert.deepEqual(await readdir(join(root, '@incoming')), []);
});

test("a picture's own folder that is a link, to a folder or to nothing, is not written through", async (t) => {
  const root = await temporaryFolder(t);
  const outside = await temporaryFolder(t);
  const storage = filesystem({ root });
  await storage.put('x/2026/a/original', small, factsOf(small));
  await symlink(outside, join(root, 'x/2026/b'));
  await symlink(join(outside, 'nothing'), join(root, 'x/2026/c'));
  for (const key of ['x/2026/b/original', 'x/2026/c/original']) {
    await assert.rejects(storage.put(key, small, factsOf(small)), storageError(/symbolic link/), key);
  }
  await rename(join(root, 'x'), join(outside, 'x'));
  await symlink(join(outside, 'x'), join(root, 'x'));
  await assert.rejects(
    storage.put('x/2026/d/original', small, factsOf(small)),
    storageError(/symbolic link/),
    'a folder that became a link after it was written to',
  );
  assert.deepEqual(await filesBelow(outside), [join(outside, 'x/2026/a/original@object')]);
  assert.deepEqual(await readdir(join(root, '@incoming')), []);
});

test('the root may be a link, and lead elsewhere later', async (t) => {
  const above = await temporaryFolder(t);
  const root = join(above, 'media');
  const storage = filesystem({ root });
  for (const place of ['first', 'second']) {
    await mkdir(join(above, place));
    await rm(root, { force: true });
    await symlink(join(above, place), root);
    for (const name of ['a', 'b']) await storage.put(keyOf(name), small, factsOf(small));
    assert.equal((await filesBelow(join(above, place))).length, 2, place);
  }
});

test('storing one more picture takes at most 15 trips to the thread pool, writes of half a megabyte aside', async (t) => {
  const storage = filesystem({ root: await temporaryFolder(t) });
  // The first makes the folder of the day, the second looks at the root.
  for (const name of ['x', 'y']) await storage.put(keyOf(name), small, factsOf(small));
  const smallTrips = countDiskTrips(t);
  await storage.put(keyOf('b'), small, factsOf(small));
  assert.ok(smallTrips() > 0 && smallTrips() <= 15, `a small picture: ${smallTrips()} trips`);
  const bigTrips = countDiskTrips(t);
  await storage.put(keyOf('c'), big, factsOf(big));
  assert.ok(bigTrips() <= 20, `three megabytes: ${bigTrips()} trips`);
});

test('deletePrefix removes the folders too', async (t) => {
  const root = await temporaryFolder(t);
  const storage = filesystem({ root });
  await storage.put('x/2026/11/22/a/original', small, factsOf(small));
  await storage.deletePrefix?.('x/2026/');
  assert.deepEqual(await readdir(join(root, 'x')), []);
});

test('a sweep removes what expired, leaves what did not, and removes the folders of days that are empty', async (t) => {
  const root = await temporaryFolder(t);
  const storage = filesystem({ root });
  const now = Date.now();
  for (let index = 0; index < 20; index += 1) {
    await storage.put(`x/2026/11/21/${index}/original`, small, factsOf(small, { expiresAt: now - 1000 }));
    const expiresAt = index % 2 === 0 ? now - 1 : now + HOUR_MS;
    await storage.put(`x/2026/11/22/${index}/original`, small, factsOf(small, { expiresAt }));
  }
  assert.deepEqual(await storage.sweep?.({ before: now }), { removed: 30, orphans: 0 });
  assert.deepEqual(await readdir(join(root, 'x/2026/11')), ['22']);
  assert.equal((await readdir(join(root, 'x/2026/11/22'))).length, 10);
  assert.deepEqual(await storage.sweep?.({ before: now }), { removed: 0, orphans: 0 });
});

test('a sweep trusts the facts, not the time of a file that was copied', async (t) => {
  const root = await temporaryFolder(t);
  const storage = filesystem({ root });
  await storage.put(keyOf('a'), small, factsOf(small));
  const path = pathOf(root, keyOf('a'));
  await utimes(path, 1, 1);
  const { ctimeMs } = await stat(path);
  assert.deepEqual(await storage.sweep?.({ before: Date.now() }), { removed: 0, orphans: 0 });
  assert.equal((await readAndHash(storage, keyOf('a')))?.read, small.byteLength);
  assert.equal((await stat(path)).ctimeMs, ctimeMs, 'it was not moved, not even for a moment');
});

test('a sweep removes left-overs of broken-off writes once they are older than an hour', async (t) => {
  const root = await temporaryFolder(t);
  const storage = filesystem({ root });
  await storage.put(keyOf('a'), small, factsOf(small));
  const nameOf = (ageMs: number) => `${Date.now() - ageMs}-${crypto.randomUUID()}.tmp`;
  const [old, young] = [nameOf(HOUR_MS + 10_000), nameOf(HOUR_MS - 600_000)];
  for (const name of [old, young, 'not-ours']) await writeFile(join(root, '@incoming', name), 'half a pict');
  assert.deepEqual(await storage.sweep?.({ before: Date.now() + 10 * HOUR_MS }), { removed: 1, orphans: 1 });
  assert.deepEqual((await readdir(join(root, '@incoming'))).sort(), [young, 'not-ours'].sort());
});

test('a sweep leaves unreadable objects for a week, and then counts them as orphans', async (t) => {
  const root = await temporaryFolder(t);
  const storage = filesystem({ root });
  await storage.put(keyOf('rewritten'), small, factsOf(small));
  await storage.put(keyOf('cut'), small, factsOf(small));
  // Whoever writes to a file sets its modification time to now.
  await writeFile(pathOf(root, keyOf('rewritten')), 'rotten');
  await truncate(pathOf(root, keyOf('cut')), 300);
  const now = Date.now();
  for (const before of [now + HOUR_MS, now + 7 * DAY_MS - HOUR_MS]) {
    assert.deepEqual(await storage.sweep?.({ before }), { removed: 0, orphans: 0 });
  }
  for (const name of ['rewritten', 'cut'])
    await assert.rejects(storage.get(keyOf(name)), storageError(/original/));
  assert.deepEqual(await storage.sweep?.({ before: now + 7 * DAY_MS + HOUR_MS }), { removed: 0, orphans: 2 });
});

test('a sweep that knows how long pictures are kept enters no day that cannot hold an expired one', async (t) => {
  const root = await temporaryFolder(t);
  const storage = filesystem({ root });
  const keys = ['x/2026/02/03/a/original', 'x/2026/02/04/b/original', 'x/no/day/at/all'];
  for (const key of keys) await storage.put(key, small, factsOf(small, { expiresAt: 1 }));
  await mkdir(join(root, 'x/2026/02/04/empty'));
  const sweep = (before: number) => storage.sweep?.({ before, retentionSeconds: 2 * 86_400 });
  const due = Date.UTC(2026, 1, 6);
  assert.deepEqual(await sweep(due - 1), { removed: 2, orphans: 0 });
  assert.deepEqual(await readdir(join(root, 'x')), ['2026']);
  assert.deepEqual(await readdir(join(root, 'x/2026/02')), ['04']);
  assert.deepEqual((await readdir(join(root, 'x/2026/02/04'))).sort(), ['b', 'empty']);
  assert.deepEqual(await sweep(due), { removed: 1, orphans: 0 });
  assert.deepEqual(await readdir(root), ['@incoming']);
});

test('a sweep keeps what was stored when pictures were kept longer', async (t) => {
  const storage = filesystem({ root: await temporaryFolder(t) });
  await storage.put('x/2026/02/03/a/original', small, factsOf(small, { expiresAt: Date.now() + HOUR_MS }));
  const swept = await storage.sweep?.({ before: Date.now(), retentionSeconds: 86_400 });
  assert.deepEqual(swept, { removed: 0, orphans: 0 });
  assert.ok(await storage.stat('x/2026/02/03/a/original'), 'it is still there');
});

test('a sweep leaves alone what is not ours', async (t) => {
  const root = await temporaryFolder(t);
  await mkdir(join(root, 'lost+found'));
  await mkdir(join(root, '.snapshot'));
  await mkdir(join(root, 'x/2026'), { recursive: true });
  await writeFile(join(root, 'x/2026/README'), 'ours');
  await filesystem({ root }).sweep?.({ before: Date.now() });
  assert.deepEqual((await readdir(root)).sort(), ['.snapshot', 'lost+found', 'x']);
  assert.deepEqual(await readdir(join(root, 'x/2026')), ['README']);
});

test('a sweep of a day of thousands opens none that has not expired', async (t) => {
  if (process.platform !== 'linux') return t.skip('counts bytes read in /proc');
  const storage = filesystem({ root: await temporaryFolder(t) });
  const count = process.env.SOAK ? 10_000 : 500;
  for (let at = 0; at < count; at += 50) {
    const names = Array.from({ length: 50 }, (_, index) => keyOf(`${at + index}`));
    await Promise.all(names.map((name) => storage.put(name, small, factsOf(small))));
  }
  const bytesRead = async () => Number(/^rchar: (\d+)$/m.exec(await readFile('/proc/self/io', 'utf8'))?.[1]);
  const before = await bytesRead();
  assert.deepEqual(await storage.sweep?.({ before: Date.now() }), { removed: 0, orphans: 0 });
  const read = (await bytesRead()) - before;
  // Their headers would be several hundred each.
  assert.ok(read < count * 150, `their files are not read (${read} bytes)`);
});

test('a sweep stops when it is aborted', async (t) => {
  const storage = filesystem({ root: await temporaryFolder(t) });
  const now = Date.now();
  for (let index = 0; index < 50; index += 1) {
    await storage.put(keyOf(`${index}`), small, factsOf(small, { expiresAt: now - 1 }));
  }
  const abort = new AbortController();
  const sweeping = storage.sweep?.({ before: now, signal: abort.signal });
  abort.abort(new Error('shutting down'));
  await assert.rejects(async () => sweeping, /shutting down/);
  assert.deepEqual(await storage.sweep?.({ before: now }), { removed: 50, orphans: 0 });
});

test('a key that is stored again while its expired object is swept keeps its new object', async (t) => {
  const storage = filesystem({ root: await temporaryFolder(t) });
  const rounds = process.env.SOAK ? 2000 : 100;
  for (let round = 0; round < rounds; round += 1) {
    await storage.put(keyOf('a'), small, factsOf(small, { expiresAt: 1 }));
    await Promise.all([
      storage.put(keyOf('a'), small, factsOf(small)),
      storage.sweep?.({ before: Date.now() }),
      sleep(1).then(() => storage.sweep?.({ before: Date.now() })),
    ]);
    assert.ok(await storage.stat(keyOf('a')), `round ${round}`);
  }
});

test('a writer survives sweeps that remove the folders it has just made', async (t) => {
  const root = await temporaryFolder(t);
  const storage = filesystem({ root });
  let isDone = false;
  const sweeping = (async () => {
    while (!isDone) await filesystem({ root }).sweep?.({ before: Date.now() });
  })();
  const writing = async () => {
    for (let index = 0; index < 100; index += 1) {
      await storage.put(keyOf(`${index}`), small, factsOf(small));
      await storage.deletePrefix?.(`${dirname(keyOf(`${index}`))}/`);
    }
  };
  await writing().finally(() => {
    isDone = true;
  });
  await sweeping;
});

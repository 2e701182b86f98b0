import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, rmdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { isImagesError } from '../../src/errors.js';
import { filesystem } from '../../src/storage/filesystem.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import { factsOf, keyOf, readAndHash } from './samples.js';

const run = promisify(execFile);
const small = Buffer.alloc(10_000, 'small');
const big = Buffer.alloc(1_000_000, 'big');

/**
 * Mounts a small file system of its own for the test, so that its disk is really full or read-only. Answers
 * `undefined` where mounting is not allowed, as in many containers: the test says so and is skipped. What a write that
 * fails half-way leaves is tested everywhere, by a limit on the size of files.
 */
async function mountSmall(t: TestContext, options: string): Promise<string | undefined> {
  const folder = await mkdtemp(join(tmpdir(), 'images-router-'));
  try {
    await run('mount', ['-t', 'tmpfs', '-o', options, 'images-router-test', folder]);
  } catch (error) {
    await rmdir(folder);
    t.skip(`NOT TESTED: a full or read-only disk, because mounting is not allowed here (${error})`);
    return undefined;
  }
  t.after(async () => {
    await run('umount', [folder]);
    await rmdir(folder);
  });
  return folder;
}

function storageError(sentence: RegExp, code: string) {
  return (error: unknown) =>
    isImagesError(error) &&
    error.code === 'STORAGE_ERROR' &&
    sentence.test(error.message) &&
    (error.cause as NodeJS.ErrnoException).code === code;
}

test('a full disk is a clear error, leaves no temporary file and harms no other object', async (t) => {
  const root = await mountSmall(t, 'size=256k');
  if (root === undefined) return;
  const storage = filesystem({ root });
  await storage.put(keyOf('a'), small, factsOf(small));
  for (let attempt = 0; attempt < 3; attempt += 1) {
    await assert.rejects(
      storage.put(keyOf('b'), big, factsOf(big)),
      storageError(/^The disk of the media storage is full\.$/, 'ENOSPC'),
    );
  }
  assert.deepEqual(await readdir(join(root, '@incoming')), []);
  assert.equal(await storage.get(keyOf('b')), undefined);
  assert.equal(await storage.stat(keyOf('b')), undefined);
  assert.equal((await readAndHash(storage, keyOf('a')))?.digest, factsOf(small).sha256);
  await storage.put(keyOf('b'), small, factsOf(small));
  assert.equal((await readAndHash(storage, keyOf('b')))?.digest, factsOf(small).sha256);
});

test('a replacement that finds the disk full leaves the earlier object', async (t) => {
  const root = await mountSmall(t, 'size=256k');
  if (root === undefined) return;
  const storage = filesystem({ root });
  await storage.put(keyOf('a'), small, factsOf(small));
  await assert.rejects(storage.put(keyOf('a'), big, factsOf(big)), storageError(/full/, 'ENOSPC'));
  assert.equal((await readAndHash(storage, keyOf('a')))?.digest, factsOf(small).sha256);
});

test('a disk with no room for another folder is a clear error and leaves no temporary file', async (t) => {
  // The root, the incoming folder, the temporary file and two of the six folders of a key.
  const root = await mountSmall(t, 'size=256k,nr_inodes=5');
  if (root === undefined) return;
  const storage = filesystem({ root });
  await assert.rejects(storage.put(keyOf('a'), small, factsOf(small)), storageError(/full/, 'ENOSPC'));
  assert.deepEqual(await readdir(join(root, '@incoming')), []);
  await storage.sweep?.({ before: Date.now() });
  assert.deepEqual(await readdir(root), ['@incoming']);
});

test('a read-only disk refuses writes clearly and goes on serving', async (t) => {
  const root = await mountSmall(t, 'size=256k');
  if (root === undefined) return;
  const storage = filesystem({ root });
  const expiresAt = Date.now() + 50;
  await storage.put(keyOf('a'), small, factsOf(small));
  await storage.put(keyOf('expiring'), small, factsOf(small, { expiresAt }));
  await run('mount', ['-o', 'remount,ro', root]);
  const isReadOnly = storageError(/^The media storage cannot be written\.$/, 'EROFS');
  await assert.rejects(storage.put(keyOf('b'), small, factsOf(small)), isReadOnly);
  await assert.rejects(storage.put(keyOf('a'), small, factsOf(small)), isReadOnly);
  await assert.rejects(storage.delete(keyOf('a')), isReadOnly);
  await assert.rejects(async () => storage.deletePrefix?.(`${keyOf('a').slice(0, 33)}`), isReadOnly);
  await assert.rejects(async () => storage.sweep?.({ before: expiresAt + 1 }), isReadOnly);
  assert.equal((await readAndHash(storage, keyOf('a')))?.digest, factsOf(small).sha256);

  await run('mount', ['-o', 'remount,rw', root]);
  assert.deepEqual(await readdir(join(root, '@incoming')), []);
  assert.deepEqual(await storage.sweep?.({ before: expiresAt + 1 }), { removed: 1, orphans: 0 });
});

test('a write that the system breaks off half-way leaves no file, and earlier objects stay', async (t) => {
  if (process.platform === 'win32')
    return t.skip('NOT TESTED: a limit on the size of files, which is of POSIX');
  const root = await temporaryFolder(t);
  const limited = fileURLToPath(new URL('limited-process.ts', import.meta.url));
  // In units of 1024 bytes: about half of the object.
  const command = `ulimit -f 1000 && exec "${process.execPath}" --import tsx "${limited}" "${root}"`;
  const { stdout } = await run('bash', ['-c', command]);
  assert.equal(stdout, 'The media storage failed. EFBIG');
  assert.deepEqual(await readdir(join(root, '@incoming')), []);
  const storage = filesystem({ root });
  assert.equal(await storage.stat(keyOf('big')), undefined);
  assert.equal((await readAndHash(storage, keyOf('small')))?.read, 5);
});

/** What reading an object asks of the file system. */
import assert from 'node:assert/strict';
import { createHook } from 'node:async_hooks';
import { readFile, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { isImagesError } from '../../src/errors.js';
import { filesystem } from '../../src/storage/filesystem.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import { factsOf, keyOf, readAndHash } from './samples.js';

const small = Buffer.alloc(50_000, 'a small picture ');
const big = Buffer.alloc(1_600_000, 'a big picture ');
// After which a file counts as settled.
const SETTLED_MS = 2_100;

/** Counts what is asked of libuv's pool on behalf of files. */
async function fileRequests(work: () => Promise<unknown>): Promise<number> {
  let count = 0;
  const hook = createHook({
    init(_, type) {
      if (type.startsWith('FSREQ')) count += 1;
    },
  });
  hook.enable();
  await work();
  hook.disable();
  return count;
}

async function stored(t: TestContext, bytes: Buffer) {
  const root = await temporaryFolder(t);
  const storage = filesystem({ root });
  await storage.put(keyOf('a'), bytes, factsOf(bytes));
  return { storage, path: `${join(root, keyOf('a'))}@object` };
}

test('a small object is opened, read at once and closed', async (t) => {
  const { storage } = await stored(t, small);
  assert.equal(await fileRequests(() => readAndHash(storage, keyOf('a'))), 3);
});

test('a big object is looked at once, and read in 64 KiB with its facts and pieces of 256 KiB', async (t) => {
  const { storage } = await stored(t, big);
  const pieces = Math.ceil((big.length - 64 * 1024) / (256 * 1024));
  assert.equal(await fileRequests(() => readAndHash(storage, keyOf('a'))), 4 + pieces);
});

test('a description takes the facts alone', async (t) => {
  const { storage } = await stored(t, big);
  assert.equal(await fileRequests(() => storage.stat(keyOf('a'))), 4);
});

/** Turns one bit of a file; to whoever looks at its length and its time it is as before. */
async function rot(path: string): Promise<void> {
  const bytes = await readFile(path);
  const at = bytes.length - 10;
  const time = new Date(Date.now() + 3_600_000);
  await utimes(path, time, time);
  await writeFile(path, bytes.fill((bytes[at] ?? 0) ^ 1, at, at + 1));
  await utimes(path, time, time);
}

const isDamage = (error: unknown) => isImagesError(error) && error.reason === 'damaged';

for (const settled of [true, false]) {
  test(`a big object that was just found sound is an error as soon as it rots, ${settled ? 'settled' : 'fresh'}`, async (t) => {
    const { storage, path } = await stored(t, big);
    if (settled) await sleep(SETTLED_MS);
    for (let time = 0; time < 3; time += 1) await readAndHash(storage, keyOf('a'));
    await rot(path);
    await assert.rejects(readAndHash(storage, keyOf('a')), isDamage);
    await assert.rejects(readAndHash(storage, keyOf('a')), isDamage);
  });
}

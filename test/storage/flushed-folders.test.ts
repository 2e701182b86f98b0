/** Which folders a put flushes: a folder that cannot be read cannot be flushed, so a put that flushes it is refused. */
import assert from 'node:assert/strict';
import { chmod, mkdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { isImagesError } from '../../src/errors.js';
import { filesystem } from '../../src/storage/filesystem.js';
import { createFlush } from '../../src/storage/flushed-folders.js';
import { countDiskTrips } from '../support/disk-trips.js';
import { asOrdinaryUser } from '../support/ordinary-user.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import { factsOf, keyOf } from './samples.js';

const picture = Buffer.from('a picture');
const NO_POSIX = process.platform === 'win32' && 'NOT TESTED: folders nobody may read, which is of POSIX';

/** A storage, the folder of the day its keys are of, and that of the month. */
async function storageOfADay(t: TestContext) {
  const root = await temporaryFolder(t);
  const storage = filesystem({ root });
  const put = (name: string) => storage.put(keyOf(name), picture, factsOf(picture));
  const day = dirname(dirname(join(root, keyOf('a'))));
  return { root, storage, put, day, month: dirname(day) };
}

const isRefused = (error: unknown) =>
  isImagesError(error) && (error.cause as NodeJS.ErrnoException).code === 'EACCES';

test('folders that another process made are flushed up to the root', { skip: NO_POSIX }, async (t) => {
  const { root, put, day, month } = await storageOfADay(t);
  await mkdir(day, { recursive: true });
  for (const folder of [day, month, join(root, keyOf('a').slice(0, 32)), root]) {
    await chmod(folder, 0o300);
    await asOrdinaryUser(root, () => assert.rejects(put('a'), isRefused, folder));
    await chmod(folder, 0o700);
  }
  await put('a');
});

test('folders this process has flushed are not flushed for each picture', { skip: NO_POSIX }, async (t) => {
  const { root, put, month } = await storageOfADay(t);
  await put('a');
  await chmod(month, 0o300);
  await asOrdinaryUser(root, () => put('b'));
  await chmod(month, 0o700);
});

test('a folder that another process removed and made again is flushed again, with those above it', {
  skip: NO_POSIX,
}, async (t) => {
  const { root, put, day, month } = await storageOfADay(t);
  await put('a');
  await rm(dirname(month), { recursive: true });
  await mkdir(day, { recursive: true });
  await chmod(month, 0o300);
  await asOrdinaryUser(root, () => assert.rejects(put('b'), isRefused));
  await chmod(month, 0o700);
});

test('folders above the root are flushed where they may be read, those of any number of days at any time', {
  skip: NO_POSIX,
}, async (t) => {
  const above = await temporaryFolder(t);
  const root = join(above, 'media');
  await mkdir(root);
  const flush = createFlush(root);
  await chmod(above, 0o300);
  await asOrdinaryUser(above, async () => {
    for (let day = 0; day < 1_500; day += 1) await mkdir(join(root, `${day}`));
    for (const day of [...Array(1_500).keys(), 0, 1_499]) await flush(join(root, `${day}`));
    await flush(join(root, 'gone'));
  });
  await chmod(above, 0o700);
});

test('pictures of a day that are stored at the same time share the flushing of its folder', async (t) => {
  const { root, put, day } = await storageOfADay(t);
  await put('a');
  const flush = createFlush(root);
  const names = Array.from({ length: 20 }, (_, index) => join(day, `${index}`));
  for (const name of names) await mkdir(name);
  await flush(day);
  const trips = countDiskTrips(t);
  await Promise.all(names.map(flush));
  // Open, flush and close for the folder of each picture; for that of the day, a look besides.
  assert.ok(trips() <= 20 * 3 + 10 * 4, `${trips()} trips to the thread pool`);
});

test('the top of the file system ends it', async () => {
  await createFlush('/')('/');
});

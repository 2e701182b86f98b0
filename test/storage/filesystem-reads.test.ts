/** What reading an object asks of the file system. */
import assert from 'node:assert/strict';
import { createHook } from 'node:async_hooks';
import { readFile, rename, rm, truncate, utimes, writeFile } from 'node:fs/promises';
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
const HOUR_MS = 3_600_000;
// Within the minute for which what was read is remembered.
const LIFE_MS = 50_000;

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

async function stored(t: TestContext, bytes: Buffer, lifeMs = HOUR_MS) {
  const root = await temporaryFolder(t);
  const storage = filesystem({ root });
  await storage.put(keyOf('a'), bytes, factsOf(bytes, { expiresAt: Date.now() + lifeMs }));
  return { root, storage, path: `${join(root, keyOf('a'))}@object` };
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

/** The memory behind each chunk of an object, and whether the chunks are right. */
async function chunksOf({ storage }: Awaited<ReturnType<typeof stored>>, bytes: Buffer, transient: boolean) {
  const object = await storage.get(keyOf('a'), { transient });
  const memory: ArrayBufferLike[] = [];
  let position = 0;
  for await (const chunk of object?.body ?? []) {
    const expected = bytes.subarray(position, position + chunk.byteLength);
    assert.ok(expected.equals(chunk), `the bytes from ${position}`);
    position += chunk.byteLength;
    memory.push(chunk.buffer);
  }
  assert.equal(position, bytes.length);
  return memory;
}

for (const [name, bytes] of Object.entries({ small, big })) {
  test(`a reader that is done with each chunk of a ${name} object is lent the same memory for all, also while others read`, async (t) => {
    const file = await stored(t, bytes);
    const first = await chunksOf(file, bytes, true);
    assert.equal(new Set(first).size, 1);
    assert.equal((await chunksOf(file, bytes, true))[0], first[0]);
    const together = await Promise.all(Array.from({ length: 8 }, () => chunksOf(file, bytes, true)));
    assert.ok(new Set(together.flat()).size <= 8, 'eight at once take the memory of eight');
  });

  test(`a reader that may keep chunks of a ${name} object gets new memory for each`, async (t) => {
    const file = await stored(t, bytes);
    await chunksOf(file, bytes, true);
    const memory = await chunksOf(file, bytes, false);
    assert.equal(new Set(memory).size, memory.length);
    const kept = await storedChunks(file);
    assert.ok(Buffer.concat(kept).equals(bytes), 'what was kept is what was stored');
  });
}

async function storedChunks({ storage }: Awaited<ReturnType<typeof stored>>): Promise<Uint8Array[]> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of (await storage.get(keyOf('a')))?.body ?? []) chunks.push(chunk);
  await readAndHash(storage, keyOf('a'));
  return chunks;
}

/** Reads a small object until it is remembered. */
async function remembered(t: TestContext, lifeMs?: number) {
  const file = await stored(t, small, lifeMs);
  await sleep(SETTLED_MS);
  for (let time = 0; time < 2; time += 1) await chunksOf(file, small, true);
  return file;
}

test('a small object that is asked for a third time is only looked at, and read again a minute later', async (t) => {
  const file = await remembered(t);
  const read = () => chunksOf(file, small, true);
  assert.equal(await fileRequests(read), 1);
  assert.equal(
    await fileRequests(() => readAndHash(file.storage, keyOf('a'))),
    3,
    'what may be kept is read',
  );
  t.mock.timers.enable({ apis: ['Date'], now: Date.now() + 60_000 });
  assert.equal(await fileRequests(read), 3);
});

const CHANGES = {
  rots: async ({ path }: Awaited<ReturnType<typeof stored>>) => {
    await rot(path);
    return isDamage;
  },
  'is cut': async ({ path }: Awaited<ReturnType<typeof stored>>) => {
    await truncate(path, 1_000);
    return isDamage;
  },
  'is swapped': async ({ storage, path }: Awaited<ReturnType<typeof stored>>) => {
    await storage.put(keyOf('b'), small, factsOf(small));
    await rename(path.replace(keyOf('a'), keyOf('b')), path);
    return isDamage;
  },
  'is removed by somebody else': async ({ path }: Awaited<ReturnType<typeof stored>>) => {
    await rm(path);
    return undefined;
  },
  'is deleted': async ({ storage }: Awaited<ReturnType<typeof stored>>) => {
    await storage.delete(keyOf('a'));
    return undefined;
  },
  expires: async (_: unknown, t: TestContext) => {
    t.mock.timers.enable({ apis: ['Date'], now: Date.now() + LIFE_MS });
    return undefined;
  },
} as const;

for (const [what, change] of Object.entries(CHANGES)) {
  test(`a small object that is remembered and then ${what} is not served`, async (t) => {
    const file = await remembered(t, LIFE_MS);
    const error = await change(file, t);
    const reading = () => chunksOf(file, small, true);
    if (error === undefined) assert.equal(await file.storage.get(keyOf('a'), { transient: true }), undefined);
    else await assert.rejects(reading, error);
  });
}

test('a small object that was stored anew is served as it is now', async (t) => {
  const file = await remembered(t);
  const other = Buffer.alloc(small.length, 'another picture ');
  await filesystem({ root: file.root }).put(keyOf('a'), other, factsOf(other));
  await chunksOf(file, other, true);
});

test('no more than 16 MiB of small objects are remembered, the latest of them', async (t) => {
  const file = await stored(t, small);
  const count = Math.floor((16 * 1024 * 1024) / small.length) + 1;
  for (let each = 0; each < count; each += 1)
    await file.storage.put(keyOf(`n${each}`), small, factsOf(small));
  await sleep(SETTLED_MS);
  const read = async (name: string) => {
    for await (const _ of (await file.storage.get(keyOf(name), { transient: true }))?.body ?? []);
  };
  for (let each = 0; each < count; each += 1) for (const _ of [1, 2]) await read(`n${each}`);
  assert.equal(await fileRequests(() => read('n20')), 1);
  assert.equal(await fileRequests(() => read(`n${count - 1}`)), 1);
  assert.equal(await fileRequests(() => read('n0')), 3);
});

test('what a reader left before it began or in the middle is lent again', async (t) => {
  const file = await stored(t, big);
  const [memory] = await chunksOf(file, big, true);
  for (const reads of [0, 2]) {
    const iterator = (await file.storage.get(keyOf('a'), { transient: true }))?.body[Symbol.asyncIterator]();
    for (let read = 0; read < reads; read += 1) await iterator?.next();
    await iterator?.return?.();
  }
  assert.equal((await chunksOf(file, big, true))[0], memory);
});

test('what a reader left twice is lent to one other', async (t) => {
  const file = await stored(t, big);
  const iterator = (await file.storage.get(keyOf('a'), { transient: true }))?.body[Symbol.asyncIterator]();
  await iterator?.return?.();
  await iterator?.return?.();
  const readers = await Promise.all([1, 2].map(() => file.storage.get(keyOf('a'), { transient: true })));
  const chunks = await Promise.all(readers.map((reader) => reader?.body[Symbol.asyncIterator]().next()));
  assert.notEqual(chunks[0]?.value?.buffer, chunks[1]?.value?.buffer);
});

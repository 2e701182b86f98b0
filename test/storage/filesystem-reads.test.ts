/** What reading an object asks of the file system. */
import assert from 'node:assert/strict';
import { createHook } from 'node:async_hooks';
import { readFile, rename, rm, truncate, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
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
async function fileRequests(
  work: () => Promise<unknown>,
  counted: (count: number) => void = () => undefined,
): Promise<number> {
  let count = 0;
  const hook = createHook({
    init(_, type) {
      if (!type.startsWith('FSREQ')) return;
      count += 1;
      counted(count);
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

/** Reads an object until it is remembered. */
async function remembered(t: TestContext, lifeMs?: number, bytes = small) {
  const file = await stored(t, bytes, lifeMs);
  await sleep(SETTLED_MS);
  for (let time = 0; time < 2; time += 1) await chunksOf(file, bytes, true);
  return file;
}

for (const [name, bytes, requests] of [
  ['small', small, 3],
  ['big', big, 10],
] as const) {
  test(`a ${name} object that is asked for a third time is only looked at, and read again a minute later`, async (t) => {
    const file = await remembered(t, HOUR_MS, bytes);
    const read = () => chunksOf(file, bytes, true);
    assert.equal(await fileRequests(read), 1);
    const keeps = () => readAndHash(file.storage, keyOf('a'));
    assert.ok((await fileRequests(keeps)) >= 3, 'what may be kept is read');
    t.mock.timers.enable({ apis: ['Date'], now: Date.now() + 60_000 });
    assert.equal(await fileRequests(read), requests);
  });
}

test('an object that rotted before it is asked for again is an error, and not remembered', async (t) => {
  const file = await stored(t, big);
  await sleep(SETTLED_MS);
  await chunksOf(file, big, true);
  await rot(file.path);
  await sleep(SETTLED_MS);
  for (const _ of [1, 2, 3]) await assert.rejects(chunksOf(file, big, true), isDamage);
});

test('parts of a remembered object come from memory', async (t) => {
  const file = await remembered(t, HOUR_MS, big);
  const range = { start: 700_000, end: 900_000 };
  const chunks: Uint8Array[] = [];
  const read = async () => {
    const object = await file.storage.get(keyOf('a'), { range, transient: true });
    assert.equal(object?.size, big.length);
    for await (const chunk of object?.body ?? []) chunks.push(chunk);
  };
  assert.equal(await fileRequests(read), 1);
  assert.ok(Buffer.concat(chunks).equals(big.subarray(700_000, 900_001)), 'they are the bytes asked for');
  for (const wrong of [
    { start: 0, end: big.length },
    { start: 5, end: 4 },
    { start: -1, end: 4 },
  ]) {
    await assert.rejects(file.storage.get(keyOf('a'), { range: wrong, transient: true }), RangeError);
  }
});

test('who reads a remembered object at the same time shares its memory and the look at its file', async (t) => {
  const file = await remembered(t, HOUR_MS, big);
  const memory: ArrayBufferLike[][] = [];
  const together = async () => {
    memory.push(...(await Promise.all(Array.from({ length: 50 }, () => chunksOf(file, big, true)))));
  };
  // One for the first, one for all who came while it was under way.
  assert.equal(await fileRequests(together), 2);
  assert.equal(new Set(memory.flat()).size, 1);
});

test('an object that many ask for at once is loaded once', async (t) => {
  const file = await stored(t, big);
  await sleep(SETTLED_MS);
  const together = () => Promise.all(Array.from({ length: 20 }, () => chunksOf(file, big, true)));
  const memory = (await together()).filter((chunks) => chunks.length === 1);
  assert.equal(new Set(memory.flat()).size, 1);
});

test('an aborted reading of a remembered object ends with the reason of its signal', async (t) => {
  const file = await remembered(t);
  const abort = new AbortController();
  const { signal } = abort;
  const object = await file.storage.get(keyOf('a'), { transient: true, signal });
  const reason = new Error('the client left');
  abort.abort(reason);
  await assert.rejects(async () => object?.body[Symbol.asyncIterator]().next(), reason);
  await assert.rejects(file.storage.get(keyOf('a'), { transient: true, signal }), reason);
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

/** Stores `count` objects, settled; answers with what reads one of them to its end. */
async function storedMany(t: TestContext, bytes: Buffer, count: number) {
  const { storage } = await stored(t, bytes);
  for (let each = 0; each < count; each += 1) await storage.put(keyOf(`n${each}`), bytes, factsOf(bytes));
  await sleep(SETTLED_MS);
  const get = (each: number) => storage.get(keyOf(`n${each}`), { transient: true });
  const read = async (each: number) => {
    for await (const _ of (await get(each))?.body ?? []);
  };
  return { get, read };
}

test('no more than 32 MiB of objects are remembered, the latest of them', async (t) => {
  const count = Math.floor((32 * 1024 * 1024) / big.length) + 1;
  const { read } = await storedMany(t, big, count);
  for (let each = 0; each < count; each += 1) for (const _ of [1, 2]) await read(each);
  assert.equal(await fileRequests(() => read(1)), 1);
  assert.equal(await fileRequests(() => read(count - 1)), 1);
  assert.ok((await fileRequests(() => read(0))) > 1, 'the first went');
});

test('what slow readers hold of remembered objects counts, whatever has been dropped since', async (t) => {
  const count = Math.floor((32 * 1024 * 1024) / big.length);
  const { get, read } = await storedMany(t, big, count + 1);
  const slow: AsyncIterator<Uint8Array>[] = [];
  for (let each = 0; each < count; each += 1) {
    await read(each);
    const reader = (await get(each))?.body[Symbol.asyncIterator]();
    if (reader !== undefined) slow.push(reader);
    await reader?.next();
  }
  const isRemembered = async () => {
    for (const _ of [1, 2]) await read(count);
    return (await fileRequests(() => read(count))) === 1;
  };
  assert.equal(await isRemembered(), false, 'there is no room for another one');
  for (const reader of slow) {
    await reader.return?.();
    await reader.return?.();
  }
  assert.equal(await isRemembered(), true, 'there is room again');
});

test('nothing is remembered of objects that are deleted while they are read', async (t) => {
  const { storage } = await stored(t, big);
  const keys = Array.from({ length: 16 }, (_, each) => keyOf(`n${each}`));
  for (const key of keys) await storage.put(key, big, factsOf(big));
  await sleep(SETTLED_MS);
  const read = async (key: string) => {
    for await (const _ of (await storage.get(key, { transient: true }))?.body ?? []);
  };
  for (const key of keys) await read(key);
  const before = bytesInMemory();
  for (const [at, key] of keys.entries()) {
    const reading = read(key);
    for (let turn = 0; turn < at; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    await storage.delete(key);
    await reading;
  }
  await sleep(100);
  const grown = bytesInMemory() - before;
  assert.ok(grown < 2 * big.length, `${grown} bytes more are in memory`);
});

/** Of everything that somebody refers to. */
function bytesInMemory(): number {
  setFlagsFromString('--expose-gc');
  for (const _ of [1, 2]) runInNewContext('gc')();
  return process.memoryUsage().arrayBuffers;
}

test('what nobody asks for any more is let go of after a minute', async (t) => {
  const file = await stored(t, big);
  await sleep(SETTLED_MS);
  const read = () => chunksOf(file, big, true);
  await read();
  t.mock.timers.enable({ apis: ['setTimeout'] });
  await read();
  assert.equal(await fileRequests(read), 1);
  t.mock.timers.tick(60_000);
  // The clock has not moved on: what is still there would be used.
  assert.ok((await fileRequests(read)) > 1, 'it is read again');
});

test('readings that were aborted leave room for what is remembered', async (t) => {
  const large = Buffer.alloc(4 * 1024 * 1024, 'large ');
  // Wherever they are aborted, there are as many of them as have room.
  const count = 5 * 8 + 1;
  const { storage } = await stored(t, big);
  for (let each = 0; each < count; each += 1) await storage.put(keyOf(`n${each}`), large, factsOf(large));
  await sleep(SETTLED_MS);
  const read = async (each: number, signal?: AbortSignal) => {
    for await (const _ of (await storage.get(keyOf(`n${each}`), { transient: true, signal }))?.body ?? []);
  };
  for (let each = 1; each < count; each += 1) {
    await read(each);
    const aborting = new AbortController();
    const reading = () => read(each, aborting.signal).catch(() => undefined);
    await fileRequests(reading, (count) => count === 1 + (each % 5) && aborting.abort());
  }
  for (const _ of [1, 2]) await read(0);
  assert.equal(await fileRequests(() => read(0)), 1);
});

test('objects of more than 4 MiB are not remembered', async (t) => {
  const { read } = await storedMany(t, Buffer.alloc(4 * 1024 * 1024 + 1, 'larger '), 1);
  for (const _ of [1, 2, 3]) assert.ok((await fileRequests(() => read(0))) > 1, 'it is read each time');
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

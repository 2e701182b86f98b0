/** Checks of `get`. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { setImmediate, setTimeout as sleep } from 'node:timers/promises';
import type { ByteRange, MediaStorage } from '../../core/storage.js';
import {
  assertSameBytes,
  assertStored,
  makeSample,
  putExpired,
  readBytes,
  type Sample,
  type StorageCheck,
} from './subject.js';

const BIG_BYTES = 6 * 1024 * 1024;
const HUGE_BYTES = 50 * 1024 * 1024;
const RANGED_BYTES = 300_000;
const READERS = 4;
const READ_AHEAD_MS = 200;

function rangeCheck(id: string, what: string, range: ByteRange): StorageCheck {
  return {
    id,
    title: `a range answers ${what} and no other byte, with the size of the whole object`,
    level: 'MUST',
    async run({ storage, key }) {
      const { body, options } = makeSample(RANGED_BYTES);
      await storage.put(key('original'), body, options);
      const bytes = await readBytes(storage, key('original'), { range });
      assertSameBytes(bytes, body.subarray(range.start, range.end + 1));
      const object = await storage.get(key('original'), { range });
      assert.equal(object?.size, RANGED_BYTES, 'size is that of the whole object');
      await object?.body[Symbol.asyncIterator]().return?.();
      return undefined;
    },
  };
}

async function assertUnserved(storage: MediaStorage, key: string): Promise<void> {
  assert.equal(await storage.get(key), undefined, 'there is nothing to get');
  assert.equal(await storage.get(key, { range: { start: 0, end: 99 } }), undefined, 'nor a part of it');
}

function usedBytes(): number {
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** The checks of `get`. */
export const getChecks: readonly StorageCheck[] = [
  {
    id: 'get.missing',
    title: 'a missing object is undefined, not an error, whole or in part',
    level: 'MUST',
    async run({ storage, key }) {
      await assertUnserved(storage, key('original'));
      return undefined;
    },
  },
  {
    id: 'get.expired',
    title: 'an expired object is not served, whole or in part',
    level: 'MUST',
    async run({ storage, key }) {
      await putExpired(storage, key('original'));
      await assertUnserved(storage, key('original'));
      return undefined;
    },
  },
  rangeCheck('get.range-first-bytes', 'the first bytes', { start: 0, end: 99 }),
  rangeCheck('get.range-last-bytes', 'the last bytes', { start: RANGED_BYTES - 100, end: RANGED_BYTES - 1 }),
  rangeCheck('get.range-middle', 'bytes in the middle', { start: 70_001, end: 200_002 }),
  rangeCheck('get.range-single-byte', 'a single byte', { start: 4096, end: 4096 }),
  {
    id: 'get.chunks',
    title: 'an object of several megabytes arrives in more than one chunk',
    level: 'MUST',
    async run({ storage, key }) {
      const { body, options } = makeSample(BIG_BYTES);
      await storage.put(key('original'), body, options);
      const object = await storage.get(key('original'));
      assert.ok(object, 'the object is there');
      const chunks: Uint8Array[] = [];
      for await (const chunk of object.body) chunks.push(Uint8Array.from(chunk));
      assertSameBytes(Buffer.concat(chunks), body);
      assert.ok(chunks.length > 1, 'there is more than one chunk');
      return undefined;
    },
  },
  {
    id: 'get.bounded-memory',
    title: 'readers of an object of 50 MB who have its first chunk do not hold the rest',
    level: 'SHOULD',
    async run({ storage, key }) {
      const { body, options } = makeSample(HUGE_BYTES);
      await storage.put(key('original'), body, options);
      const before = usedBytes();
      const readers: AsyncIterator<Uint8Array>[] = [];
      const hash = createHash('sha256');
      for (let reader = 0; reader < READERS; reader += 1) {
        const object = await storage.get(key('original'));
        assert.ok(object, 'the object is there');
        const iterator = object.body[Symbol.asyncIterator]();
        readers.push(iterator);
        const first = await iterator.next();
        if (reader === 0) hash.update(first.value);
      }
      // Whoever reads ahead without a bound does it while nobody asks.
      await sleep(READ_AHEAD_MS);
      // One object's worth of slack for garbage: whoever loads everything holds four times as much.
      const growth = usedBytes() - before;
      assert.ok(growth < HUGE_BYTES, `memory grew by ${growth} bytes with ${READERS} first chunks`);
      const [reading, ...leaving] = readers;
      for (const iterator of leaving) await iterator.return?.();
      for (let part = await reading?.next(); part && !part.done; part = await reading?.next()) {
        hash.update(part.value);
      }
      assert.equal(hash.digest('hex'), options.sha256, 'the bytes that come back are the ones stored');
      return undefined;
    },
  },
  {
    id: 'get.early-return',
    title: 'a body may be left before its first chunk or after it, and the object stays usable',
    level: 'MUST',
    async run({ storage, key }) {
      const sample = makeSample(BIG_BYTES);
      await storage.put(key('original'), sample.body, sample.options);
      const unread = await storage.get(key('original'));
      await unread?.body[Symbol.asyncIterator]().return?.();
      const left = await storage.get(key('original'));
      for await (const _ of left?.body ?? []) break;
      await assertStored(storage, key('original'), sample);
      await storage.delete(key('original'));
      await storage.put(key('original'), sample.body, sample.options);
      await assertStored(storage, key('original'), sample);
      return undefined;
    },
  },
  {
    id: 'get.already-aborted',
    title: 'a get whose signal is aborted already rejects, or its body does',
    level: 'MUST',
    async run({ storage, key }) {
      const { body, options } = makeSample(BIG_BYTES);
      await storage.put(key('original'), body, options);
      const signal = AbortSignal.abort();
      await assert.rejects(async () => readBytes(storage, key('original'), { signal }), 'it rejects');
      return undefined;
    },
  },
  {
    id: 'get.aborted',
    title: 'a body that is aborted stops and throws: it never ends as if it were complete',
    level: 'MUST',
    async run({ storage, key }) {
      const { body, options } = makeSample(BIG_BYTES);
      await storage.put(key('original'), body, options);
      const abort = new AbortController();
      const object = await storage.get(key('original'), { signal: abort.signal });
      assert.ok(object, 'the object is there');
      const received: number[] = [];
      const reading = async () => {
        for await (const chunk of object.body) {
          received.push(chunk.byteLength);
          abort.abort();
        }
      };
      const isBroken = await reading().then(
        () => false,
        () => true,
      );
      // A first chunk that is the whole object is what `get.chunks` is about.
      const isWhole = received[0] === BIG_BYTES;
      assert.ok(
        isBroken || isWhole,
        `it went on after the abort and ended quietly (${received.length} chunks)`,
      );
      return undefined;
    },
  },
  {
    id: 'get.own-copy',
    title: 'a reader that changes a chunk does not change the object',
    level: 'MUST',
    async run({ storage, key }) {
      const sample = makeSample();
      await storage.put(key('original'), sample.body, sample.options);
      const object = await storage.get(key('original'));
      for await (const chunk of object?.body ?? []) chunk.fill(0);
      await assertStored(storage, key('original'), sample);
      return undefined;
    },
  },
  {
    id: 'get.kept-chunks',
    title: 'a reader may keep chunks: they stay as they are while it reads on',
    level: 'MUST',
    async run({ storage, key }) {
      const { body, options } = makeSample(BIG_BYTES);
      await storage.put(key('original'), body, options);
      const object = await storage.get(key('original'));
      const chunks: Uint8Array[] = [];
      for await (const chunk of object?.body ?? []) chunks.push(chunk);
      assertSameBytes(Buffer.concat(chunks), body);
      return undefined;
    },
  },
  {
    id: 'get.transient',
    title: 'readers that are done with each chunk before the next get the right bytes, several at once too',
    level: 'MUST',
    async run({ storage, key }) {
      const samples = Array.from({ length: READERS }, () => makeSample(BIG_BYTES));
      const read = async ({ body, options }: Sample, index: number) => {
        const name = key(`${index}/original`);
        await storage.put(name, body, options);
        const object = await storage.get(name, { transient: true });
        let position = 0;
        for await (const chunk of object?.body ?? []) {
          // As a connection that takes a chunk somewhat later.
          await setImmediate();
          assertSameBytes(chunk, body.subarray(position, position + chunk.byteLength));
          position += chunk.byteLength;
        }
        assert.equal(position, body.byteLength, 'all of it came');
      };
      await Promise.all(samples.map(read));
      return undefined;
    },
  },
  {
    id: 'get.while-replaced',
    title: 'a reader never sees bytes of two objects, also when the key is stored again while it reads',
    level: 'MUST',
    async run({ storage, key }) {
      const earlier = makeSample(BIG_BYTES);
      const later = makeSample(BIG_BYTES);
      await storage.put(key('original'), earlier.body, earlier.options);
      const object = await storage.get(key('original'));
      assert.ok(object, 'the object is there');
      const chunks: Uint8Array[] = [];
      let isReplaced = false;
      const reading = async () => {
        for await (const chunk of object.body) {
          chunks.push(Uint8Array.from(chunk));
          if (!isReplaced) await storage.put(key('original'), later.body, later.options);
          isReplaced = true;
        }
      };
      const isWhole = await reading().then(
        () => true,
        () => false,
      );
      assert.ok(isReplaced, 'the key was stored again');
      if (isWhole) assertSameBytes(Buffer.concat(chunks), earlier.body);
      return undefined;
    },
  },
];

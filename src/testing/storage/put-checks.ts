/** Checks of `put`. */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  assertAbsent,
  assertStored,
  MIXED_METADATA,
  makeSample,
  ODD_KEYS,
  readBytes,
  type StorageCheck,
  type Subject,
} from './subject.js';

const BIG_BYTES = 4 * 1024 * 1024;
const ABORT_AFTER_MS = [0, 1, 2, 5, 10, 20];
const CLOCK_SLACK_MS = 300_000;
const MAX_KEY_BYTES = 200;

/** Puts a big sample and aborts it after a while. Answers whether it was stored all the same. */
async function putAndAbort({ storage }: Subject, key: string, afterMs: number): Promise<boolean> {
  const abort = new AbortController();
  const { body, options } = makeSample(BIG_BYTES, { signal: abort.signal });
  const stored = storage.put(key, body, options).then(
    () => true,
    () => false,
  );
  await sleep(afterMs);
  abort.abort();
  return stored;
}

/** The checks of `put`. */
export const putChecks: readonly StorageCheck[] = [
  {
    id: 'put.round-trip',
    title: 'an object comes back byte for byte, with every fact it was stored with',
    level: 'MUST',
    async run({ storage, key }) {
      const sample = makeSample(100_003, { metadata: MIXED_METADATA });
      await storage.put(key('original'), sample.body, sample.options);
      await assertStored(storage, key('original'), sample);
      return undefined;
    },
  },
  {
    id: 'put.stored-at',
    title: 'storedAt is the time of the put, in epoch milliseconds',
    level: 'MUST',
    async run({ storage, key }) {
      const { body, options } = makeSample();
      const before = Date.now();
      await storage.put(key('original'), body, options);
      const info = await storage.stat(key('original'));
      const off = Math.max(before - (info?.storedAt ?? 0), (info?.storedAt ?? 0) - Date.now());
      assert.ok(off < CLOCK_SLACK_MS, `storedAt is within five minutes of now (${info?.storedAt})`);
      return undefined;
    },
  },
  {
    id: 'put.unicode-metadata',
    title: 'metadata of any script comes back unchanged',
    level: 'MUST',
    async run({ storage, key }) {
      const metadata = {
        grüße: 'Zürich, 東京, القاهرة',
        emoji: '🗼👩‍🎨',
        odd: 'a"b\\c\r\nd\te',
        long: '𝕏'.repeat(256),
      };
      const sample = makeSample(10, { metadata });
      await storage.put(key('original'), sample.body, sample.options);
      await assertStored(storage, key('original'), sample);
      return undefined;
    },
  },
  {
    id: 'put.replaces-whole',
    title: 'storing a key again replaces its bytes and its facts',
    level: 'MUST',
    async run({ storage, key }) {
      const first = makeSample(50_000, { metadata: { only: 'first' } });
      const second = makeSample(20_000, { contentType: 'image/webp', metadata: { other: 'second' } });
      await storage.put(key('original'), first.body, first.options);
      await storage.put(key('original'), second.body, second.options);
      await assertStored(storage, key('original'), second);
      return undefined;
    },
  },
  {
    id: 'put.two-writers',
    title: 'of two writers of one key one wins whole, bytes and facts',
    level: 'MUST',
    async run({ storage, key, another }) {
      const other = await another();
      for (let round = 0; round < 5; round += 1) {
        const samples = [makeSample(BIG_BYTES), makeSample(BIG_BYTES / 2)] as const;
        await Promise.all([
          storage.put(key('original'), samples[0].body, samples[0].options),
          other.put(key('original'), samples[1].body, samples[1].options),
        ]);
        const info = await storage.stat(key('original'));
        const winner = info?.size === BIG_BYTES ? samples[0] : samples[1];
        await assertStored(storage, key('original'), winner);
      }
      return undefined;
    },
  },
  {
    id: 'put.copies-body',
    title: 'a caller that reuses its buffer after a put does not change the object',
    level: 'MUST',
    async run({ storage, key }) {
      // A Buffer, because its `slice` is a view where that of a plain Uint8Array is a copy.
      const { body, options } = makeSample();
      const given = Buffer.from(body);
      await storage.put(key('original'), given, options);
      given.fill(0);
      await assertStored(storage, key('original'), { body, options });
      return undefined;
    },
  },
  {
    id: 'put.already-aborted',
    title: 'a put whose signal is aborted already rejects and stores nothing',
    level: 'MUST',
    async run({ storage, key }) {
      const { body, options } = makeSample(1000, { signal: AbortSignal.abort() });
      await assert.rejects(async () => storage.put(key('original'), body, options), 'the put rejects');
      await assertAbsent(storage, key('original'));
      return undefined;
    },
  },
  {
    id: 'put.aborted',
    title: 'a put that is aborted on its way leaves nothing when it rejects, everything when it resolves',
    level: 'MUST',
    async run(subject) {
      for (const afterMs of ABORT_AFTER_MS) {
        const key = subject.key(`after-${afterMs}`);
        const isStored = await putAndAbort(subject, key, afterMs);
        if (!isStored) await assertAbsent(subject.storage, key);
        else
          assert.equal((await readBytes(subject.storage, key))?.byteLength, BIG_BYTES, 'all of it is there');
      }
      return undefined;
    },
  },
  {
    id: 'put.aborted-replacement',
    title: 'a replacement that is aborted leaves the earlier object whole',
    level: 'SHOULD',
    async run(subject) {
      for (const afterMs of ABORT_AFTER_MS) {
        const key = subject.key(`after-${afterMs}`);
        const earlier = makeSample(50_000);
        await subject.storage.put(key, earlier.body, earlier.options);
        const isReplaced = await putAndAbort(subject, key, afterMs);
        if (!isReplaced) await assertStored(subject.storage, key, earlier);
      }
      return undefined;
    },
  },
  {
    id: 'put.long-keys',
    title: `keys of ${MAX_KEY_BYTES} bytes that differ in the last one are two`,
    level: 'MUST',
    async run({ storage, key, folder }) {
      const stem = 'x'.repeat(MAX_KEY_BYTES - folder.length - 1);
      const [one, other] = [makeSample(), makeSample()];
      await storage.put(key(`${stem}1`), one.body, one.options);
      await storage.put(key(`${stem}2`), other.body, other.options);
      await assertStored(storage, key(`${stem}1`), one);
      await assertStored(storage, key(`${stem}2`), other);
      return undefined;
    },
  },
  {
    id: 'put.odd-keys',
    title: 'keys outside the grammar are refused: empty, absolute, with dots, NUL, backslashes, too long',
    level: 'SHOULD',
    async run({ storage }) {
      const { body, options } = makeSample();
      for (const key of ODD_KEYS) {
        await assert.rejects(
          async () => storage.put(key, body, options),
          `put refuses ${JSON.stringify(key)}`,
        );
        const found = await readBytes(storage, key).catch(() => undefined);
        assert.equal(found, undefined, `get answers nothing for ${JSON.stringify(key)}`);
        const info = await storage.stat(key).catch(() => undefined);
        assert.equal(info, undefined, `stat answers nothing for ${JSON.stringify(key)}`);
      }
      return undefined;
    },
  },
];

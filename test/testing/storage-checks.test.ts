import assert from 'node:assert/strict';
import { mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setImmediate, setTimeout as sleep } from 'node:timers/promises';
import type { MediaStorage, PutOptions, StoredObject } from '../../src/core/storage.js';
import { filesystem } from '../../src/storage/filesystem.js';
import { memoryStorage } from '../../src/storage/memory.js';
import { storageChecks } from '../../src/testing/storage-checks.js';
import { failingChecks, testChecks } from '../support/run-checks.js';

const root = mkdtempSync(join(tmpdir(), 'images-router-'));
after(() => rm(root, { recursive: true, force: true }));

const memory = memoryStorage();
testChecks('memory', storageChecks, () => memory);
testChecks('filesystem', storageChecks, () => filesystem({ root }));

test('checks have unique ids', () => {
  const ids = storageChecks.map((check) => check.id);
  assert.equal(new Set(ids).size, ids.length);
});

test('checks of optional methods do not apply to a storage without them', async () => {
  const { deletePrefix: _, sweep: __, list: ___, ...plain } = memoryStorage();
  const skipped: string[] = [];
  for (const check of storageChecks) {
    if ((await check.run(() => plain)) !== undefined) skipped.push(check.id);
  }
  assert.deepEqual(skipped, [
    'delete-prefix.removes',
    'delete-prefix.expired',
    'delete-prefix.siblings',
    'delete-prefix.missing',
    'delete-prefix.odd-prefixes',
    'delete-prefix.aborted',
    'sweep.removes-expired',
    'sweep.keeps-living',
    'sweep.retention',
    'sweep.aborted',
    'sweep.keeps-writers',
    'direct-url.serves',
    'direct-url.expires',
    'direct-url.past',
    'direct-url.another-object',
    'direct-url.tampered',
    'direct-url.method',
    'list.below-prefix',
    'list.everything',
    'list.many',
    'list.missing',
    'list.odd-prefixes',
    'list.aborted',
  ]);
});

test('a check closes every instance it made, and removes what it stored', async () => {
  let open = 0;
  const shared = memoryStorage();
  const stored = new Set<string>();
  const create = (): MediaStorage => {
    open += 1;
    return {
      ...shared,
      put: async (key, body, options) => {
        stored.add(key);
        await shared.put(key, body, options);
      },
      close: async () => {
        open -= 1;
      },
    };
  };
  assert.deepEqual(await failingChecks(storageChecks, create), []);
  assert.equal(open, 0);
  const inGrammar = [...stored].filter((key) => /^[0-9a-f]{32}\//.test(key));
  assert.ok(inGrammar.length > 20);
  for (const key of inGrammar) assert.equal(await shared.stat(key), undefined);
});

async function* bodyOf(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

async function collect(object: StoredObject): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of object.body) chunks.push(chunk);
  return Buffer.concat(chunks);
}

const EMPTY: Omit<StoredObject, 'body'> = {
  size: 0,
  contentType: 'image/png',
  sha256: '',
  storedAt: 0,
  expiresAt: 0,
  metadata: {},
};

interface Breakage {
  readonly title: string;
  /** A storage that keeps everything in `sound` and has one fault. */
  readonly break: (sound: MediaStorage) => Partial<MediaStorage>;
  readonly fails: readonly string[];
}

const breakages: readonly Breakage[] = [
  {
    title: 'takes the end of a range as exclusive',
    break: (sound) => ({
      get: async (key, options = {}) => {
        const { range } = options;
        if (range === undefined) return sound.get(key, options);
        if (range.end === range.start)
          return { ...EMPTY, ...(await sound.stat(key)), body: bodyOf(Buffer.alloc(0)) };
        return sound.get(key, { ...options, range: { start: range.start, end: range.end - 1 } });
      },
    }),
    fails: ['get.range-first-bytes', 'get.range-last-bytes', 'get.range-middle', 'get.range-single-byte'],
  },
  {
    title: 'takes a range to the last byte as one past it',
    break: (sound) => ({
      get: async (key, options = {}) => {
        const size = (await sound.stat(key))?.size ?? 0;
        const { range } = options;
        if (range?.end !== size - 1) return sound.get(key, options);
        return sound.get(key, { ...options, range: { start: range.start - 1, end: range.end } });
      },
    }),
    fails: ['get.range-last-bytes'],
  },
  {
    title: 'says the size of the range instead of that of the object',
    break: (sound) => ({
      get: async (key, options = {}) => {
        const object = await sound.get(key, options);
        const { range } = options;
        return object && range ? { ...object, size: range.end - range.start + 1 } : object;
      },
    }),
    fails: ['get.range-first-bytes', 'get.range-last-bytes', 'get.range-middle', 'get.range-single-byte'],
  },
  {
    title: 'serves what has expired',
    break: (sound) => {
      const expiries = new Map<string, number>();
      const withExpiry = <T extends object>(key: string, found: T | undefined) =>
        found && { ...found, expiresAt: expiries.get(key) ?? 0 };
      return {
        put: async (key, body, options) => {
          await sound.put(key, body, { ...options, expiresAt: Date.now() + 3_600_000 });
          expiries.set(key, options.expiresAt);
        },
        get: async (key, options) => withExpiry(key, await sound.get(key, options)),
        stat: async (key) => withExpiry(key, await sound.stat(key)),
        sweep: async () => ({ removed: 2, orphans: 0 }),
      };
    },
    fails: ['get.expired', 'stat.expired', 'sweep.removes-expired', 'sweep.aborted'],
  },
  {
    title: 'throws for a missing object',
    break: (sound) => ({
      get: async (key, options) => {
        if ((await sound.stat(key)) === undefined) throw new Error('not found');
        return sound.get(key, options);
      },
    }),
    fails: ['put.already-aborted', 'get.missing', 'get.expired', 'delete.removes', 'delete-prefix.removes'],
  },
  {
    title: 'throws for a part of a missing object',
    break: (sound) => ({
      get: async (key, options) => {
        const object = await sound.get(key, options);
        if (object === undefined && options?.range) throw new Error('range not satisfiable');
        return object;
      },
    }),
    fails: ['get.missing', 'get.expired'],
  },
  {
    title: 'answers an empty body for a missing object',
    break: (sound) => ({
      get: async (key, options) => {
        if (/[^a-z0-9/_.-]/.test(key)) return undefined;
        return (await sound.get(key, options)) ?? { ...EMPTY, body: bodyOf(Buffer.alloc(0)) };
      },
    }),
    fails: ['put.already-aborted', 'get.missing', 'get.expired', 'delete.removes', 'delete-prefix.removes'],
  },
  {
    title: 'answers empty facts for a missing object',
    break: (sound) => ({ stat: async (key) => (await sound.stat(key)) ?? EMPTY }),
    fails: ['put.already-aborted', 'stat.missing', 'stat.expired', 'delete.removes', 'delete-prefix.removes'],
  },
  {
    title: 'throws when it deletes what is missing',
    break: (sound) => ({
      delete: async (key) => {
        if ((await sound.stat(key)) === undefined) throw new Error('not found');
        await sound.delete(key);
      },
    }),
    fails: ['delete.missing'],
  },
  {
    title: 'does not delete',
    break: () => ({ delete: async () => undefined }),
    fails: ['delete.removes', 'delete.odd-keys'],
  },
  {
    title: 'ignores a signal that is aborted already',
    break: (sound) => ({
      put: async (key, body, { signal: _, ...options }) => sound.put(key, body, options),
    }),
    fails: ['put.already-aborted'],
  },
  {
    title: 'leaves the object of an aborted put',
    break: (sound) => ({
      put: async (key, body, options) => {
        await sound.put(key, body, options);
        if (options.signal === undefined) return;
        await sleep(50);
        options.signal.throwIfAborted();
      },
    }),
    fails: ['put.aborted', 'put.aborted-replacement'],
  },
  {
    title: 'removes the earlier object when a replacement is aborted',
    break: (sound) => ({
      put: async (key, body, options) => {
        await sound.delete(key);
        if (options.signal !== undefined) await sleep(50);
        await sound.put(key, body, options);
      },
    }),
    fails: ['put.aborted-replacement'],
  },
  {
    title: 'keeps a view of the buffer it is given',
    break: (sound) => {
      const given = new Map<string, Uint8Array>();
      return {
        put: async (key, body, options) => {
          await sound.put(key, body, options);
          if (body.byteLength === 1000) given.set(key, body);
        },
        get: async (key, options) => {
          const object = await sound.get(key, options);
          const bytes = given.get(key);
          // Copied on its way out, which is the promise of another check.
          return object && bytes ? { ...object, body: bodyOf(Uint8Array.from(bytes)) } : object;
        },
      };
    },
    fails: ['put.copies-body'],
  },
  {
    title: 'hands out the bytes it keeps',
    break: (sound) => {
      const kept = new Map<string, Uint8Array>();
      return {
        put: async (key, body, options) => {
          await sound.put(key, body, options);
          if (body.byteLength === 1000) kept.set(key, Uint8Array.from(body));
        },
        get: async (key, options) => {
          const object = await sound.get(key, options);
          const bytes = kept.get(key);
          return object && bytes ? { ...object, body: bodyOf(bytes) } : object;
        },
      };
    },
    fails: ['get.own-copy'],
  },
  {
    title: 'turns metadata into strings',
    break: (sound) => ({
      put: async (key, body, options) => sound.put(key, body, { ...options, metadata: asStrings(options) }),
    }),
    fails: ['put.round-trip', 'stat.describes'],
  },
  {
    title: 'keeps metadata as Latin-1',
    break: (sound) => ({
      put: async (key, body, options) => {
        const metadata = JSON.parse(
          Buffer.from(JSON.stringify(options.metadata), 'latin1').toString('latin1'),
        );
        await sound.put(key, body, { ...options, metadata });
      },
    }),
    fails: ['put.unicode-metadata'],
  },
  {
    title: 'merges the metadata of a replacement into the old',
    break: (sound) => ({
      put: async (key, body, options) => {
        const earlier = (await sound.stat(key))?.metadata;
        await sound.put(key, body, { ...options, metadata: { ...earlier, ...options.metadata } });
      },
    }),
    fails: ['put.replaces-whole'],
  },
  {
    title: 'says seconds where milliseconds belong',
    break: (sound) => ({
      stat: async (key) => {
        const info = await sound.stat(key);
        return info && { ...info, storedAt: Math.floor(info.storedAt / 1000) };
      },
    }),
    fails: ['put.stored-at'],
  },
  {
    title: 'pairs the bytes of one writer with the facts of another',
    break: (sound) => {
      const facts = new Map<string, PutOptions>();
      const sizes = new Map<string, number>();
      const withFacts = <T extends object>(key: string, found: T | undefined) =>
        found && { ...found, ...facts.get(key), size: sizes.get(key) ?? 0 };
      return {
        put: async (key, body, { signal, ...options }) => {
          signal?.throwIfAborted();
          // The bigger one of two writers is the slower one.
          if (signal === undefined) await sleep(body.byteLength / 500_000);
          await sound.put(key, body, { ...options, signal });
          if (facts.has(key) && body.byteLength === 4 * 1024 * 1024) return;
          facts.set(key, options);
          sizes.set(key, body.byteLength);
        },
        get: async (key, options) => withFacts(key, await sound.get(key, options)),
        stat: async (key) => withFacts(key, await sound.stat(key)),
      };
    },
    fails: ['put.two-writers'],
  },
  {
    title: 'answers everything as one chunk',
    break: (sound) => ({
      get: async (key, options) => {
        const object = await sound.get(key, options);
        return object && { ...object, body: bodyOf(await collect(object)) };
      },
    }),
    fails: ['get.chunks', 'get.bounded-memory'],
  },
  {
    title: 'loads everything before it answers in chunks',
    break: (sound) => ({
      get: async (key, options) => {
        const object = await sound.get(key, options);
        if (object === undefined) return undefined;
        const chunks: Uint8Array[] = [];
        for await (const chunk of object.body) chunks.push(chunk);
        const body = async function* () {
          for (const chunk of chunks) {
            options?.signal?.throwIfAborted();
            yield chunk;
          }
        };
        return { ...object, body: body() };
      },
    }),
    fails: ['get.bounded-memory'],
  },
  {
    title: 'reads all of it ahead',
    break: (sound) => ({
      get: async (key, options) => {
        const object = await sound.get(key, options);
        if (object === undefined) return undefined;
        const gather = async (source: AsyncIterator<Uint8Array>) => {
          const chunks: Uint8Array[] = [];
          for (let next = await source.next(); next.done !== true; next = await source.next()) {
            chunks.push(next.value);
            await setImmediate();
          }
          return chunks;
        };
        const body = async function* () {
          const source = object.body[Symbol.asyncIterator]();
          const first = await source.next();
          const rest = gather(source);
          rest.catch(() => undefined);
          if (first.done !== true) yield first.value;
          for (const chunk of await rest) {
            options?.signal?.throwIfAborted();
            yield chunk;
          }
        };
        return { ...object, body: body() };
      },
    }),
    fails: ['get.bounded-memory'],
  },
  {
    title: 'stays locked when a body is left early',
    break: (sound) => {
      const locked = new Set<string>();
      return {
        get: async (key, options) => {
          if (locked.has(key)) throw new Error('locked');
          const object = await sound.get(key, options);
          if (object === undefined || options?.range !== undefined) return object;
          const iterator = object.body[Symbol.asyncIterator]();
          const next = () => iterator.next();
          const end = async () => {
            locked.add(key);
            return { done: true as const, value: undefined };
          };
          return { ...object, body: { [Symbol.asyncIterator]: () => ({ next, return: end }) } };
        },
      };
    },
    fails: ['get.early-return'],
  },
  {
    title: 'reads on after an abort',
    break: (sound) => ({ get: async (key, { range } = {}) => sound.get(key, { range }) }),
    fails: ['get.already-aborted', 'get.aborted'],
  },
  {
    title: 'ends quietly on abort',
    break: (sound) => ({
      get: async (key, { range, signal } = {}) => {
        signal?.throwIfAborted();
        const object = await sound.get(key, { range });
        if (object === undefined) return undefined;
        const body = async function* () {
          for await (const chunk of object.body) {
            if (signal?.aborted) return;
            yield chunk;
          }
        };
        return { ...object, body: body() };
      },
    }),
    fails: ['get.aborted'],
  },
  {
    title: 'looks the key up again for each chunk',
    break: (sound) => ({
      get: async (key, { range, signal } = {}) => {
        signal?.throwIfAborted();
        const info = await sound.stat(key);
        if (info === undefined) return undefined;
        const body = async function* () {
          const last = range?.end ?? info.size - 1;
          for (let start = range?.start ?? 0; start <= last; start += 65_536) {
            const end = Math.min(start + 65_535, last);
            const part = await sound.get(key, { range: { start, end }, signal });
            if (part !== undefined) yield* part.body;
          }
        };
        return { ...info, body: body() };
      },
    }),
    fails: ['get.while-replaced'],
  },
  {
    title: 'reads every chunk into the same memory',
    break: (sound) => ({
      get: async (key, options) => {
        const object = await sound.get(key, options);
        return object && { ...object, body: into(Buffer.alloc(256 * 1024), object.body) };
      },
    }),
    fails: ['get.kept-chunks'],
  },
  {
    title: 'lends all readers the same memory',
    break: (sound) => {
      const memory = Buffer.alloc(256 * 1024);
      return {
        get: async (key, options) => {
          const object = await sound.get(key, options);
          return object && options?.transient ? { ...object, body: into(memory, object.body) } : object;
        },
      };
    },
    fails: ['get.transient'],
  },
  {
    title: 'cuts long keys',
    break: (sound) => ({
      put: async (key, ...rest) => sound.put(cut(key), ...rest),
      get: async (key, options) => sound.get(cut(key), options),
      stat: async (key) => sound.stat(cut(key)),
      delete: async (key) => sound.delete(cut(key)),
    }),
    fails: ['put.long-keys'],
  },
  {
    title: 'takes the day of a key for when it expires',
    break: (sound) => ({
      sweep: async ({ before, retentionSeconds, signal }) => {
        const swept = await sound.sweep?.({ before, signal });
        const removed = retentionSeconds === undefined ? 0 : await removeAll(sound);
        return { removed: removed + (swept?.removed ?? 0), orphans: 0 };
      },
    }),
    fails: ['sweep.retention'],
  },
  {
    title: 'takes an underscore in a prefix for any character',
    break: (sound) => {
      async function* alike(prefix: string): AsyncGenerator<string> {
        for await (const key of starting(sound, '')) {
          const isAlike = [...prefix].every((each, at) => each === key[at] || each === '_');
          if (isAlike && !key.startsWith(prefix)) yield key;
        }
      }
      return {
        deletePrefix: async (prefix, options) => {
          await sound.deletePrefix?.(prefix, options);
          for await (const key of alike(prefix)) await sound.delete(key);
        },
        list: async function* (prefix, options) {
          yield* sound.list?.(prefix, options) ?? [];
          yield* alike(prefix);
        },
      };
    },
    fails: ['delete-prefix.siblings', 'list.below-prefix'],
  },
  {
    title: 'forgets facts in stat',
    break: (sound) => ({
      stat: async (key) => {
        const info = await sound.stat(key);
        return info && { ...info, contentType: 'application/octet-stream' };
      },
    }),
    fails: ['stat.describes'],
  },
  {
    title: 'takes a prefix as the beginning of a string',
    break: (sound) => {
      const keys = new Set<string>();
      return {
        put: async (key, body, options) => {
          await sound.put(key, body, options);
          keys.add(key);
        },
        deletePrefix: async (prefix) => {
          for (const key of keys) if (key.startsWith(prefix.slice(0, -1))) await sound.delete(key);
        },
      };
    },
    fails: ['delete-prefix.siblings', 'delete-prefix.odd-prefixes', 'delete-prefix.aborted'],
  },
  {
    title: 'removes only the first object of a prefix',
    break: (sound) => ({ deletePrefix: async (prefix) => sound.delete(`${prefix}original`) }),
    fails: ['delete-prefix.removes', 'delete-prefix.odd-prefixes', 'delete-prefix.aborted'],
  },
  {
    title: 'leaves what has expired where its prefix goes',
    break: (sound) => ({
      deletePrefix: async (prefix, options) => {
        const expired: string[] = [];
        for await (const key of starting(sound, prefix)) if (!(await sound.stat(key))) expired.push(key);
        if (expired.length === 0) await sound.deletePrefix?.(prefix, options);
      },
    }),
    fails: ['delete-prefix.expired'],
  },
  {
    title: 'throws for a prefix with nothing below it',
    break: (sound) => ({
      deletePrefix: async (prefix, options) => {
        if (prefix.endsWith('/never-stored/')) throw new Error('not found');
        await sound.deletePrefix?.(prefix, options);
      },
    }),
    fails: ['delete-prefix.missing'],
  },
  {
    title: 'sweeps nothing',
    break: () => ({ sweep: async () => ({ removed: 0, orphans: 0 }) }),
    fails: ['sweep.removes-expired', 'sweep.retention', 'sweep.aborted'],
  },
  {
    title: 'sweeps everything',
    break: (sound) => ({ sweep: async () => ({ removed: 2 + (await removeAll(sound)), orphans: 0 }) }),
    fails: [
      'sweep.removes-expired',
      'sweep.keeps-living',
      'sweep.retention',
      'sweep.aborted',
      'sweep.keeps-writers',
    ],
  },
  {
    title: 'says that it swept and did not',
    break: () => ({
      sweep: async ({ signal }) => {
        signal?.throwIfAborted();
        return { removed: 1_000_000, orphans: 0 };
      },
    }),
    fails: ['sweep.removes-expired'],
  },
  {
    title: 'counts what it did not remove',
    break: (sound) => ({
      sweep: async (options) => {
        const { removed = 0 } = (await sound.sweep?.(options)) ?? {};
        return { removed: removed + 1, orphans: 0 };
      },
    }),
    fails: ['sweep.removes-expired'],
  },
  {
    title: 'deletes by prefix after an abort',
    break: (sound) => ({ deletePrefix: async (prefix) => sound.deletePrefix?.(prefix) }),
    fails: ['delete-prefix.aborted'],
  },
  {
    title: 'deletes everything for an odd prefix',
    break: (sound) => ({
      deletePrefix: async (prefix, options) => {
        if (/\/\.\.\//.test(prefix)) await removeAll(sound);
        await sound.deletePrefix?.(prefix, options);
      },
    }),
    fails: ['delete-prefix.odd-prefixes'],
  },
  {
    title: 'swallows odd keys when it deletes',
    break: (sound) => ({ delete: async (key) => sound.delete(key).catch(() => undefined) }),
    fails: ['delete.odd-keys'],
  },
  {
    title: 'lists what is below the folder above',
    break: (sound) => ({ list: (prefix, options) => starting(sound, prefix.replace('../', ''), options) }),
    fails: ['list.odd-prefixes'],
  },
  {
    title: 'sweeps on after an abort',
    break: (sound) => ({ sweep: async ({ before }) => (await sound.sweep?.({ before })) ?? assert.fail() }),
    fails: ['sweep.aborted'],
  },
  {
    title: 'answers facts for any key',
    break: (sound) => ({
      stat: async (key) => (/^[0-9a-f]{32}\//.test(key) ? sound.stat(key) : { ...EMPTY, sha256: key }),
    }),
    fails: ['put.odd-keys'],
  },
  {
    title: 'lists a prefix as the beginning of a string',
    break: (sound) => ({ list: (prefix, options) => starting(sound, prefix.replace(/\/$/, ''), options) }),
    fails: ['list.below-prefix', 'list.odd-prefixes'],
  },
  {
    title: 'lists only one level',
    break: (sound) => ({
      list: async function* (prefix, options) {
        for await (const key of sound.list?.(prefix, options) ?? []) {
          if (!key.slice(prefix.length).includes('/')) yield key;
        }
      },
    }),
    fails: ['list.below-prefix', 'list.everything', 'list.many'],
  },
  {
    title: 'lists one page',
    break: (sound) => ({
      list: async function* (prefix, options) {
        let left = 1000;
        for await (const key of sound.list?.(prefix, options) ?? []) if (left-- > 0) yield key;
      },
    }),
    fails: ['list.many'],
  },
  {
    title: 'cannot list everything',
    break: (sound) => ({
      list: (prefix, options) => sound.list?.(prefix === '' ? 'nothing/' : prefix, options) ?? assert.fail(),
    }),
    fails: ['list.everything'],
  },
  {
    title: 'throws for a listing of nothing',
    break: (sound) => ({
      list: async function* (prefix, options) {
        if (prefix.endsWith('/never-stored/')) throw new Error('not found');
        yield* sound.list?.(prefix, options) ?? [];
      },
    }),
    fails: ['list.missing'],
  },
  {
    title: 'lists on after an abort',
    break: (sound) => ({ list: (prefix) => sound.list?.(prefix) ?? assert.fail() }),
    fails: ['list.aborted'],
  },
  {
    title: 'takes any key',
    break: (sound) => ({
      put: async (key, body, options) => sound.put(toPlain(key), body, options),
      get: async (key, options) => sound.get(toPlain(key), options),
    }),
    fails: ['put.odd-keys'],
  },
];

async function* into(memory: Buffer, body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const chunk of body) {
    memory.set(chunk);
    yield memory.subarray(0, chunk.byteLength);
  }
}

function cut(key: string): string {
  return key.length > 200 ? key : key.slice(0, 190);
}

async function* starting(
  sound: MediaStorage,
  start: string,
  options?: { readonly signal?: AbortSignal | undefined },
): AsyncGenerator<string> {
  for await (const key of sound.list?.('', options) ?? []) if (key.startsWith(start)) yield key;
}

function asStrings({ metadata }: PutOptions): Record<string, string> {
  return Object.fromEntries(Object.entries(metadata).map(([key, value]) => [key, String(value)]));
}

async function removeAll(storage: MediaStorage): Promise<number> {
  return (await storage.sweep?.({ before: Number.MAX_SAFE_INTEGER }))?.removed ?? 0;
}

function toPlain(key: string): string {
  return /^[0-9a-f]{32}\//.test(key) ? key : `odd/${Buffer.from(key).toString('hex').slice(0, 100)}`;
}

for (const breakage of breakages) {
  test(`a storage that ${breakage.title} fails exactly the checks named`, async () => {
    const sound = memoryStorage();
    const broken = { ...sound, ...breakage.break(sound) };
    assert.deepEqual(await failingChecks(storageChecks, () => broken), breakage.fails);
  });
}

test('every check fails for at least one of these storages', () => {
  const caught = new Set(breakages.flatMap((breakage) => breakage.fails));
  const never = storageChecks.filter((check) => !caught.has(check.id)).map((check) => check.id);
  // Those of direct URLs have storages of their own.
  assert.deepEqual(
    never.filter((id) => !id.startsWith('direct-url.')),
    [],
  );
});

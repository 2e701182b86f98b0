/** Checks of `delete`, and of `deletePrefix` and `sweep` where a storage has them. */
import assert from 'node:assert/strict';
import { setImmediate } from 'node:timers/promises';
import {
  assertAbsent,
  assertStored,
  makeSample,
  ODD_KEYS,
  oddPrefixes,
  putExpired,
  type StorageCheck,
} from './subject.js';

const NO_DELETE_PREFIX = { notApplicable: 'it has no deletePrefix' };
const NO_LIST = { notApplicable: 'it has no list' };
const NO_SWEEP = { notApplicable: 'it has no sweep' };
const BIG_BYTES = 2 * 1024 * 1024;

/** The checks of what removes objects. */
export const removalChecks: readonly StorageCheck[] = [
  {
    id: 'delete.removes',
    title: 'a deleted object is gone, and its key can be used again',
    level: 'MUST',
    async run({ storage, key }) {
      const sample = makeSample();
      await storage.put(key('original'), sample.body, sample.options);
      await storage.delete(key('original'));
      await assertAbsent(storage, key('original'));
      await storage.put(key('original'), sample.body, sample.options);
      await assertStored(storage, key('original'), sample);
      return undefined;
    },
  },
  {
    id: 'delete.missing',
    title: 'deleting what is not there is fine, also twice in a row',
    level: 'MUST',
    async run({ storage, key }) {
      await storage.delete(key('never-stored'));
      const { body, options } = makeSample();
      await storage.put(key('original'), body, options);
      await storage.delete(key('original'));
      await storage.delete(key('original'));
      return undefined;
    },
  },
  {
    id: 'delete.odd-keys',
    title: 'keys outside the grammar are refused, and nothing is deleted',
    level: 'SHOULD',
    async run({ storage, key, folder }) {
      const sample = makeSample();
      await storage.put(key('a/original'), sample.body, sample.options);
      for (const odd of [...ODD_KEYS, ...oddPrefixes(folder).slice(1)]) {
        await assert.rejects(async () => storage.delete(odd), `delete refuses ${JSON.stringify(odd)}`);
      }
      await assertStored(storage, key('a/original'), sample);
      return undefined;
    },
  },
  {
    id: 'delete-prefix.removes',
    title: 'every object below a prefix goes, at any depth',
    level: 'MUST',
    async run({ storage, key, folder }) {
      if (storage.deletePrefix === undefined) return NO_DELETE_PREFIX;
      const keys = ['a/b/original', 'a/b/w400.webp', 'a/b/c/original'].map(key);
      const { body, options } = makeSample();
      for (const name of keys) await storage.put(name, body, options);
      await storage.deletePrefix(`${folder}a/b/`);
      for (const name of keys) await assertAbsent(storage, name);
      return undefined;
    },
  },
  {
    id: 'delete-prefix.expired',
    title: 'what has expired goes with its prefix, though nobody is served it any more',
    level: 'MUST',
    async run({ storage, key, folder }) {
      if (storage.deletePrefix === undefined) return NO_DELETE_PREFIX;
      if (storage.list === undefined) return NO_LIST;
      await putExpired(storage, key('a/original'));
      await storage.deletePrefix(`${folder}a/`);
      for await (const name of storage.list(folder)) assert.fail(`${name} is still there`);
      return undefined;
    },
  },
  {
    id: 'delete-prefix.siblings',
    title: 'a prefix ends at its slash: siblings whose names begin alike stay',
    level: 'MUST',
    async run({ storage, key, folder }) {
      if (storage.deletePrefix === undefined) return NO_DELETE_PREFIX;
      const sample = makeSample();
      // An underscore stands for any character to some databases, and every id of a picture has three.
      const siblings = ['a_b1', 'a_bc/original', 'a/original', 'axb/original'].map(key);
      for (const name of [...siblings, key('a_b/original')])
        await storage.put(name, sample.body, sample.options);
      await storage.deletePrefix(`${folder}a_b/`);
      for (const name of siblings) await assertStored(storage, name, sample);
      return undefined;
    },
  },
  {
    id: 'delete-prefix.missing',
    title: 'a prefix with nothing below it is fine',
    level: 'MUST',
    async run({ storage, folder }) {
      if (storage.deletePrefix === undefined) return NO_DELETE_PREFIX;
      await storage.deletePrefix(`${folder}never-stored/`);
      return undefined;
    },
  },
  {
    id: 'delete-prefix.odd-prefixes',
    title: 'a prefix outside the grammar is refused, and nothing is deleted',
    level: 'SHOULD',
    async run({ storage, key, folder }) {
      if (storage.deletePrefix === undefined) return NO_DELETE_PREFIX;
      const sample = makeSample();
      await storage.put(key('a/original'), sample.body, sample.options);
      for (const odd of oddPrefixes(folder)) {
        const deleting = async () => storage.deletePrefix?.(odd);
        await assert.rejects(deleting, `deletePrefix refuses ${JSON.stringify(odd)}`);
      }
      await assertStored(storage, key('a/original'), sample);
      return undefined;
    },
  },
  {
    id: 'delete-prefix.aborted',
    title: 'a deletion by prefix whose signal is aborted throws',
    level: 'MUST',
    async run({ storage, key, folder }) {
      if (storage.deletePrefix === undefined) return NO_DELETE_PREFIX;
      const { body, options } = makeSample();
      await storage.put(key('original'), body, options);
      const signal = AbortSignal.abort();
      await assert.rejects(async () => storage.deletePrefix?.(folder, { signal }), 'it rejects');
      return undefined;
    },
  },
  {
    id: 'sweep.removes-expired',
    title: 'a sweep removes what expired and counts it, and the same sweep again finds nothing',
    level: 'MUST',
    async run({ storage, key, folder }) {
      if (storage.sweep === undefined) return NO_SWEEP;
      await putExpired(storage, key('one'));
      await putExpired(storage, key('two'));
      const before = Date.now();
      const { removed } = await storage.sweep({ before });
      assert.ok(removed >= 2, `two had expired, ${removed} were removed`);
      for await (const name of storage.list?.(folder) ?? []) assert.fail(`${name} is still listed`);
      // The store may hold others' objects, but none that is stored from now on expires before then.
      assert.equal((await storage.sweep({ before })).removed, 0, 'removed counts what was removed');
      return undefined;
    },
  },
  {
    id: 'sweep.keeps-living',
    title: 'a sweep leaves alone what expires after its instant',
    level: 'MUST',
    async run({ storage, key }) {
      if (storage.sweep === undefined) return NO_SWEEP;
      const sample = makeSample();
      await putExpired(storage, key('expired'));
      await storage.put(key('original'), sample.body, sample.options);
      await storage.sweep({ before: Date.now() });
      await assertStored(storage, key('original'), sample);
      return undefined;
    },
  },
  {
    id: 'sweep.retention',
    title: 'a sweep that is told how long pictures are kept goes by when each one expires',
    level: 'MUST',
    async run({ storage, key }) {
      if (storage.sweep === undefined) return NO_SWEEP;
      const sample = makeSample();
      await putExpired(storage, key('expired'));
      // From a time when pictures were kept longer.
      await storage.put(key('original'), sample.body, sample.options);
      const { removed } = await storage.sweep({ before: Date.now(), retentionSeconds: 86_400 });
      assert.ok(removed >= 1, 'what expired on a day long past is removed');
      await assertStored(storage, key('original'), sample);
      return undefined;
    },
  },
  {
    id: 'sweep.aborted',
    title: 'a sweep whose signal is aborted throws',
    level: 'MUST',
    async run({ storage, key }) {
      if (storage.sweep === undefined) return NO_SWEEP;
      await putExpired(storage, key('original'));
      const signal = AbortSignal.abort();
      await assert.rejects(async () => storage.sweep?.({ before: Date.now(), signal }), 'it rejects');
      return undefined;
    },
  },
  {
    id: 'sweep.keeps-writers',
    title: 'a sweep does not disturb what is being stored meanwhile',
    level: 'MUST',
    async run({ storage, key, another }) {
      if (storage.sweep === undefined) return NO_SWEEP;
      const sweeper = await another();
      const sample = makeSample(BIG_BYTES);
      const names = Array.from({ length: 12 }, (_, index) => key(`${index}/original`));
      let isDone = false;
      const writing = async () => {
        const puts = names.map((name) => storage.put(name, sample.body, sample.options));
        await Promise.all(puts).finally(() => {
          isDone = true;
        });
      };
      const sweeping = async () => {
        while (!isDone) {
          await sweeper.sweep?.({ before: Date.now() });
          // A storage in memory would otherwise never let a timer of the writers run.
          await setImmediate();
        }
      };
      await Promise.all([writing(), sweeping()]);
      for (const name of names) await assertStored(storage, name, sample);
      return undefined;
    },
  },
];

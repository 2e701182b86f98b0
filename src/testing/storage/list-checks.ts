/** Checks of `list`, where a storage has it. */
import assert from 'node:assert/strict';
import { makeSample, oddPrefixes, type StorageCheck } from './subject.js';

const NO_LIST = { notApplicable: 'it has no list' };
// One more than a page of S3.
const MANY = 1_001;

async function gather(keys: AsyncIterable<string>): Promise<string[]> {
  const gathered: string[] = [];
  for await (const key of keys) gathered.push(key);
  return gathered.sort();
}

/** The checks of `list`, by which a sweep finds what it verifies. */
export const listChecks: readonly StorageCheck[] = [
  {
    id: 'list.below-prefix',
    title: 'every object below a prefix is listed once, at any depth, and none beside it',
    level: 'MUST',
    async run({ storage, key, folder }) {
      if (storage.list === undefined) return NO_LIST;
      const below = ['a_b/original', 'a_b/w400.webp', 'a_b/c/original'].map(key);
      const beside = ['a_b1', 'a_bc/original', 'a/original', 'axb/original'].map(key);
      const { body, options } = makeSample();
      for (const name of [...below, ...beside]) await storage.put(name, body, options);
      assert.deepEqual(await gather(storage.list(`${folder}a_b/`)), below.sort());
      assert.deepEqual(await gather(storage.list(folder)), [...below, ...beside].sort());
      return undefined;
    },
  },
  {
    id: 'list.everything',
    title: 'an empty prefix lists everything',
    level: 'MUST',
    async run({ storage, key }) {
      if (storage.list === undefined) return NO_LIST;
      const { body, options } = makeSample();
      await storage.put(key('original'), body, options);
      for await (const name of storage.list('')) if (name === key('original')) return undefined;
      assert.fail('the object is not among what was listed');
    },
  },
  {
    id: 'list.many',
    title: `${MANY} objects are all listed, which is more than a page of most services`,
    level: 'MUST',
    async run({ storage, key, folder }) {
      if (storage.list === undefined) return NO_LIST;
      const names = Array.from({ length: MANY }, (_, index) => key(`${index}/original`));
      const { body, options } = makeSample(10);
      for (let at = 0; at < names.length; at += 50) {
        await Promise.all(names.slice(at, at + 50).map((name) => storage.put(name, body, options)));
      }
      const listed = await gather(storage.list(folder));
      assert.equal(listed.length, MANY, 'each is listed once');
      assert.deepEqual(listed, names.sort());
      return undefined;
    },
  },
  {
    id: 'list.missing',
    title: 'a prefix with nothing below it lists nothing',
    level: 'MUST',
    async run({ storage, folder }) {
      if (storage.list === undefined) return NO_LIST;
      assert.deepEqual(await gather(storage.list(`${folder}never-stored/`)), []);
      return undefined;
    },
  },
  {
    id: 'list.odd-prefixes',
    title: 'nothing is listed below a prefix outside the grammar',
    level: 'SHOULD',
    async run({ storage, key, folder }) {
      if (storage.list === undefined) return NO_LIST;
      const { body, options } = makeSample();
      await storage.put(key('a/original'), body, options);
      for (const odd of oddPrefixes(folder)) {
        const listed: string[] = await gather(storage.list(odd)).catch(() => []);
        assert.deepEqual(listed, [], `${JSON.stringify(odd)} lists nothing`);
      }
      return undefined;
    },
  },
  {
    id: 'list.aborted',
    title: 'a listing whose signal is aborted throws',
    level: 'MUST',
    async run({ storage, key, folder }) {
      if (storage.list === undefined) return NO_LIST;
      const { body, options } = makeSample();
      await storage.put(key('original'), body, options);
      const signal = AbortSignal.abort();
      await assert.rejects(gather(storage.list(folder, { signal })), 'it rejects');
      return undefined;
    },
  },
];

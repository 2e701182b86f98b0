/** Checks of `stat`. */
import assert from 'node:assert/strict';
import { assertFacts, MIXED_METADATA, makeSample, putExpired, type StorageCheck } from './subject.js';

/** The checks of `stat`. */
export const statChecks: readonly StorageCheck[] = [
  {
    id: 'stat.describes',
    title: 'stat answers what get does, without a body',
    level: 'MUST',
    async run({ storage, key }) {
      const sample = makeSample(12_345, { metadata: MIXED_METADATA });
      await storage.put(key('original'), sample.body, sample.options);
      const info = await storage.stat(key('original'));
      assert.ok(info, 'the object is there');
      assertFacts(info, sample);
      return undefined;
    },
  },
  {
    id: 'stat.missing',
    title: 'stat of a missing object is undefined, not an error',
    level: 'MUST',
    async run({ storage, key }) {
      assert.equal(await storage.stat(key('original')), undefined);
      return undefined;
    },
  },
  {
    id: 'stat.expired',
    title: 'an expired object is not described',
    level: 'MUST',
    async run({ storage, key }) {
      await putExpired(storage, key('original'));
      assert.equal(await storage.stat(key('original')), undefined);
      return undefined;
    },
  },
];

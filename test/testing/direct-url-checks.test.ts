import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { storageChecks } from '../../src/testing/storage-checks.js';
import { type DirectFlaw, startDirectStorage } from '../support/direct-storage.js';
import { failingChecks, testChecks } from '../support/run-checks.js';

const checks = storageChecks.filter(({ id }) => id.startsWith('direct-url.'));

const FAILS: Readonly<Record<Exclude<DirectFlaw, 'answers no URL'>, readonly string[]>> = {
  'ignores expiry': ['direct-url.expires', 'direct-url.past'],
  'adds an hour': ['direct-url.expires', 'direct-url.past'],
  'ignores signatures': ['direct-url.another-object', 'direct-url.tampered'],
  'signs no key': ['direct-url.another-object'],
  'signs no answer': ['direct-url.tampered'],
  'forgets the type': ['direct-url.serves'],
  'forgets the disposition': ['direct-url.serves'],
  'sends other bytes': ['direct-url.serves'],
  'takes any method': ['direct-url.method'],
};

const sound = await startDirectStorage({ after });
testChecks('a storage with direct URLs', checks, () => sound);

// Each waits for a URL to expire, so all wait at once.
describe('direct URLs of a storage that', { concurrency: true }, () => {
  for (const [flaw, fails] of Object.entries(FAILS)) {
    test(`${flaw} fail exactly the checks named`, async (t) => {
      const broken = await startDirectStorage(t, flaw as DirectFlaw);
      assert.deepEqual(await failingChecks(checks, () => broken), fails);
    });
  }
});

test('every check of direct URLs fails for at least one of these storages', () => {
  const caught = new Set(Object.values(FAILS).flat());
  assert.deepEqual(
    checks.filter(({ id }) => !caught.has(id)),
    [],
  );
});

test('a storage that has no URL to give is not held to what URLs promise', async (t) => {
  const silent = await startDirectStorage(t, 'answers no URL');
  const skipped: string[] = [];
  for (const check of checks) {
    if ((await check.run(() => silent)) !== undefined) skipped.push(check.id);
  }
  assert.deepEqual(
    skipped,
    checks.map(({ id }) => id).filter((id) => id !== 'direct-url.past'),
  );
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ConfigError, isImagesError } from '../../src/errors.js';
import { memoryStorage } from '../../src/storage/memory.js';
import { factsOf, keyOf, readAndHash } from './samples.js';

const isFull = (error: unknown) =>
  isImagesError(error) && error.code === 'STORAGE_ERROR' && /full/.test(error.message);
const hundred = Buffer.alloc(100, 1);

test('a put past maxBytes is refused and leaves everything as it was', async () => {
  const storage = memoryStorage({ maxBytes: 250 });
  await storage.put('a', hundred, factsOf(hundred));
  await storage.put('b', hundred, factsOf(hundred));
  await assert.rejects(storage.put('c', hundred, factsOf(hundred)), isFull);
  assert.equal(await storage.stat('c'), undefined);
  assert.equal((await readAndHash(storage, 'a'))?.read, 100);
});

test('deleting and replacing give their bytes back to maxBytes', async () => {
  const storage = memoryStorage({ maxBytes: 200 });
  await storage.put('a', hundred, factsOf(hundred));
  await storage.put('b', hundred, factsOf(hundred));
  await storage.put('b', hundred, factsOf(hundred));
  await storage.delete('a');
  await storage.delete('a');
  await storage.put('c', hundred, factsOf(hundred));
  await storage.deletePrefix?.('c/');
  await assert.rejects(storage.put('d', hundred, factsOf(hundred)), isFull);
});

test('expired objects make room when it is needed', async () => {
  const storage = memoryStorage({ maxBytes: 100 });
  await storage.put('a', hundred, factsOf(hundred, { expiresAt: Date.now() - 1 }));
  await storage.put('b', hundred, factsOf(hundred));
  assert.equal((await readAndHash(storage, 'b'))?.read, 100);
});

test('metadata cannot be changed through what was given or what is answered', async () => {
  const storage = memoryStorage();
  const metadata = { label: 'mine' };
  await storage.put(keyOf('a'), hundred, factsOf(hundred, { metadata }));
  metadata.label = 'changed';
  const info = await storage.stat(keyOf('a'));
  assert.throws(() => Object.assign(info?.metadata ?? {}, { label: 'changed' }), TypeError);
  assert.equal((await storage.stat(keyOf('a')))?.metadata.label, 'mine');
});

test('a range outside the object is refused', async () => {
  const storage = memoryStorage();
  await storage.put('a', hundred, factsOf(hundred));
  for (const range of [
    { start: 0, end: 100 },
    { start: 5, end: 4 },
    { start: -1, end: 4 },
  ]) {
    await assert.rejects(storage.get('a', { range }), RangeError);
  }
});

test('a maxBytes that is no count of bytes is a ConfigError', () => {
  for (const maxBytes of [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY]) {
    assert.throws(
      () => memoryStorage({ maxBytes }),
      (error) => error instanceof ConfigError && error.path === 'maxBytes',
    );
  }
});

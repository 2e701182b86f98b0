/** A storage in which nothing comes back that was deleted while it was being put. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { NewImagesEvent } from '../../src/core/events.js';
import { createSpool } from '../../src/core/spool.js';
import type { MediaStorage } from '../../src/core/storage.js';
import { memoryStorage } from '../../src/storage/memory.js';
import { storageChecks } from '../../src/testing/storage-checks.js';
import { until } from '../support/app.js';
import { testChecks } from '../support/run-checks.js';

function removing(storage: MediaStorage, events: NewImagesEvent[] = []) {
  const emit = (event: NewImagesEvent) => void events.push(event);
  return createSpool({ storage, maxBytes: 1000, storageMs: 50, emit });
}

const shared = memoryStorage();
testChecks('memory, as the router sees it', storageChecks, () => removing(shared).storage);

/** A signal that keeps the process alive until it aborts. */
function soon(): AbortSignal {
  const abort = new AbortController();
  setTimeout(() => abort.abort(new Error('too late')), 200);
  return abort.signal;
}

const body = Buffer.from('a picture');

function factsIn(milliseconds: number) {
  return { contentType: 'image/png', sha256: '', expiresAt: Date.now() + milliseconds, metadata: {} };
}

test('a key whose delete fails again and again is left to its expiry', async () => {
  const inner = memoryStorage();
  const events: NewImagesEvent[] = [];
  let asked = 0;
  const storage: MediaStorage = {
    ...inner,
    delete: async () => {
      asked += 1;
      throw new Error('never');
    },
  };
  const removals = removing(storage, events);
  const putting = removals.storage.put('a', body, factsIn(700));
  await assert.rejects(removals.storage.delete('a'), /never/);
  await putting;
  await until(() => asked >= 2);
  assert.equal(await removals.storage.stat('a'), undefined);
  await sleep(1500);
  const before = asked;
  await sleep(500);
  assert.equal(asked, before, 'it is not asked any more');
  await removals.close(soon());
  assert.ok(
    events.every(({ type }) => type === 'storage.failed'),
    'an expired picture is nobody’s loss',
  );
});

test('a put that never ends, and a delete that never answers, hold nobody up', async () => {
  const never = () => new Promise<never>(() => undefined);
  const inner = memoryStorage();
  const events: NewImagesEvent[] = [];
  const hanging = removing({ ...inner, put: never }, events);
  hanging.storage.put('a', body, factsIn(60_000)).catch(() => undefined);
  await hanging.storage.delete('a');
  await hanging.close(soon());
  assert.deepEqual(
    events.map(({ type }) => type),
    ['storage.undeleted'],
  );
  const silent = removing({ ...inner, delete: never }, events);
  const putting = silent.storage.put('b', body, factsIn(60_000));
  silent.storage.delete('b').catch(() => undefined);
  await putting;
  await until(() => events.some(({ type }) => type === 'storage.failed'));
  await silent.close(soon());
});

test('what was deleted before or after it was put is no concern of anybody', async () => {
  const inner = memoryStorage();
  let asked = 0;
  const storage: MediaStorage = {
    ...inner,
    delete: async (key) => {
      asked += 1;
      await inner.delete(key);
    },
  };
  const removals = removing(storage);
  await removals.storage.put('a', body, factsIn(60_000));
  await removals.storage.delete('a');
  await removals.storage.put('a', body, factsIn(60_000));
  assert.equal((await removals.storage.stat('a'))?.size, body.length);
  await removals.storage.deletePrefix?.('b/');
  assert.equal(asked, 1);
});

/** Whoever reads a storage through the spool sees what waits as it sees what is stored: the kit cannot tell. */
import assert from 'node:assert/strict';
import { readdir, readlink } from 'node:fs/promises';
import { test } from 'node:test';
import { createSpool } from '../../src/core/spool.js';
import type { MediaStorage } from '../../src/core/storage.js';
import { memoryStorage } from '../../src/storage/memory.js';
import { storageChecks } from '../../src/testing/storage-checks.js';

const READING = /^(get|stat|delete|delete-prefix)\./;
// Ids are random, so no key comes twice. What waits is offered again meanwhile, which takes all of it into memory.
const NOT_OF_SPOOLS = ['get.while-replaced', 'get.bounded-memory'];

/** A storage that takes nothing, so that all that is put waits. */
function waitingStorage(): MediaStorage {
  const refusing: MediaStorage = { ...memoryStorage(), put: async () => Promise.reject(new Error('down')) };
  const spool = createSpool({ storage: refusing, maxBytes: 2 ** 30, storageMs: 1000, emit: () => undefined });
  return {
    ...spool.storage,
    async put(key, bytes, { signal: _, ...facts }) {
      if (!(await spool.keep({ id: key, key, bytes, facts, requestId: 'req' }))) throw new Error('no room');
    },
    close: () => spool.close(AbortSignal.abort()),
  };
}

for (const check of storageChecks) {
  if (!READING.test(check.id) || NOT_OF_SPOOLS.includes(check.id)) continue;
  test(`what waits: ${check.title} (${check.id})`, async (t) => {
    const skipped = await check.run(waitingStorage);
    if (skipped !== undefined) t.skip(skipped.notApplicable);
  });
}

test('a waiting picture that is left before its first chunk keeps no file open', async (t) => {
  if (process.platform !== 'linux') return t.skip('counts open files in /proc');
  const storage = waitingStorage();
  t.after(() => storage.close?.());
  const bytes = Buffer.alloc(1000);
  const facts = { contentType: 'image/png', sha256: '', expiresAt: Date.now() + 60_000, metadata: {} };
  await storage.put('key', bytes, facts);
  const open = async () => {
    const links = await readdir('/proc/self/fd');
    const targets = await Promise.all(links.map((name) => readlink(`/proc/self/fd/${name}`).catch(() => '')));
    return targets.filter((target) => target.includes('images-router-spool-')).length;
  };
  const object = await storage.get('key');
  const iterator = object?.body[Symbol.asyncIterator]();
  assert.equal(await open(), 1);
  await iterator?.return?.();
  assert.equal(await open(), 0);
});

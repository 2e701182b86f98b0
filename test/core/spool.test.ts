/** Whoever reads a storage through the spool sees what waits as it sees what is stored: the kit cannot tell. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { access, mkdir, mkdtemp, readdir, readlink, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { createSpool } from '../../src/core/spool.js';
import { removeLeftovers } from '../../src/core/spool-folder.js';
import type { MediaStorage } from '../../src/core/storage.js';
import { memoryStorage } from '../../src/storage/memory.js';
import { storageChecks } from '../../src/testing/storage-checks.js';

// Other tests make spools at the same time.
process.env.TMPDIR = await mkdtemp(join(tmpdir(), 'images-router-'));
after(() => rm(tmpdir(), { recursive: true }));

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

const HOUR_MS = 3_600_000;

function facts(expiresAt: number) {
  return { contentType: 'image/png', sha256: '', expiresAt, metadata: {} };
}

test('a spool whose folder was tidied up while it was empty makes another one', async (t) => {
  const storage = waitingStorage();
  t.after(() => storage.close?.());
  await storage.put('first', Buffer.from('first'), facts(Date.now() + HOUR_MS));
  await storage.delete('first');
  await removeLeftovers(Date.now());
  assert.deepEqual(await readdir(tmpdir()), []);
  await Promise.all(
    ['second', 'third'].map((key) => storage.put(key, Buffer.from(key), facts(Date.now() + HOUR_MS))),
  );
  for (const key of ['second', 'third']) {
    const chunks: Uint8Array[] = [];
    for await (const chunk of (await storage.get(key))?.body ?? []) chunks.push(chunk);
    assert.equal(Buffer.concat(chunks).toString(), key);
  }
  await storage.close?.();
  assert.deepEqual(await readdir(tmpdir()), [], 'one folder was made for both, and it is gone');
});

/** A process in whose spool a picture waits that expires then. */
async function processWithPicture(t: TestContext, expiresAt: number): Promise<ChildProcess> {
  const program = fileURLToPath(new URL('spool-process.ts', import.meta.url));
  const child = spawn(process.execPath, ['--import', 'tsx', program, String(expiresAt)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.after(() => child.kill('SIGKILL'));
  await once(child.stdout, 'data');
  return child;
}

test('what a killed process leaves behind goes when it has expired, and nothing of one that lives goes before', async (t) => {
  // What else the processes make is none of ours.
  const spools = async () =>
    (await readdir(tmpdir())).filter((name) => name.startsWith('images-router-spool-'));
  const now = Date.now();
  const killed = await processWithPicture(t, now + HOUR_MS);
  const [left = '', ...others] = await spools();
  assert.deepEqual(others, []);
  await processWithPicture(t, now + 5 * HOUR_MS);
  const living = (await spools()).filter((name) => name !== left);
  killed.kill('SIGKILL');
  await once(killed, 'exit');

  await removeLeftovers(now + HOUR_MS);
  assert.equal((await readdir(join(tmpdir(), left))).length, 1, 'clocks differ');
  await removeLeftovers(now + 3 * HOUR_MS);
  assert.deepEqual(await spools(), living);
  assert.equal(living.length, 1);
  assert.equal((await readdir(join(tmpdir(), ...living))).length, 1);
});

/** A place of its own for temporary files, until the test ends. */
async function temporaryFiles(t: TestContext): Promise<string> {
  const before = process.env.TMPDIR;
  const root = await mkdtemp(join(tmpdir(), 'of-others-'));
  process.env.TMPDIR = root;
  t.after(async () => {
    process.env.TMPDIR = before;
    await rm(root, { recursive: true });
  });
  return root;
}

const expiredName = () => `${Date.now() - 9 * HOUR_MS}-${randomUUID()}`;

test('nothing else among the temporary files is touched', async (t) => {
  const root = await temporaryFiles(t);
  const expired = expiredName();
  const kept = [
    `of-others/${expired}`,
    ...['unknown', `x${expired}`, `${expired}x`, '2024-01-report.txt'].map(
      (name) => `images-router-spool-a/${name}`,
    ),
  ];
  const linked = `images-router-spool-link/${expired}`;
  for (const name of ['of-others', 'images-router-spool-a']) await mkdir(join(root, name));
  for (const name of [...kept, `images-router-spool-a/${expired}`]) await writeFile(join(root, name), '');
  await symlink(join(root, 'of-others'), join(root, 'images-router-spool-link'));
  await removeLeftovers(Date.now());
  const names = await readdir(root, { recursive: true });
  assert.deepEqual(
    names.sort(),
    ['images-router-spool-a', 'images-router-spool-link', 'of-others', linked, ...kept].sort(),
  );
});

test('folders of other users are left to them, and what an aborted sweep had not come to is left', async (t) => {
  const root = await temporaryFiles(t);
  const path = join(root, 'images-router-spool-a', expiredName());
  await mkdir(join(root, 'images-router-spool-a'));
  await writeFile(path, '');
  const { getuid } = process;
  t.after(() => Object.assign(process, { getuid }));
  process.getuid = () => (getuid?.() ?? 0) + 1;
  await removeLeftovers(Date.now());
  Object.assign(process, { getuid });
  await removeLeftovers(Date.now(), AbortSignal.abort());
  await access(path);
  await removeLeftovers(Date.now());
  await assert.rejects(access(path));
});

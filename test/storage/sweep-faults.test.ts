/** What cannot be looked at or removed keeps nothing else from it: a sweep goes on, and tells at its end. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmod, readdir, utimes, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { MediaStorage } from '../../src/core/storage.js';
import { isImagesError } from '../../src/errors.js';
import { filesystem } from '../../src/storage/filesystem.js';
import { memoryStorage } from '../../src/storage/memory.js';
import { s3 } from '../../src/storage/s3.js';
import { createTestApp } from '../support/app.js';
import { asOrdinaryUser } from '../support/ordinary-user.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import { factsOf, keyOf } from './samples.js';

const small = Buffer.from('a small picture');
const TWO_HOURS_MS = 7_200_000;
const DAYS = ['20', '21', '22', '23', '24'];
const NO_POSIX = process.platform === 'win32' && 'NOT TESTED: files nobody may read, which is of POSIX';

const keysOf = (day: string) => ['a', 'b', 'c'].map((name) => `x/2026/11/${day}/${name}/original`);

/** A storage of pictures that expired, of five days and three a day. */
async function expiredDays(t: TestContext) {
  const root = await temporaryFolder(t);
  const storage = filesystem({ root });
  for (const key of DAYS.flatMap(keysOf)) await storage.put(key, small, factsOf(small, { expiresAt: 1 }));
  return { root, storage, fileOf: (key: string) => `${join(root, key)}@object` };
}

const isRefused = (error: unknown) =>
  isImagesError(error) &&
  error.code === 'STORAGE_ERROR' &&
  (error.cause as NodeJS.ErrnoException).code === 'EACCES';

async function keysIn(storage: MediaStorage): Promise<string[]> {
  const keys: string[] = [];
  for await (const key of storage.list?.('') ?? []) keys.push(key);
  return keys;
}

test('a file nobody may read stays, and all others that expired go', { skip: NO_POSIX }, async (t) => {
  const { root, storage, fileOf } = await expiredDays(t);
  const unreadable = DAYS.map((day) => keysOf(day)[1] ?? '');
  for (const key of unreadable) await chmod(fileOf(key), 0);
  await asOrdinaryUser(root, () => assert.rejects(async () => storage.sweep?.({ before: 2 }), isRefused));
  assert.deepEqual((await keysIn(storage)).sort(), unreadable);
});

test('a folder nobody may enter or change stays, and all others are swept and listed', {
  skip: NO_POSIX,
}, async (t) => {
  const { root, storage } = await expiredDays(t);
  const shut = join(root, 'x/2026/11/22');
  const locked = join(root, 'x/2026/11/23');
  await chmod(shut, 0);
  await chmod(locked, 0o500);
  await asOrdinaryUser(root, async () => {
    const listed: string[] = [];
    const listing = async () => {
      for await (const key of storage.list?.('') ?? []) listed.push(key);
    };
    await assert.rejects(listing, isRefused);
    assert.equal(listed.length, 12);
    await assert.rejects(async () => storage.sweep?.({ before: 2 }), isRefused);
  });
  assert.deepEqual((await readdir(join(root, 'x/2026/11'))).sort(), ['22', '23']);
  assert.equal((await readdir(shut)).length, 3, 'nobody could look');
  assert.deepEqual(
    (await readdir(locked, { recursive: true })).length,
    3,
    'empty folders could not be removed',
  );
});

test('left-overs go although pictures or other left-overs cannot', { skip: NO_POSIX }, async (t) => {
  const { root, storage, fileOf } = await expiredDays(t);
  await chmod(fileOf(keysOf('22')[0] ?? ''), 0);
  const incoming = join(root, '@incoming');
  const since = Date.now() - TWO_HOURS_MS;
  const nameOf = () => `${since}-${crypto.randomUUID()}.tmp`;
  // A folder of that name is none of ours, and cannot be removed as a file.
  for (let index = 0; index < 3; index += 1)
    await filesystem({ root: join(incoming, nameOf()) }).put('a', small, factsOf(small));
  const names = Array.from({ length: 9 }, nameOf);
  for (const name of names) await writeFile(join(incoming, name), 'half a pict');
  await asOrdinaryUser(root, () =>
    assert.rejects(
      async () => storage.sweep?.({ before: Date.now() }),
      (error) => isImagesError(error),
    ),
  );
  assert.deepEqual(
    (await keysIn(storage)).filter((key) => key.startsWith('x/')),
    [keysOf('22')[0]],
  );
  const left = await readdir(incoming);
  assert.deepEqual(
    names.filter((name) => left.includes(name)),
    [],
  );
});

test('deletePrefix removes all it can', { skip: NO_POSIX }, async (t) => {
  const { root, storage, fileOf } = await expiredDays(t);
  const locked = dirname(fileOf(keysOf('20')[1] ?? ''));
  await chmod(locked, 0o500);
  await asOrdinaryUser(root, () => assert.rejects(async () => storage.deletePrefix?.('x/'), isRefused));
  assert.deepEqual(await keysIn(storage), [keysOf('20')[1]]);
});

test('a sweep that cannot do all of it is aborted like any other', { skip: NO_POSIX }, async (t) => {
  const { root, storage, fileOf } = await expiredDays(t);
  for (const key of DAYS.flatMap(keysOf)) await chmod(fileOf(key), 0);
  const abort = new AbortController();
  await asOrdinaryUser(root, async () => {
    const sweeping = storage.sweep?.({ before: 2, signal: abort.signal });
    abort.abort(new Error('shutting down'));
    await assert.rejects(async () => sweeping, /shutting down/);
  });
});

interface BucketServer {
  readonly storage: MediaStorage;
  /** Names of the objects it still has. */
  readonly names: Set<string>;
}

/** A server with objects that expired; it fails the requests that `fails` says, and lists two to a page. */
async function bucketServer(
  t: TestContext,
  fails: (method: string, name: string) => boolean,
): Promise<BucketServer> {
  const names = new Set(Array.from({ length: 9 }, (_, index) => keyOf(`p${index}`)));
  const server = createServer(async (req, res) => {
    const { method = '', url = '' } = req;
    const { pathname, searchParams } = new URL(url, 'http://localhost');
    const name = pathname.replace('/pictures/', '');
    if (searchParams.has('list-type'))
      return res.end(pageOf([...names], searchParams.get('continuation-token')));
    if (searchParams.has('delete')) return res.end(await removeAll(req));
    if (fails(method, name)) return res.writeHead(403).end();
    if (method === 'DELETE') names.delete(name);
    for (const [fact, value] of Object.entries({ key: name, 'expires-at': '1' }))
      res.setHeader(`x-amz-meta-${fact}`, value);
    return res.end();
  }).listen(0, '127.0.0.1');
  async function removeAll(req: IncomingMessage): Promise<string> {
    let xml = '';
    for await (const chunk of req) xml += chunk;
    const asked = [...xml.matchAll(/<Key>([^<]+)<\/Key>/g)].map(([, name = '']) => name);
    const refused = asked.filter((name) => fails('DELETE', name));
    for (const name of asked) if (!refused.includes(name)) names.delete(name);
    const faults = refused.map((name) => `<Error><Key>${name}</Key><Code>AccessDenied</Code></Error>`);
    return `<DeleteResult>${faults.join('')}</DeleteResult>`;
  }
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const credentials = { accessKeyId: 'KEY', secretAccessKey: 'SECRET' };
  const storage = s3({ bucket: 'pictures', endpoint: `http://127.0.0.1:${port}`, credentials });
  t.after(async () => {
    await storage.close?.();
    server.close();
  });
  return { storage, names };
}

const PAGE = 4;

function pageOf(names: readonly string[], token: string | null): string {
  const rest = names.filter((name) => name > (token ?? '')).sort();
  const page = rest.slice(0, PAGE);
  const next = rest.length > PAGE ? `<NextContinuationToken>${page.at(-1)}</NextContinuationToken>` : '';
  const contents = page.map((name) => `<Contents><Key>${name}</Key></Contents>`).join('');
  return `<ListBucketResult><IsTruncated>${next !== ''}</IsTruncated>${next}${contents}</ListBucketResult>`;
}

const isDenied = (error: unknown) =>
  isImagesError(error) && error.code === 'STORAGE_ERROR' && /refuses/.test(error.message);

for (const method of ['HEAD', 'DELETE']) {
  test(`objects of a bucket whose ${method} is refused stay, and all others that expired go`, async (t) => {
    const refused = ['p0', 'p5', 'p8'].map(keyOf);
    const fails = (asked: string, name: string) => asked === method && refused.includes(name);
    const { storage, names } = await bucketServer(t, fails);
    await assert.rejects(async () => storage.sweep?.({ before: 2 }), isDenied);
    assert.deepEqual([...names], refused);
  });
}

test('objects of a bucket that cannot be removed keep no other from being removed with their prefix', async (t) => {
  const refused = ['p1', 'p7'].map(keyOf);
  const { storage, names } = await bucketServer(t, (_, name) => refused.includes(name));
  await assert.rejects(async () => storage.deletePrefix?.(`${keyOf('a').slice(0, 33)}`), isDenied);
  assert.deepEqual([...names], refused);
});

test('the router verifies what a sweep that failed has left, and then says that it failed', async (t) => {
  const sound = memoryStorage();
  const sweep = async () => Promise.reject(new Error('EACCES'));
  const app = await createTestApp(t, { storage: { ...sound, sweep } });
  await sound.put(keyOf('rotten'), small, factsOf(Buffer.from('something else')));
  await assert.rejects(app.router.sweep({ verify: true }), /EACCES/);
  assert.deepEqual(
    app.eventsOf('storage.damaged').map(({ key }) => key),
    [keyOf('rotten')],
  );
});

test('a sweep that is aborted verifies nothing', async (t) => {
  const sound = memoryStorage();
  const app = await createTestApp(t, { storage: sound });
  await sound.put(keyOf('rotten'), small, factsOf(Buffer.from('something else')));
  const signal = AbortSignal.abort(new Error('shutting down'));
  await assert.rejects(app.router.sweep({ verify: true, signal }), /shutting down/);
  assert.deepEqual(app.eventsOf('storage.damaged'), []);
});

test('the modification time of an unreadable file that lives on says so: it is not looked into', {
  skip: NO_POSIX,
}, async (t) => {
  const { root, storage, fileOf } = await expiredDays(t);
  const path = fileOf(keysOf('22')[0] ?? '');
  await chmod(path, 0);
  await utimes(path, Date.now(), Date.now());
  const swept = await asOrdinaryUser(root, async () => storage.sweep?.({ before: 2 }));
  assert.deepEqual(swept, { removed: 14, orphans: 0 });
});

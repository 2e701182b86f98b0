import assert from 'node:assert/strict';
import { randomFillSync } from 'node:crypto';
import { once } from 'node:events';
import { createServer, get } from 'node:https';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import sharp from 'sharp';
import { imageJobs } from '../../src/pipeline/gate.js';
import { filesystem } from '../../src/storage/filesystem.js';
import { memoryStorage } from '../../src/storage/memory.js';
import { createTestApp, type TestApp, until } from '../support/app.js';
import { ask, countingStorage, LINK_SECRET, place } from '../support/media.js';
import { runs } from '../support/runs.js';
import { selfSigned } from '../support/self-signed.js';
import { temporaryFolder } from '../support/temporary-folder.js';

// As many as the file descriptors of one process allow: a reader has three, its own end included.
const READERS = Math.min(runs(200).numRuns, 3_000);
const MEBIBYTE = 1024 * 1024;
// One chunk of 256 KiB, and what a request and the two ends of its connection take.
const READER_KIBIBYTES = 640;

/** The bytes somebody holds, without those nobody does any more. */
function heldBytes(): number {
  setFlagsFromString('--expose-gc');
  runInNewContext('gc')();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

/** A picture that no encoder makes small. */
function noise(side: number): Promise<Buffer> {
  const background = { r: 0, g: 0, b: 0 };
  const dots = { type: 'gaussian', mean: 128, sigma: 60 } as const;
  return sharp({ create: { width: side, height: side, channels: 3, background, noise: dots } })
    .png()
    .toBuffer();
}

/** Connections that ask and then read nothing, closed when the test ends. */
async function slowReaders(t: TestContext, { port }: TestApp, paths: readonly string[]): Promise<Socket[]> {
  const sockets: Socket[] = [];
  t.after(() => {
    for (const socket of sockets) socket.destroy();
  });
  for (const path of paths) {
    const socket = connect({ host: '127.0.0.1', port });
    socket.on('error', () => undefined);
    await once(socket, 'connect');
    socket.pause();
    socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`);
    sockets.push(socket);
  }
  return sockets;
}

test(`${READERS} slow readers hold neither pictures in memory nor image workers`, async (t) => {
  const size = { width: 1536, height: 1536 };
  const bytes = await noise(1536);
  // Beyond what the kernel buffers on both ends, so that every reader is in the middle of its picture.
  assert.ok(bytes.length > 6 * MEBIBYTE, `${bytes.length} bytes`);
  const storage = countingStorage(filesystem({ root: await temporaryFolder(t) }));
  const app = await createTestApp(t, { storage, media: { secrets: LINK_SECRET } });
  const { path } = await place(storage, bytes, { size });
  const version = `${path}&w=1280`;
  await ask({ port: app.port, path: version });
  const before = heldBytes();
  const opened = storage.opened();
  const paths = Array.from({ length: READERS }, (_, index) => (index % 2 === 0 ? path : version));
  const sockets = await slowReaders(t, app, paths);
  await until(() => storage.opened() - opened === READERS);
  await sleep(500);
  const grown = heldBytes() - before;
  assert.ok(storage.open() > READERS / 2, `${storage.open()} are in the middle`);
  const each = Math.round(grown / READERS / 1024);
  t.diagnostic(`${each} KiB for each of ${READERS} readers`);
  assert.ok(each < READER_KIBIBYTES, `${each} KiB for each of ${READERS} readers`);

  const made = await ask({ port: app.port, path: `${path}&w=64&format=webp` });
  assert.equal(made.status, 200, 'versions are made meanwhile');
  const drawn = await app.native({ model: 'placeholder/sketch', prompt: 'a hill' });
  assert.equal(drawn.status, 200, 'pictures are drawn meanwhile');
  const whole = await ask({ port: app.port, path });
  assert.ok(whole.body.equals(bytes), 'pictures are read meanwhile');

  for (const socket of sockets) socket.destroy();
  await until(() => storage.open() === 0);
});

test('over TLS, which copies what it is given, a slow reader is given little of a large chunk', async (t) => {
  const bytes = randomFillSync(Buffer.alloc(3 * MEBIBYTE));
  async function* whole() {
    yield bytes;
  }
  const storage = countingStorage(memoryStorage(), () => ({ body: whole() }));
  const { app } = await createTestApp(t, { storage, media: { secrets: LINK_SECRET } });
  const { certificate, privateKey } = selfSigned();
  const written: number[] = [];
  const server = createServer({ cert: certificate, key: privateKey }, (req, res) => {
    const inner = req.socket.write.bind(req.socket) as (...args: unknown[]) => boolean;
    req.socket.write = (...args: unknown[]) => {
      const [chunk] = args;
      if (chunk instanceof Uint8Array) written.push(chunk.byteLength);
      return inner(...args);
    };
    app(req, res);
  }).listen(0, '127.0.0.1');
  t.after(() => server.close());
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const { path } = await place(storage, bytes);
  const asked = get({ host: 'localhost', port, path, ca: certificate, agent: false });
  const [answer] = await once(asked, 'response');
  const chunks: Buffer[] = [];
  for await (const chunk of answer) chunks.push(chunk);
  assert.ok(Buffer.concat(chunks).equals(bytes), 'all of it comes');
  assert.ok(Math.max(...written) <= 256 * 1024, `writes of ${written}`);
});

test('reading is never queued behind encoding: with every image worker busy, pictures and made versions are served', async (t) => {
  const storage = memoryStorage();
  const app = await createTestApp(t, { storage, media: { secrets: LINK_SECRET } });
  const size = { width: 256, height: 256 };
  const { path } = await place(storage, await noise(256), { size });
  const at = (query: string, headers = {}) => ask({ port: app.port, path: path + query }, headers);
  await at('&w=128');
  let release: () => void = () => undefined;
  const busy = new Promise<void>((resolve) => {
    release = resolve;
  });
  const jobs = Array.from({ length: imageJobs.limit + 8 }, () => imageJobs.run(() => busy));
  const unmade = at('&w=64');
  try {
    for (const [query, headers, status] of [
      ['', {}, 200],
      ['', { range: 'bytes=0-9' }, 206],
      ['&w=128', {}, 200],
      ['&w=128', { range: 'bytes=0-9' }, 206],
      ['&w=64', { 'if-none-match': '*' }, 304],
      ['&w=1', {}, 422],
    ] as const) {
      assert.equal((await at(query, headers)).status, status, query);
    }
    assert.equal(await Promise.race([unmade.then(() => 'made'), sleep(50, 'waiting')]), 'waiting');
  } finally {
    release();
  }
  await Promise.all(jobs);
  assert.equal((await unmade).status, 200);
});

test('where versions cannot be stored, what slow readers hold of them in memory is bounded', async (t) => {
  const { deletePrefix: _, ...storage } = memoryStorage();
  const app = await createTestApp(t, { storage, media: { secrets: LINK_SECRET } });
  const { path } = await place(storage, await noise(1536), { size: { width: 1536, height: 1536 } });
  const large = `${path}&w=1280`;
  const { body } = await ask({ port: app.port, path: large });
  const fitting = Math.ceil((64 * MEBIBYTE) / body.length);
  const sockets = await slowReaders(t, app, Array(fitting).fill(large));
  await until(async () => (await ask({ port: app.port, path: `${path}&w=64` })).status === 503);
  assert.equal((await ask({ port: app.port, path })).status, 200, 'originals are served all the same');
  for (const socket of sockets) socket.destroy();
  await until(async () => (await ask({ port: app.port, path: `${path}&w=64` })).status === 200);
});

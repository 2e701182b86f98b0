import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { MediaStorage } from '../../src/core/storage.js';
import { filesystem } from '../../src/storage/filesystem.js';
import { memoryStorage } from '../../src/storage/memory.js';
import { createTestApp, until } from '../support/app.js';
import { ask, countingStorage, draw, LINK_SECRET, linkSigner, place } from '../support/media.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const CHUNK = Buffer.alloc(256 * 1024, 7);

/** An endless supply of chunks that add up to `size` bytes. */
function chunksOf(size: number): { readonly size: number; readonly body: AsyncIterable<Uint8Array> } {
  async function* body(): AsyncGenerator<Uint8Array> {
    for (let sent = 0; sent < size; sent += CHUNK.length) yield CHUNK.subarray(0, size - sent);
  }
  return { size, body: body() };
}

async function* brokenBody(): AsyncGenerator<Uint8Array> {
  yield CHUNK.subarray(0, 10);
  throw new Error('the disk is broken');
}

/** Opens a connection, asks for a picture and reads nothing. */
async function askWithoutReading(port: number, url: string) {
  const { pathname, search } = new URL(url);
  const socket = connect({ host: '127.0.0.1', port });
  await once(socket, 'connect');
  socket.pause();
  socket.write(`GET ${pathname}${search} HTTP/1.1\r\nHost: x\r\n\r\n`);
  return socket;
}

test('every body that was opened is closed, whatever the answer', async (t) => {
  const storage = countingStorage(memoryStorage());
  const app = await createTestApp(t, { storage, media: { secrets: LINK_SECRET } });
  const { url, file } = await draw(app);
  const { headers } = await fetch(url, { method: 'HEAD' });
  const etag = headers.get('etag') ?? '';
  assert.equal(storage.opened(), 0, 'HEAD opens nothing');

  await (await fetch(url, { headers: { 'if-none-match': etag } })).arrayBuffer();
  await (await fetch(url, { headers: { range: 'bytes=999999999-' } })).arrayBuffer();
  assert.equal(storage.opened(), 0, '304 and 416 open nothing');

  const webp = file.replace(/png$/, 'webp');
  await fetch(`${app.url}/v1/media/${webp}?token=${linkSigner.sign(webp, Date.now() + 60_000)}`);
  await (await fetch(url)).arrayBuffer();
  await (await fetch(url, { headers: { range: 'bytes=0-9' } })).arrayBuffer();
  assert.equal(storage.opened(), 3);
  await until(() => storage.open() === 0);
});

test('a client that leaves in the middle closes the source', async (t) => {
  const storage = countingStorage(memoryStorage(), () => chunksOf(64 * 1024 * 1024));
  const app = await createTestApp(t, { storage });
  const { url } = await draw(app);
  const socket = await askWithoutReading(app.port, url);
  await until(() => storage.chunks() > 0);
  assert.equal(storage.open(), 1);
  socket.destroy();
  await until(() => storage.open() === 0);
  assert.deepEqual(app.eventsOf('storage.failed'), []);
});

test('of requests in line on a connection only the first has its picture open, and none when the client leaves', async (t) => {
  const storage = countingStorage(memoryStorage(), () => chunksOf(64 * 1024 * 1024));
  const app = await createTestApp(t, { storage });
  const { pathname, search } = new URL((await draw(app)).url);
  const socket = connect({ host: '127.0.0.1', port: app.port });
  socket.pause();
  socket.write(`GET ${pathname}${search} HTTP/1.1\r\nHost: x\r\n\r\n`.repeat(50));
  await until(() => storage.chunks() > 0);
  await sleep(100);
  assert.equal(storage.open(), 1);
  socket.destroy();
  await until(() => storage.open() === 0);
  await app.router.close();
  assert.equal(storage.opened(), 1);
});

test('a client that left while its requests in line were still with the host is not waited for', {
  timeout: 60_000,
}, async (t) => {
  const storage = countingStorage(memoryStorage());
  const held: (() => void)[] = [];
  let holds = false;
  const app = await createTestApp(t, {
    storage,
    // Longer than the test may take.
    limits: { drainMs: 600_000 },
    before: (host) => {
      host.use((_req, _res, next) => {
        if (holds) held.push(next);
        else next();
      });
    },
  });
  const { pathname, search } = new URL((await draw(app)).url);
  holds = true;
  const socket = connect({ host: '127.0.0.1', port: app.port });
  socket.write(`GET ${pathname}${search} HTTP/1.1\r\nHost: x\r\n\r\n`.repeat(3));
  await until(() => held.length === 3);
  socket.destroy();
  await sleep(100);
  for (const proceed of held) proceed();
  await app.router.close();
  await until(() => storage.open() === 0);
});

test('requests in line on a connection are answered in turn', async (t) => {
  const storage = countingStorage(memoryStorage());
  const app = await createTestApp(t, { storage });
  const { pathname, search } = new URL((await draw(app)).url);
  const socket = connect({ host: '127.0.0.1', port: app.port });
  const request = (path: string, more = '') => `GET ${path} HTTP/1.1\r\nHost: x\r\n${more}\r\n`;
  socket.write(request(pathname + search) + request(`${pathname}${search}&w=64`) + request('/v1/media/x'));
  socket.write(request(pathname + search, 'Range: bytes=0-9\r\nConnection: close\r\n'));
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk);
  const statuses = Buffer.concat(chunks)
    .toString('latin1')
    .match(/(?<=HTTP\/1\.1 )\d{3}/g);
  assert.deepEqual(statuses, ['200', '200', '403', '206']);
  await until(() => storage.open() === 0);
});

test('a picture in line that breaks midway breaks its connection, after all that stood before it', async (t) => {
  let opened = 0;
  const storage = countingStorage(memoryStorage(), () => {
    opened += 1;
    return opened === 2 ? { body: brokenBody() } : {};
  });
  const app = await createTestApp(t, { storage });
  const { bytes, url } = await draw(app);
  const { pathname, search } = new URL(url);
  const socket = connect({ host: '127.0.0.1', port: app.port });
  socket.write(`GET ${pathname}${search} HTTP/1.1\r\nHost: x\r\n\r\n`.repeat(3));
  let received = 0;
  socket.on('data', (chunk) => {
    received += chunk.length;
  });
  // Node resets the connection where it still has something to send.
  socket.on('error', () => undefined);
  await once(socket, 'close', { signal: AbortSignal.timeout(10_000) });
  assert.ok(received > bytes, 'the first one came whole');
  assert.equal(opened, 2, 'the third was not opened');
});

for (const [name, headers] of Object.entries({ 'a picture': '', 'a part of one': 'Range: bytes=0-9\r\n' })) {
  test(`a client that leaves before storage answered for ${name} leaves nothing open`, async (t) => {
    let answer: () => void = () => undefined;
    const storage = countingStorage(memoryStorage(), async () => {
      await new Promise<void>((resolve) => {
        answer = resolve;
      });
      return {};
    });
    const app = await createTestApp(t, { storage });
    const { url } = await draw(app);
    const { pathname, search } = new URL(url);
    const socket = connect({ host: '127.0.0.1', port: app.port });
    socket.write(`GET ${pathname}${search} HTTP/1.1\r\nHost: x\r\n${headers}\r\n`);
    await until(() => storage.opened() === 1);
    socket.destroy();
    await sleep(50);
    answer();
    await until(() => storage.open() === 0);
    assert.equal(storage.chunks(), 0);
  });
}

test('for a client that does not read, little is read from storage', async (t) => {
  const storage = countingStorage(memoryStorage(), () => chunksOf(256 * 1024 * 1024));
  const app = await createTestApp(t, { storage });
  const { url } = await draw(app);
  const socket = await askWithoutReading(app.port, url);
  await until(() => storage.chunks() > 0);
  let seen = -1;
  while (seen !== storage.chunks()) {
    seen = storage.chunks();
    await sleep(100);
  }
  // What the kernel buffers on both ends of a loopback connection is a few megabytes.
  assert.ok(seen * CHUNK.length < 32 * 1024 * 1024, `${seen} chunks were read`);
  socket.destroy();
});

test('a middleware of the host may keep what is sent: its memory is not used again', async (t) => {
  const storage = filesystem({ root: await temporaryFolder(t) });
  const kept: Uint8Array[] = [];
  const app = await createTestApp(t, {
    storage,
    media: { secrets: LINK_SECRET },
    before: (host) => {
      host.use((_, res, next) => {
        const keeping = (send: (chunk?: Uint8Array) => unknown) => (chunk?: Uint8Array) => {
          if (chunk !== undefined) kept.push(chunk);
          return send.call(res, chunk);
        };
        Object.assign(res, { write: keeping(res.write), end: keeping(res.end) });
        next();
      });
    },
  });
  for (const fill of [1, 2]) {
    const { path, bytes } = await place(storage, Buffer.alloc(1_000_000, fill));
    assert.ok((await ask({ port: app.port, path })).body.equals(bytes), 'the client gets the picture');
  }
  const both = Buffer.concat(kept);
  assert.equal(both.indexOf(2), 1_000_000, 'and what was kept of the first is still the first');
});

test('a slow reader gets every byte', async (t) => {
  const size = 4 * 1024 * 1024 + 3;
  const storage = countingStorage(memoryStorage(), () => chunksOf(size));
  const app = await createTestApp(t, { storage });
  const { url } = await draw(app);
  const answer = await fetch(url);
  let length = 0;
  for await (const chunk of answer.body ?? []) {
    length += chunk.byteLength;
    await sleep(1);
  }
  assert.equal(length, size);
});

const REFUSAL = () => Promise.reject(new Error('disk /dev/secret is gone'));

for (const [operation, broken, headers] of [
  ['get', { get: REFUSAL }, {}],
  ['stat', { stat: REFUSAL }, { range: 'bytes=0-9' }],
  ['get', { get: REFUSAL }, { range: 'bytes=0-9' }],
] as const) {
  test(`storage that fails on ${operation} is STORAGE_ERROR ${JSON.stringify(headers)}`, async (t) => {
    const memory = memoryStorage();
    const faults: Partial<MediaStorage> = {};
    const storage: MediaStorage = {
      ...memory,
      get: (...args) => (faults.get ?? memory.get)(...args),
      stat: (...args) => (faults.stat ?? memory.stat)(...args),
    };
    const app = await createTestApp(t, { storage });
    const { url } = await draw(app);
    Object.assign(faults, broken);
    const answer = await fetch(url, { headers });
    const body = await answer.text();
    assert.equal(answer.status, 503);
    assert.equal(JSON.parse(body).error.code, 'STORAGE_ERROR');
    assert.doesNotMatch(body, /secret|drawn/);
    const [event] = app.eventsOf('storage.failed');
    assert.equal(event?.operation, operation);
    assert.match(String(event?.cause), /secret/);
  });
}

for (const [name, yielded] of Object.entries({ 'before the first byte': 0, 'in the middle': 3 })) {
  test(`storage that breaks ${name} breaks the connection and raises an event`, async (t) => {
    async function* body(): AsyncGenerator<Uint8Array> {
      for (let chunk = 0; chunk < yielded; chunk += 1) yield CHUNK;
      throw new Error('the disk is gone');
    }
    const storage = countingStorage(memoryStorage(), () => ({ size: 4 * CHUNK.length, body: body() }));
    const app = await createTestApp(t, { storage });
    const { url } = await draw(app);
    const { pathname, search } = new URL(url);
    await assert.rejects(ask({ port: app.port, path: pathname + search }));
    await until(() => storage.open() === 0);
    const [event] = app.eventsOf('storage.failed');
    assert.equal(event?.operation, 'get');
    assert.match(String(event?.cause), /the disk is gone/);
    assert.equal((await fetch(`${app.url}/v1/images/openapi.json`)).status, 200);
  });
}

for (const [name, bytes] of Object.entries({ fewer: 2 * CHUNK.length, more: 6 * CHUNK.length })) {
  test(`storage with ${name} bytes than it said breaks the connection and raises an event`, async (t) => {
    const size = 4 * CHUNK.length;
    const storage = countingStorage(memoryStorage(), () => ({ ...chunksOf(bytes), size: size - 1 }));
    const app = await createTestApp(t, { storage });
    const { id, url } = await draw(app);
    const { pathname, search } = new URL(url);
    await assert.rejects(ask({ port: app.port, path: pathname + search }));
    await until(() => storage.open() === 0);
    const [event] = app.eventsOf('storage.damaged');
    assert.equal(event?.id, id);
    assert.match(String((event?.cause as Error | undefined)?.cause), new RegExp(`${name}.*announced`));
    assert.deepEqual(app.eventsOf('storage.failed'), []);
  });
}

test('a byte after the last one announced never reaches the wire', async (t) => {
  const forged = Buffer.from('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nEVIL!');
  async function* body(): AsyncGenerator<Uint8Array> {
    yield CHUNK;
    yield forged;
  }
  const storage = countingStorage(memoryStorage(), () => ({ size: CHUNK.length, body: body() }));
  const app = await createTestApp(t, { storage });
  const { url } = await draw(app);
  const { pathname, search } = new URL(url);
  const socket = connect({ host: '127.0.0.1', port: app.port });
  socket.write(`GET ${pathname}${search} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
  const received: Buffer[] = [];
  socket.on('data', (chunk) => received.push(chunk));
  await once(socket, 'close');
  assert.ok(Buffer.concat(received).includes(CHUNK), 'the picture came');
  assert.ok(!Buffer.concat(received).includes('EVIL!'), 'nothing follows it');
});

test('a picture replaced between two looks is never sent in pieces of both', async (t) => {
  const memory = memoryStorage();
  const storage = countingStorage(memory, () => ({ sha256: '0'.repeat(64) }));
  const app = await createTestApp(t, { storage });
  const { url } = await draw(app);
  const answer = await fetch(url, { headers: { range: 'bytes=0-9' } });
  assert.equal(answer.status, 503);
  await answer.arrayBuffer();
  await until(() => storage.open() === 0);
});

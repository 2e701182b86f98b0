/** Chunks in memory that storage uses again are sent before it does. */
import assert from 'node:assert/strict';
import { randomFillSync } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { MediaStorage } from '../../src/core/storage.js';
import { filesystem } from '../../src/storage/filesystem.js';
import { memoryStorage } from '../../src/storage/memory.js';
import { createTestApp } from '../support/app.js';
import { ask, LINK_SECRET, place } from '../support/media.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const MEBIBYTE = 1024 * 1024;

/** A server that takes a mebibyte of an answer before it says that it is enough. */
async function eagerServer(t: TestContext, storage: MediaStorage): Promise<number> {
  const { app } = await createTestApp(t, { storage, media: { secrets: LINK_SECRET } });
  const server = createServer({ highWaterMark: MEBIBYTE }, app).listen(0, '127.0.0.1');
  t.after(() => server.close());
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

test('a slow reader gets the right bytes, however much of them the host lets connections queue', async (t) => {
  const storage = filesystem({ root: await temporaryFolder(t) });
  const port = await eagerServer(t, storage);
  // Beyond what the kernel buffers on both ends.
  const { path, bytes } = await place(storage, randomFillSync(Buffer.alloc(20 * MEBIBYTE)));
  const socket = connect({ host: '127.0.0.1', port });
  await once(socket, 'connect');
  socket.pause();
  socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
  await sleep(300);
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk);
  const answer = Buffer.concat(chunks);
  assert.ok(answer.subarray(answer.indexOf('\r\n\r\n') + 4).equals(bytes), 'other bytes came');
});

test('a storage may lend pieces of any size', async (t) => {
  const memory = memoryStorage();
  const bytes = randomFillSync(Buffer.alloc(MEBIBYTE));
  async function* lent(size: number) {
    const memory = Buffer.alloc(size);
    for (let at = 0; at < bytes.length; at += size) {
      yield memory.subarray(0, bytes.copy(memory, 0, at));
    }
  }
  let size = 0;
  const storage: MediaStorage = {
    ...memory,
    async get(key, options) {
      const object = await memory.get(key, options);
      return object && options?.transient ? { ...object, body: lent(size) } : object;
    },
  };
  const { port } = await createTestApp(t, { storage, media: { secrets: LINK_SECRET } });
  const { path } = await place(storage, bytes);
  for (size of [1_000, 8_192, 100_000]) {
    const { body } = await ask({ port, path });
    assert.ok(body.equals(bytes), `other bytes came, in pieces of ${size}`);
  }
});

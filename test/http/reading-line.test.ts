/** Answers of providers that arrive at once are read in the order in which they began, whoever asked for them. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { bodyOf } from '../../src/providers/upstream.js';
import { createTestApp } from '../support/app.js';
import { altered } from '../support/hostile-providers.js';

const REQUESTS = 64;
const BYTES = 1 << 20;

/** A server that answers when as many have asked as there will be. */
async function crowded(t: TestContext): Promise<string> {
  const waiting: ServerResponse[] = [];
  const body = Buffer.alloc(BYTES);
  const server = createServer((_request, response) => {
    waiting.push(response);
    if (waiting.length === REQUESTS) for (const each of waiting) each.end(body);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test('of answers that arrive at once, the first is there before half of the others are', async (t) => {
  const url = await crowded(t);
  let read = 0;
  let readBeforeFirstEnd: number | undefined;
  const provider = altered(async function* (events, call) {
    const digest = createHash('sha256');
    for await (const chunk of bodyOf(await call.fetch(url))) {
      // Some work, as for a picture: else nobody has to wait for time.
      digest.update(chunk);
      read += chunk.byteLength;
    }
    readBeforeFirstEnd ??= read;
    yield* events;
  });
  const app = await createTestApp(t, { providers: [provider] });
  const ask = () => app.native({ model: 'placeholder/sketch', prompt: 'A lighthouse' }).expect(200);
  await Promise.all(Array.from({ length: REQUESTS }, ask));
  assert.equal(read, REQUESTS * BYTES);
  assert.ok(
    readBeforeFirstEnd !== undefined && readBeforeFirstEnd < read / 2,
    `${readBeforeFirstEnd} of ${read} bytes were read when the first answer was there`,
  );
});

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { openai } from '../../src/providers/openai.js';
import { createUpstreamFetch } from '../../src/providers/upstream.js';
import { createUpstreamAgents } from '../../src/providers/upstream-request.js';
import { createTestApp, until } from '../support/app.js';
import { generateCall, modelOf, outcomeOf } from '../support/generate-call.js';
import { sseFrame, streamFrames } from '../support/openai-upstream.js';

const END_OF_STREAM = 'data: [DONE]\n\n';
const STREAMED = { model: 'openai/gpt-image-2', prompt: 'A lighthouse', stream: true, partial_images: 2 };

/** For what waits for a connection to close: one that never does must not hang the run. */
const patient = { timeout: 10_000 };

/** A vendor who draws at once; what it does after its picture is up to the test. */
async function vendor(t: TestContext, rest: (response: ServerResponse) => void) {
  const sockets = new Set<Socket>();
  const server = createServer((request, response) => {
    request.resume();
    request.once('end', () => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      // A piece of its own, as a vendor flushes its picture before it says that this was all.
      response.write(streamFrames().join(''), () => rest(response));
    });
  });
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const provider = openai({
    apiKey: 'sk-test',
    baseURL: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
  });
  const agents = createUpstreamAgents();
  t.after(() => {
    for (const agent of Object.values(agents)) agent.destroy();
  });
  return {
    provider,
    sockets,
    async draw(signal: AbortSignal = new AbortController().signal) {
      const fetch = createUpstreamFetch({ maxBytes: 64 * 1024 * 1024, signal, agents });
      const call = generateCall(modelOf(provider, 'openai/gpt-image-2'), { previews: 2, signal, fetch });
      const { events, thrown } = await outcomeOf(provider, call);
      assert.deepEqual([events.map(({ type }) => type), thrown], [['image', 'end'], undefined]);
    },
    /** Once no request is under way any more; whether its connection was kept for the next one. */
    async isKept() {
      await until(() => Object.keys(agents['http:'].sockets).length === 0);
      return Object.keys(agents['http:'].freeSockets).length > 0;
    },
  };
}

test('streams one after another use one connection', async (t) => {
  const { draw, isKept, sockets } = await vendor(t, (response) => {
    setTimeout(() => response.end(END_OF_STREAM), 5);
  });
  for (let round = 0; round < 5; round += 1) {
    await draw();
    assert.equal(await isKept(), true);
  }
  assert.equal(sockets.size, 1);
});

test('streams through the router use one connection, too', async (t) => {
  const { provider, sockets } = await vendor(t, (response) => {
    setTimeout(() => response.end(END_OF_STREAM), 50);
  });
  const app = await createTestApp(t, { providers: [provider] });
  for (let round = 0; round < 5; round += 1) {
    const { text } = await app.openai(STREAMED);
    assert.match(text, /image_generation\.completed/);
    // The end of the vendor's answer is behind the picture, which went out at once.
    await pause(100);
  }
  assert.equal(sockets.size, 1);
});

test('a vendor who trickles on for ever is cut off', patient, async (t) => {
  const { draw, isKept } = await vendor(t, (response) => {
    const timer = setInterval(() => response.write(':\n\n'), 10);
    response.once('close', () => clearInterval(timer));
  });
  await draw();
  assert.equal(await isKept(), false);
});

test('a vendor who sends much more is cut off before its time is up', patient, async (t) => {
  let written = 0;
  const { draw, isKept } = await vendor(t, (response) => {
    const more = sseFrame({ type: 'keepalive', text: 'x'.repeat(32 * 1024) });
    const timer = setInterval(() => {
      response.write(more);
      written += more.length;
    }, 1);
    response.once('close', () => clearInterval(timer));
    setTimeout(() => response.end(END_OF_STREAM), 100);
  });
  await draw();
  assert.equal(await isKept(), false);
  assert.ok(written > 64 * 1024, `${written} bytes were sent`);
});

test('a call that is aborted reads no rest', patient, async (t) => {
  let open: ServerResponse | undefined;
  const { draw, isKept } = await vendor(t, (response) => {
    open = response;
  });
  const controller = new AbortController();
  await draw(controller.signal);
  controller.abort();
  open?.end(END_OF_STREAM);
  assert.equal(await isKept(), false);
});

test('a router that is closed waits for no rest, and keeps no connection for it', patient, async (t) => {
  const { provider, sockets } = await vendor(t, () => undefined);
  const app = await createTestApp(t, { providers: [provider] });
  // The time that a rest is given is never up.
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { text } = await app.openai(STREAMED);
  assert.match(text, /image_generation\.completed/);
  await app.router.close();
  const [socket] = sockets;
  assert.ok(socket, 'the vendor was asked');
  if (!socket.closed) await once(socket, 'close');
});

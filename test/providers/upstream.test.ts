import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import { inspect } from 'node:util';
import { brotliCompressSync, createGzip, gzipSync } from 'node:zlib';
import { isProviderError, type ProviderError } from '../../src/errors.js';
import { createUpstreamFetch, bodyOf as rawBodyOf } from '../../src/providers/upstream.js';
import { createUpstreamAgents } from '../../src/providers/upstream-request.js';

interface LocalServer {
  readonly url: string;
  readonly received: readonly IncomingMessage[];
  /** Resolves when the first answer is out or its client has gone: `true` when it went before the end. */
  readonly left: Promise<boolean>;
}

async function serve(
  t: TestContext,
  answer: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<LocalServer> {
  const received: IncomingMessage[] = [];
  let resolve: (left: boolean) => void = () => {};
  const left = new Promise<boolean>((settle) => {
    resolve = settle;
  });
  const server = createServer((request, response) => {
    received.push(request);
    response.on('close', () => resolve(!response.writableFinished));
    answer(request, response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(async () => {
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/path`, received, left };
}

const never = new AbortController().signal;

/** For tests that wait for a socket to close: one that never does must not hang the run. */
const patient = { timeout: 10_000 };

async function failureOf(work: Promise<unknown>): Promise<ProviderError> {
  const thrown = await work.then(
    () => undefined,
    (error: unknown) => error,
  );
  assert.ok(isProviderError(thrown), `a ProviderError, not ${inspect(thrown)}`);
  return thrown;
}

async function bodyOf(work: Promise<Response>): Promise<Buffer> {
  return Buffer.from(await (await work).arrayBuffer());
}

test('an ordinary answer passes with its status, headers and bytes', async (t) => {
  const server = await serve(t, (_request, response) => {
    response.writeHead(418, { 'x-request-id': 'abc' });
    response.end('tea');
  });
  const response = await createUpstreamFetch({ maxBytes: 3, signal: never })(server.url, {
    method: 'POST',
    body: 'x',
  });
  assert.equal(response.status, 418);
  assert.equal(response.headers.get('x-request-id'), 'abc');
  assert.equal(await response.text(), 'tea');
});

test('an answer without a body passes', async (t) => {
  const server = await serve(t, (_request, response) => response.writeHead(204).end());
  const response = await createUpstreamFetch({ maxBytes: 1, signal: never })(server.url);
  assert.equal(response.status, 204);
});

for (const status of [301, 302, 303, 307, 308, 304]) {
  test(`a ${status} is an error, and nobody goes where it points`, async (t) => {
    const target = await serve(t, (_request, response) => response.end('stolen'));
    const server = await serve(t, (_request, response) => {
      response.writeHead(status, { location: target.url }).end();
    });
    const error = await failureOf(
      createUpstreamFetch({ maxBytes: 100, signal: never })(server.url, { method: 'POST', body: 'prompt' }),
    );
    assert.equal(error.kind, 'shape');
    assert.equal(error.billed, 'unknown');
    assert.equal(target.received.length, 0);
    assert.ok(!inspect(error, { depth: 10 }).includes(target.url));
  });
}

test('a body of exactly the cap passes and one byte more does not', async (t) => {
  const server = await serve(t, (_request, response) => response.end('x'.repeat(1000)));
  assert.equal(
    (await bodyOf(createUpstreamFetch({ maxBytes: 1000, signal: never })(server.url))).length,
    1000,
  );
  const error = await failureOf(bodyOf(createUpstreamFetch({ maxBytes: 999, signal: never })(server.url)));
  assert.equal(error.kind, 'shape');
});

test('an endless body is cut at the cap and its socket closed', patient, async (t) => {
  const chunk = Buffer.alloc(64 * 1024);
  const server = await serve(t, (_request, response) => {
    const pump = () => {
      while (response.write(chunk));
    };
    response.on('drain', pump);
    pump();
  });
  const error = await failureOf(
    bodyOf(createUpstreamFetch({ maxBytes: 1 << 20, signal: never })(server.url)),
  );
  assert.equal(error.kind, 'shape');
  assert.equal(await server.left, true);
});

test('a gzip bomb is measured decompressed', async (t) => {
  const server = await serve(t, (_request, response) => {
    response.writeHead(200, { 'content-encoding': 'gzip' });
    const gzip = createGzip();
    gzip.pipe(response);
    gzip.end(Buffer.alloc(32 << 20));
  });
  const before = process.memoryUsage().arrayBuffers;
  const error = await failureOf(
    bodyOf(createUpstreamFetch({ maxBytes: 1 << 20, signal: never })(server.url)),
  );
  assert.equal(error.kind, 'shape');
  // The 32 MiB the server compresses from are in this process too.
  assert.ok(process.memoryUsage().arrayBuffers - before < 48 << 20);
});

test('compression that is broken is a malformed answer', async (t) => {
  const server = await serve(t, (_request, response) => {
    response.writeHead(200, { 'content-encoding': 'gzip' });
    const bytes = gzipSync('{"data": []}'.repeat(100));
    // The first byte after the header: a block type that does not exist.
    bytes[10] = 0xff;
    response.end(bytes);
  });
  const error = await failureOf(bodyOf(createUpstreamFetch({ maxBytes: 1000, signal: never })(server.url)));
  assert.equal(error.kind, 'shape');
});

test('HTTP that is broken is a malformed answer', async (t) => {
  const server = await serve(t, (request) => request.socket.end('HTTP/1.1 2x0 Yes\r\n\r\n'));
  const error = await failureOf(bodyOf(createUpstreamFetch({ maxBytes: 1000, signal: never })(server.url)));
  assert.equal(error.kind, 'shape');
  assert.equal(error.billed, 'unknown');
});

test('a chunk of bad length in mid-body is one clean error', async (t) => {
  const server = await serve(t, (request) => {
    request.socket.end('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\nnonsense\r\n');
  });
  const error = await failureOf(bodyOf(createUpstreamFetch({ maxBytes: 1000, signal: never })(server.url)));
  assert.equal(error.billed, 'unknown');
});

test('a body shorter than its Content-Length is an error', async (t) => {
  const server = await serve(t, (request) => {
    request.socket.end('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nabc');
  });
  const error = await failureOf(bodyOf(createUpstreamFetch({ maxBytes: 1000, signal: never })(server.url)));
  assert.equal(error.billed, 'unknown');
});

test('a connection reset before the answer may have been billed', async (t) => {
  const server = await serve(t, (request) => request.socket.resetAndDestroy());
  const error = await failureOf(createUpstreamFetch({ maxBytes: 1000, signal: never })(server.url));
  assert.equal(error.kind, 'unavailable');
  assert.equal(error.billed, 'unknown');
});

test('a port nobody listens on cannot have billed, and its address stays with us', async (t) => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  t.diagnostic(`port ${port}`);
  for (const host of ['127.0.0.1', 'localhost']) {
    const error = await failureOf(
      createUpstreamFetch({ maxBytes: 1, signal: never })(`http://${host}:${port}/`),
    );
    assert.equal(error.kind, 'unavailable');
    assert.equal(error.billed, 'no');
    assert.deepEqual(error.cause, { code: 'ECONNREFUSED' });
    assert.ok(!inspect(error, { depth: 10 }).includes(String(port)));
  }
});

test('a name nobody has cannot have billed', async () => {
  const error = await failureOf(
    createUpstreamFetch({ maxBytes: 1, signal: never })('http://nobody.invalid/'),
  );
  assert.equal(error.kind, 'unavailable');
  assert.equal(error.billed, 'no');
});

for (const target of [
  'file:///etc/passwd',
  'data:,x',
  'http://user:secret@127.0.0.1/',
  'http://secret@127.0.0.1/',
  'not a url',
  '/v1',
]) {
  test(`${target} is not gone to`, async () => {
    const error = await failureOf(createUpstreamFetch({ maxBytes: 1, signal: never })(target));
    assert.equal(error.kind, 'shape');
    assert.equal(error.billed, 'no');
    assert.ok(!inspect(error).includes('secret'));
  });
}

test('the signal ends a request that waits for its answer, with its own reason', patient, async (t) => {
  const controller = new AbortController();
  const server = await serve(t, () => controller.abort(reason));
  const reason = new Error('the deadline');
  const fetch = createUpstreamFetch({ maxBytes: 1000, signal: controller.signal });
  await assert.rejects(fetch(server.url), (error) => error === reason);
  assert.equal(await server.left, true);
});

test('the signal ends a body in the middle, with its own reason', patient, async (t) => {
  const controller = new AbortController();
  const server = await serve(t, (_request, response) => response.write('abc'));
  const reason = new Error('the deadline');
  const response = await createUpstreamFetch({ maxBytes: 1000, signal: controller.signal })(server.url);
  const body = response.text();
  controller.abort(reason);
  await assert.rejects(body, (error) => error === reason);
  assert.equal(await server.left, true);
});

for (const whose of ['call', 'request'] as const) {
  test(`a request with a signal of its own ends by that of the ${whose} too`, patient, async (t) => {
    const controllers = { call: new AbortController(), request: new AbortController() };
    const server = await serve(t, (_request, response) => response.write('abc'));
    const fetch = createUpstreamFetch({ maxBytes: 1000, signal: controllers.call.signal });
    const response = await fetch(new Request(server.url, { signal: controllers.request.signal }));
    const body = response.text();
    const reason = new Error('the deadline');
    controllers[whose].abort(reason);
    await assert.rejects(body, (error) => error === reason);
    assert.equal(await server.left, true);
  });
}

test('nothing is sent once the signal has aborted', async (t) => {
  const server = await serve(t, (_request, response) => response.end());
  const fetch = createUpstreamFetch({ maxBytes: 1000, signal: AbortSignal.abort() });
  await assert.rejects(fetch(server.url), { name: 'AbortError' });
  assert.equal(server.received.length, 0);
});

test('a body that is given up closes its socket', patient, async (t) => {
  const server = await serve(t, (_request, response) => response.write('abc'));
  const response = await createUpstreamFetch({ maxBytes: 1000, signal: never })(server.url);
  await response.body?.cancel();
  assert.equal(await server.left, true);
});

test('connections are kept for the next request, and closed with their agents', patient, async (t) => {
  const ports: (number | undefined)[] = [];
  const server = await serve(t, ({ socket }, response) => {
    ports.push(socket.remotePort);
    response.end('x');
  });
  const agents = createUpstreamAgents();
  for (let request = 0; request < 3; request += 1) {
    await bodyOf(createUpstreamFetch({ maxBytes: 1, signal: never, agents })(server.url));
    // The connection is free a turn of the event loop after the body's end.
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.equal(new Set(ports).size, 1);
  for (const agent of Object.values(agents)) agent.destroy();
});

test('a body is read where it arrives, and its cap and its signal hold there too', patient, async (t) => {
  const server = await serve(t, (_request, response) => response.write('x'.repeat(1000)));
  const controller = new AbortController();
  const { signal } = controller;
  const small = await createUpstreamFetch({ maxBytes: 999, signal })(server.url);
  const error = await failureOf(bytesOf(rawBodyOf(small)));
  assert.equal(error.kind, 'shape');
  const large = await createUpstreamFetch({ maxBytes: 1001, signal })(server.url);
  const reading = bytesOf(rawBodyOf(large));
  const reason = new Error('the deadline');
  setImmediate(() => controller.abort(reason));
  await assert.rejects(reading, (thrown) => thrown === reason);
});

test('a chunk of a body that is read as it arrives is there until the next one is asked for', async (t) => {
  const bytes = randomBytes(2 * 1024 * 1024);
  const server = await serve(t, (_request, response) => response.end(bytes));
  const response = await createUpstreamFetch({ maxBytes: bytes.length, signal: never })(server.url);
  const chunks: Uint8Array[] = [];
  let position = 0;
  for await (const chunk of rawBodyOf(response)) {
    assert.ok(bytes.subarray(position, position + chunk.length).equals(chunk), `the bytes from ${position}`);
    position += chunk.length;
    if (chunk.length >= 32 * 1024 && chunk.length === chunk.buffer.byteLength) chunks.push(chunk);
  }
  assert.equal(position, bytes.length);
  assert.ok(chunks.length > 2, `${chunks.length} chunks`);
  assert.equal(chunks.filter(({ length }) => length > 0).length, 0, 'chunks that are still there');
});

test('a body that is read whole keeps its chunks', async (t) => {
  const bytes = randomBytes(2 * 1024 * 1024);
  const server = await serve(t, (_request, response) => response.end(bytes));
  const read = createUpstreamFetch({ maxBytes: bytes.length, signal: never })(server.url);
  assert.ok((await bodyOf(read)).equals(bytes), 'other bytes came');
});

test('chunks of a body that was made elsewhere stay its own', async () => {
  const bytes = new Uint8Array(256 * 1024);
  for (const time of ['once', 'twice']) {
    let length = 0;
    for await (const chunk of rawBodyOf(new Response(streamOf(bytes)))) length += chunk.length;
    assert.equal(length, bytes.length, time);
  }
});

function streamOf(chunk: Uint8Array): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      controller.enqueue(chunk);
      controller.close();
    },
  });
}

for (const [coding, compress] of [
  ['gzip', gzipSync],
  ['br', brotliCompressSync],
] as const) {
  test(`a body in ${coding} is decompressed, although nobody asked for it`, async (t) => {
    const server = await serve(t, (_request, response) => {
      response.writeHead(200, { 'content-encoding': coding }).end(compress('picture'.repeat(100)));
    });
    const body = await bodyOf(createUpstreamFetch({ maxBytes: 1000, signal: never })(server.url));
    assert.equal(body.toString(), 'picture'.repeat(100));
    assert.equal(server.received[0]?.headers['accept-encoding'], 'identity');
  });
}

test('whoever asks for compression by a header gets it', async (t) => {
  const server = await serve(t, ({ headers }, response) => response.end(headers['accept-encoding']));
  const headers = { 'Accept-Encoding': 'br' };
  const body = await bodyOf(createUpstreamFetch({ maxBytes: 1000, signal: never })(server.url, { headers }));
  assert.equal(body.toString(), 'br');
});

test('a request that brings a dispatcher of its own goes by it, within the same bounds', async (t) => {
  const server = await serve(t, (_request, response) => response.end('x'.repeat(1000)));
  let dispatched = 0;
  const dispatcher = {
    dispatch(options: object, handler: object): boolean {
      dispatched += 1;
      return globalDispatcher().dispatch(options, handler);
    },
  };
  await (await fetch(server.url)).text();
  const work = createUpstreamFetch({ maxBytes: 999, signal: never })(server.url, {
    dispatcher,
  } as unknown as RequestInit);
  assert.equal((await failureOf(bodyOf(work))).kind, 'shape');
  assert.equal(dispatched, 1);
});

interface Dispatcher {
  dispatch(options: object, handler: object): boolean;
}

/** What Node's own `fetch` goes by. */
function globalDispatcher(): Dispatcher {
  const holder = globalThis as unknown as Readonly<Record<symbol, Dispatcher | undefined>>;
  const found = holder[Symbol.for('undici.globalDispatcher.1')];
  assert.ok(found, 'fetch was used, so there is one');
  return found;
}

async function bytesOf(body: AsyncIterable<Uint8Array>): Promise<number> {
  let bytes = 0;
  for await (const chunk of body) bytes += chunk.byteLength;
  return bytes;
}

test('an abort while an answer that arrived whole is read hurts nobody else', patient, async (t) => {
  const server = await serve(t, (_request, response) => response.end('tea'));
  const uncaught: unknown[] = [];
  const hear = (error: unknown) => void uncaught.push(error);
  process.on('uncaughtException', hear);
  t.after(() => process.off('uncaughtException', hear));
  for (const leaves of [true, false]) {
    const controller = new AbortController();
    const response = await createUpstreamFetch({ maxBytes: 3, signal: controller.signal })(server.url);
    const body = rawBodyOf(response)[Symbol.asyncIterator]();
    await body.next();
    const left = leaves ? body.return?.() : body.next();
    controller.abort();
    await Promise.resolve(left).catch(() => undefined);
    for (let round = 0; round < 20; round += 1) await new Promise((resolve) => setImmediate(resolve));
  }
  assert.deepEqual(uncaught, []);
});

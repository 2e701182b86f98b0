import assert from 'node:assert/strict';
import { once } from 'node:events';
import http from 'node:http';
import https from 'node:https';
import { type AddressInfo, createServer, Socket } from 'node:net';
import { type Duplex, PassThrough, Readable } from 'node:stream';
import { type TestContext, test } from 'node:test';
import { setImmediate as nextRound } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { chunksOf } from '../../src/providers/body-chunks.js';
import { bodyOf, createUpstreamFetch } from '../../src/providers/upstream.js';
import type { UpstreamAgents } from '../../src/providers/upstream-request.js';
import { selfSigned } from '../support/self-signed.js';

const SOON = { timeout: 20_000 };
const never = new AbortController().signal;

test('chunks that have come meanwhile are not put together', SOON, async () => {
  const body = new PassThrough();
  const sent = ['one', 'two', 'three'].map((text) => Buffer.from(text));
  for (const chunk of sent) body.write(chunk);
  body.end();
  const read: Buffer[] = [];
  for await (const chunk of chunksOf(body)) {
    read.push(chunk);
    await nextRound();
  }
  assert.deepEqual(read.map(String), ['one', 'two', 'three']);
  assert.deepEqual(
    read.map((chunk) => chunk.buffer === sent[0]?.buffer),
    [true, true, true],
  );
});

test('a body waits while its reader does, and keeps no more than a stream does', SOON, async () => {
  let made = 0;
  const body = new Readable({
    highWaterMark: 1000,
    read() {
      made += 1;
      this.push(made > 50 ? null : Buffer.alloc(1000));
    },
  });
  const chunks = chunksOf(body);
  await chunks.next();
  for (let round = 0; round < 20; round += 1) await nextRound();
  assert.ok(made < 5, `${made} made`);
  let rest = 0;
  for await (const { length } of chunks) rest += length;
  assert.equal(rest, 49_000);
});

test('whoever leaves a body destroys it', SOON, async () => {
  const body = new PassThrough();
  body.write('one');
  for await (const _ of chunksOf(body)) break;
  assert.equal(body.destroyed, true);
  assert.equal(body.listenerCount('data'), 0);
});

test('a body that fails says why, after what came before', SOON, async () => {
  const body = new PassThrough();
  const chunks = chunksOf(body);
  body.write('one');
  assert.equal(String((await chunks.next()).value), 'one');
  body.destroy(new Error('cut'));
  await assert.rejects(chunks.next(), { message: 'cut' });
});

test('a body that was destroyed before, or closes before its end, is no whole body', SOON, async () => {
  const destroyed = new PassThrough();
  destroyed.destroy();
  await assert.rejects(chunksOf(destroyed).next(), { code: 'ERR_STREAM_PREMATURE_CLOSE' });
  const closing = new PassThrough();
  const chunk = chunksOf(closing).next();
  closing.destroy();
  await assert.rejects(chunk, { code: 'ERR_STREAM_PREMATURE_CLOSE' });
});

/** Many times what is read at once. */
const BODY = Buffer.from(Array.from({ length: 1 << 20 }, (_, index) => index % 251));

/** What a connection read, as it was handed to those who listen. */
type Readings = Buffer[];

/** Sees what a connection reads without listening to it. */
function watch(connection: Duplex, readings: Readings): void {
  const push = connection.push.bind(connection);
  connection.push = (chunk: Buffer | null, ...others) => {
    if (chunk !== null) readings.push(chunk);
    return push(chunk, ...others);
  };
}

interface Upstream {
  readonly url: string;
  readonly agents: UpstreamAgents;
  readonly readings: Readings;
  readonly connections: readonly Duplex[];
}

interface ServerOptions {
  readonly isSecure?: boolean;
  /** @defaultValue sends the body */
  readonly answer?: http.RequestListener;
}

const sendBody: http.RequestListener = (_request, response) => void response.end(BODY);

/** A server, and agents whose connections are watched. */
async function serve(
  t: TestContext,
  { isSecure = false, answer = sendBody }: ServerOptions = {},
): Promise<Upstream> {
  const { certificate: cert, privateKey: key } = selfSigned();
  const server = isSecure ? https.createServer({ cert, key }, answer) : http.createServer(answer);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const options = { keepAlive: true, ca: cert } as const;
  const agents = { 'http:': new http.Agent(options), 'https:': new https.Agent(options) };
  const readings: Readings = [];
  const connections: Duplex[] = [];
  for (const agent of Object.values<http.Agent>(agents)) {
    const connect = agent.createConnection.bind(agent);
    agent.createConnection = (given, tell) => {
      const connection = connect(given, tell);
      assert.ok(connection);
      watch(connection, readings);
      connections.push(connection);
      return connection;
    };
    t.after(() => agent.destroy());
  }
  t.after(() => server.close());
  const url = isSecure ? `https://localhost:${port}` : `http://127.0.0.1:${port}`;
  return { url, agents, readings, connections };
}

type Asked = Pick<Upstream, 'url' | 'agents'>;

function ask({ url, agents }: Asked, signal = never): Promise<Response> {
  return createUpstreamFetch({ maxBytes: 1 << 24, signal, agents })(url);
}

async function rest(body: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const copies: Buffer[] = [];
  for await (const chunk of body) copies.push(Buffer.from(chunk));
  return Buffer.concat(copies);
}

async function read(upstream: Asked): Promise<Buffer> {
  return rest(bodyOf(await ask(upstream)));
}

for (const isSecure of [false, true]) {
  const what = isSecure ? 'over TLS' : 'in plain';
  test(`what was read from a connection is freed once it was parsed, ${what}`, SOON, async (t) => {
    const upstream = await serve(t, { isSecure });
    const { readings, connections } = upstream;
    assert.ok((await read(upstream)).equals(BODY));
    readings.length = 0;
    for (let time = 0; time < 12; time += 1) assert.ok((await read(upstream)).equals(BODY));
    const large = readings.filter(({ buffer }) => buffer.byteLength > 12 * 1024);
    // Of each answer the first is parsed before anybody knows that there is an answer.
    assert.ok(large.length <= 12, `${large.length} of ${readings.length} were not freed`);
    assert.ok(readings.length > 12 * 10);
    assert.equal(connections.length, 1);
    assert.equal(connections[0]?.listenerCount('data'), 0, 'nobody listens where nothing is asked');
  });
}

test('what somebody else listens to is left to them', SOON, async (t) => {
  const upstream = await serve(t);
  await read(upstream);
  const heard: Buffer[] = [];
  upstream.connections[0]?.on('data', (reading: Buffer) => heard.push(reading));
  assert.ok((await read(upstream)).equals(BODY));
  assert.ok(heard.length > 1);
  assert.ok(heard.every(({ length }) => length > 0));
});

for (const coding of ['identity', 'gzip'] as const) {
  test(`what comes in ${coding} before its reader begins waits for it`, SOON, async (t) => {
    const body = coding === 'gzip' ? gzipSync(BODY) : BODY;
    const upstream = await serve(t, {
      answer: (_request, response) => void response.setHeader('content-encoding', coding).end(body),
    });
    const response = await ask(upstream);
    while (upstream.readings.length === 0) await nextRound();
    for (let round = 0; round < 20; round += 1) await nextRound();
    assert.ok((await rest(bodyOf(response))).equals(BODY));
  });
}

const PART = Buffer.alloc(4_000, 'part');

/** Three parts, of which so many were sent: the first was read, the others wait for their reader. */
async function answerInParts(t: TestContext, { sent, signal }: { sent: 2 | 3; signal?: AbortSignal }) {
  const upstream = await serve(t, {
    async answer(_request, response) {
      response.setHeader('content-length', 3 * PART.length);
      for (let part = 1; part <= sent; part += 1) {
        response.write(PART);
        await arrival(part);
      }
    },
  });
  // Nothing is given back of parts so small.
  const bytesRead = () => upstream.readings.reduce((sum, { length }) => sum + length, 0);
  async function arrival(parts: number): Promise<void> {
    while (bytesRead() < parts * PART.length) await nextRound();
  }
  const chunks = bodyOf(await ask(upstream, signal));
  await chunks.next();
  await arrival(sent);
  for (let round = 0; round < 20; round += 1) await nextRound();
  const [connection] = upstream.connections;
  assert.ok(connection);
  return { chunks, connection };
}

test('an abort while the rest of an answer waits for its reader is no end of it', SOON, async (t) => {
  const controller = new AbortController();
  const { chunks } = await answerInParts(t, { sent: 3, signal: controller.signal });
  const reason = new Error('the deadline');
  controller.abort(reason);
  await assert.rejects(rest(chunks), (error) => error === reason);
});

test('silence after an answer is over takes nothing from who reads it', SOON, async (t) => {
  const { chunks, connection } = await answerInParts(t, { sent: 3 });
  connection.emit('timeout');
  assert.equal((await rest(chunks)).length, 2 * PART.length);
});

test('silence within an answer is told as such', SOON, async (t) => {
  const { chunks, connection } = await answerInParts(t, { sent: 2 });
  connection.emit('timeout');
  await assert.rejects(rest(chunks), { kind: 'timeout' });
});

test('silence after an answer that nobody reads closes its connection', SOON, async (t) => {
  const upstream = await serve(t, { answer: (_request, response) => void response.end('no such model') });
  await ask(upstream);
  const [connection] = upstream.connections;
  assert.ok(connection);
  for (let round = 0; round < 20; round += 1) await nextRound();
  assert.equal(connection.destroyed, false);
  connection.emit('timeout');
  assert.equal(connection.destroyed, true);
});

test('what is left of a request goes when its answer is over', SOON, async (t) => {
  // It reads no more than the head.
  const deaf = createServer((connection) => {
    t.after(() => connection.destroy());
    connection.once('data', () => {
      connection.pause();
      connection.write('HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\nno');
    });
  }).listen(0, '127.0.0.1');
  t.after(() => deaf.close());
  await once(deaf, 'listening');
  const { port } = deaf.address() as AddressInfo;
  const { agents, connections } = await serve(t);
  const fetch = createUpstreamFetch({ maxBytes: 1 << 24, signal: never, agents });
  const response = await fetch(`http://127.0.0.1:${port}`, { method: 'POST', body: Buffer.alloc(32 << 20) });
  const [connection] = connections;
  assert.ok(connection && connection.writableLength > 1 << 20, 'the server took all of it');
  assert.equal(await response.text(), 'no');
  while (!connection.destroyed) await nextRound();
});

// As much as Node reads at a time.
const READ_BYTES = 64 * 1024;

/** What stands in a connection's place in a host's tests: it answers with what it recorded, as often as it is asked. */
class Replay extends Socket {
  readonly #recording: readonly Buffer[];

  constructor(recording: readonly Buffer[]) {
    super();
    this.#recording = recording;
  }

  override _read(): void {}

  override _write(_chunk: unknown, _encoding: BufferEncoding, written: () => void): void {
    for (const part of this.#recording) this.push(part);
    written();
  }
}

test('what comes from no network is left to those whose it is', SOON, async (t) => {
  // From then on it is known how Node reads.
  await read(await serve(t));
  const head = Buffer.from(`HTTP/1.1 200 OK\r\ncontent-length: ${BODY.length}\r\n\r\n`);
  // Each in memory of its own, as Node reads them from a network.
  const parts = Array.from({ length: Math.ceil(BODY.length / READ_BYTES) }, (_, part) =>
    Buffer.from(BODY.subarray(part * READ_BYTES, (part + 1) * READ_BYTES)),
  );
  const recording = [head, ...parts];
  const agent = new http.Agent();
  agent.createConnection = () => new Replay(recording);
  const agents = { 'http:': agent, 'https:': new https.Agent() };
  for (let time = 0; time < 3; time += 1) {
    assert.ok((await read({ url: 'http://recorded.example', agents })).equals(BODY));
  }
  assert.ok(Buffer.concat(parts).equals(BODY));
});

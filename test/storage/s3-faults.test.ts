import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { PassThrough } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { inspect } from 'node:util';
import type { MediaStorage } from '../../src/core/storage.js';
import { isImagesError } from '../../src/errors.js';
import { s3 } from '../../src/storage/s3.js';
import { readBody } from '../../src/storage/s3-body.js';
import { encodeFacts } from '../../src/storage/s3-facts.js';
import { until } from '../support/app.js';
import { freePort } from '../support/free-port.js';
import { factsOf, keyOf, readAndHash } from './samples.js';

const KEY = keyOf('a');
const picture = Buffer.alloc(1_500_000, 'picture');
const PATIENCE_MS = 60_000;

interface Asked {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
}

type Answer = (res: ServerResponse, asked: Asked) => void;

/** What a server that is no S3 server does: each request gets the next answer, the last one for ever. */
async function startServer(t: TestContext, ...answers: readonly Answer[]) {
  const asked: Asked[] = [];
  const server = createServer(async (req, res) => {
    const { method = '', url = '', headers } = req;
    const body = await buffer(req).catch(() => Buffer.from('broken off'));
    asked.push({ method, url, headers, body });
    const answer = answers[asked.length - 1] ?? answers.at(-1);
    answer?.(res, { method, url, headers, body });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { asked, server, storage: open(t, port) };
}

function open(t: TestContext, port: number): MediaStorage {
  const credentials = { accessKeyId: 'KEY', secretAccessKey: 'SECRET', sessionToken: 'SESSION-CANARY' };
  const storage = s3({ bucket: 'pictures', endpoint: `http://127.0.0.1:${port}`, credentials });
  t.after(() => storage.close?.());
  return storage;
}

const fine: Answer = (res) => res.end();
const hangUp: Answer = (res) => res.destroy();

function refuse(
  status: number,
  code: string,
  more: { xml?: string; headers?: Record<string, string> } = {},
): Answer {
  const { xml = '', headers } = more;
  return (res) => {
    res.writeHead(status, { 'Content-Type': 'application/xml', ...headers });
    res.end(`<?xml version="1.0"?><Error><Code>${code}</Code><Message>in words</Message>${xml}</Error>`);
  };
}

/** Answers a GET with an object that was stored by us, then `change`s the answer. */
function object(change: (res: ServerResponse, send: () => void) => void = (_, send) => send()): Answer {
  return (res) => {
    const facts = encodeFacts(KEY, picture.length, factsOf(picture));
    for (const [name, value] of Object.entries(facts)) res.setHeader(`x-amz-meta-${name}`, value);
    res.setHeader('Content-Type', 'image/png');
    res.setHeader('Content-Length', picture.length);
    change(res, () => res.end(picture));
  };
}

const saying = (words: RegExp) => (error: unknown) =>
  isImagesError(error) && error.code === 'STORAGE_ERROR' && words.test(error.message);
const put = (storage: MediaStorage, signal?: AbortSignal) =>
  storage.put(KEY, picture, factsOf(picture, { signal }));

for (const [fault, answer] of [
  ['is throttling', refuse(503, 'SlowDown')],
  ['has too many requests', refuse(429, 'TooManyRequests')],
  ['fails', refuse(500, 'InternalError')],
  ['is behind a gateway that fails', refuse(502, '')],
  ['hangs up when it has everything', hangUp],
] as const) {
  test(`a put is tried again, whole, when the server ${fault}`, async (t) => {
    const { asked, storage } = await startServer(t, answer, answer, fine);
    await put(storage);
    assert.equal(asked.length, 3);
    for (const { body } of asked) assert.ok(body.equals(picture), 'each attempt sends all of it');
  });
}

for (const [fault, answer, words] of [
  ['throttles for ever', refuse(503, 'SlowDown'), /overloaded/],
  ['fails for ever', refuse(500, 'InternalError'), /failed/],
  ['always hangs up', hangUp, /cannot be reached/],
] as const) {
  test(`a put ends after three attempts when the server ${fault}`, async (t) => {
    const { asked, storage } = await startServer(t, answer);
    const begun = Date.now();
    await assert.rejects(put(storage), saying(words));
    assert.equal(asked.length, 3);
    assert.ok(Date.now() - begun < PATIENCE_MS, 'it ended in time');
  });
}

test('a server that wants an hour is given some seconds', async (t) => {
  const busy = refuse(503, 'SlowDown', { headers: { 'Retry-After': '3600' } });
  const { asked, storage } = await startServer(t, busy, fine);
  await put(storage);
  assert.equal(asked.length, 2);
});

test('a put fails in time when nobody listens, and when the server goes away in the middle of it', async (t) => {
  const begun = Date.now();
  await assert.rejects(put(open(t, await freePort())), saying(/cannot be reached/));
  let attempts = 0;
  const server = createServer((req) => {
    attempts += 1;
    req.once('data', () => req.destroy());
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  await assert.rejects(put(open(t, (server.address() as AddressInfo).port)), saying(/cannot be reached/));
  assert.equal(attempts, 3);
  assert.ok(Date.now() - begun < PATIENCE_MS, 'it ended in time');
});

test('a put whose clock the server finds wrong is signed again by the server’s', async (t) => {
  const ahead = new Date(Date.now() + 3_600_000);
  const skewed = refuse(403, 'RequestTimeTooSkewed', { headers: { Date: ahead.toUTCString() } });
  const { asked, storage } = await startServer(t, skewed, fine);
  await put(storage);
  const hour = ahead.toISOString().slice(0, 13).replaceAll('-', '');
  assert.match(String(asked[1]?.headers['x-amz-date']), new RegExp(`^${hour}`));
  assert.ok(asked[1]?.body.equals(picture), 'all of it is sent again');
});

test('a server that finds every clock wrong is told apart', async (t) => {
  const skewed = refuse(403, 'RequestTimeTooSkewed', { headers: { Date: new Date(0).toUTCString() } });
  const { asked, storage } = await startServer(t, skewed);
  await assert.rejects(put(storage), saying(/clocks/));
  assert.ok(asked.length <= 3, `${asked.length} attempts`);
});

test('a redirect is an error that says so: nothing is sent where it leads', async (t) => {
  const elsewhere = await startServer(t, fine);
  const { port } = elsewhere.server.address() as AddressInfo;
  const headers = { Location: `http://127.0.0.1:${port}/pictures/x` };
  for (const [status, code] of [
    [301, 'PermanentRedirect'],
    [307, 'TemporaryRedirect'],
  ] as const) {
    const { asked, storage } = await startServer(t, refuse(status, code, { headers }));
    await assert.rejects(put(storage), saying(/another region/));
    await assert.rejects(storage.get(KEY), saying(/another region/));
    await assert.rejects(storage.stat(KEY), saying(/another region/));
    assert.equal(asked.length, 3, 'none is tried again');
  }
  assert.deepEqual(elsewhere.asked, []);
});

test('a full bucket, and what a HEAD is refused with, are told apart', async (t) => {
  const full = await startServer(t, refuse(403, 'QuotaExceeded'));
  await assert.rejects(put(full.storage), saying(/full/));
  const denied = await startServer(t, (res) => res.writeHead(403).end());
  await assert.rejects(denied.storage.stat(KEY), saying(/refuses these credentials/));
});

test('an error never repeats what was signed', async (t) => {
  const xml = '<CanonicalRequest>PUT x-amz-security-token:SESSION-CANARY</CanonicalRequest>';
  const { asked, storage } = await startServer(t, refuse(403, 'SignatureDoesNotMatch', { xml }));
  await assert.rejects(put(storage), (error) => {
    const told = inspect(error, { depth: 9, showHidden: true });
    assert.match(told, /SignatureDoesNotMatch/);
    assert.doesNotMatch(told, /CANARY|SECRET/);
    return true;
  });
  assert.equal(asked[0]?.headers['x-amz-security-token'], 'SESSION-CANARY', 'it was signed');
});

test('a body travels in one piece of known length and with its digest, without checksums of other kinds', async (t) => {
  const { asked, storage } = await startServer(t, fine);
  await put(storage);
  const { headers } = asked[0] ?? {};
  assert.equal(headers?.['content-length'], String(picture.length));
  assert.equal(headers?.['x-amz-content-sha256'], factsOf(picture).sha256);
  assert.equal(headers?.expect, undefined);
  const checksums = Object.keys(headers ?? {}).filter((name) =>
    /checksum|trailer|transfer-encoding/.test(name),
  );
  assert.deepEqual(checksums, []);
});

test('a put that is aborted in the middle never sends its last byte, and throws the reason', async (t) => {
  const abort = new AbortController();
  const reason = new Error('not wanted any more');
  let received = 0;
  let isBroken = false;
  const server = createServer((req) => {
    req.on('data', (chunk) => {
      received += chunk.length;
      // Slow enough that the end of the body is still to come.
      req.pause();
      setTimeout(() => req.resume(), 20);
      abort.abort(reason);
    });
    req.on('error', () => {
      isBroken = true;
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const storage = open(t, (server.address() as AddressInfo).port);
  const body = Buffer.alloc(40_000_000);
  await assert.rejects(storage.put(KEY, body, factsOf(body, { signal: abort.signal })), reason);
  await until(() => isBroken);
  assert.ok(received < body.length, `${received} bytes came`);
});

test('a put that is aborted when the server may have everything waits for what became of it', async (t) => {
  const abort = new AbortController();
  const { asked, storage } = await startServer(t, (res) => {
    abort.abort(new Error('too late'));
    setTimeout(() => res.end(), 100);
  });
  await put(storage, abort.signal);
  assert.equal(asked.length, 1);
});

test('a put that is aborted while its answer is awaited is not tried again', async (t) => {
  const abort = new AbortController();
  const reason = new Error('not again');
  const { asked, storage } = await startServer(t, (res, request) => {
    abort.abort(reason);
    refuse(503, 'SlowDown')(res, request);
  });
  await assert.rejects(put(storage, abort.signal), reason);
  assert.equal(asked.length, 1);
});

test('a put that is aborted is given up in the end when no answer comes', async (t) => {
  const abort = new AbortController();
  const reason = new Error('enough');
  const { asked, storage } = await startServer(t, () => abort.abort(reason));
  await assert.rejects(put(storage, abort.signal), reason);
  assert.equal(asked.length, 1);
});

test('a reader that is aborted while the server is silent is told at once', async (t) => {
  const { asked, storage } = await startServer(t, () => undefined);
  const abort = new AbortController();
  const reason = new Error('enough');
  const getting = storage.get(KEY, { signal: abort.signal });
  await until(() => asked.length === 1);
  abort.abort(reason);
  await assert.rejects(getting, reason);
});

test('an answer that is cut off, too short or of another range is an error, never wrong bytes', async (t) => {
  const cut = object((res) => {
    res.write(picture.subarray(0, 700_000));
    setTimeout(() => res.destroy(), 50);
  });
  const short = object((res) => {
    res.removeHeader('Content-Length');
    res.end(picture.subarray(0, 700_000));
  });
  const { storage } = await startServer(t, cut);
  await assert.rejects(readAndHash(storage, KEY), saying(/cannot be reached/));
  await assert.rejects(readAndHash((await startServer(t, short)).storage, KEY), saying(/damaged/));
  const shortRange = object((res) => {
    res.removeHeader('Content-Length');
    res.writeHead(206, { 'Content-Range': `bytes 0-9/${picture.length}` }).end('12345');
  });
  const part = await (await startServer(t, shortRange)).storage.get(KEY, { range: { start: 0, end: 9 } });
  await assert.rejects(
    async () => {
      for await (const _ of part?.body ?? []);
    },
    saying(/damaged/),
  );
  // A proxy that drops ranges, as some do.
  const whole = await startServer(t, object());
  await assert.rejects(whole.storage.get(KEY, { range: { start: 0, end: 9 } }), saying(/damaged/));
  assert.equal((await readAndHash(whole.storage, KEY))?.read, picture.length);
});

test('a server that stops in the middle of a body is given up after half a minute of silence', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const source = new PassThrough();
  const chunks = readBody(source, { bytes: 10, key: KEY, signal: undefined })[Symbol.asyncIterator]();
  source.write('12345');
  assert.equal((await chunks.next()).value?.byteLength, 5);
  const silent = assert.rejects(chunks.next(), saying(/cannot be reached/));
  t.mock.timers.tick(30_000);
  await silent;
  assert.ok(source.destroyed, 'the connection is ended');
});

test('any number of bodies that nobody reads keeps nobody from storing', async (t) => {
  const { storage } = await startServer(t, (res, asked) =>
    asked.method === 'GET' ? object()(res, asked) : res.end(),
  );
  const bodies = await Promise.all(Array.from({ length: 60 }, () => storage.get(KEY)));
  await put(storage);
  for (const opened of bodies) await opened?.body[Symbol.asyncIterator]().return?.();
});

test('objects go one by one where a server cannot remove many at once', async (t) => {
  const list =
    '<ListBucketResult><IsTruncated>false</IsTruncated>' +
    `${['a', 'b', 'c'].map((name) => `<Contents><Key>${keyOf(name)}</Key></Contents>`).join('')}</ListBucketResult>`;
  for (const refusal of [refuse(501, 'NotImplemented'), refuse(400, 'MissingContentMD5')]) {
    const { asked, storage } = await startServer(t, (res, request) => {
      if (request.method === 'GET') res.end(list);
      else if (request.method === 'POST') refusal(res, request);
      else res.writeHead(204).end();
    });
    await storage.deletePrefix?.('0123456789abcdef0123456789abcdef/');
    const removed = asked.filter(({ method }) => method === 'DELETE').map(({ url }) => url.split('?')[0]);
    assert.deepEqual(
      removed.sort(),
      ['a', 'b', 'c'].map((name) => `/pictures/${keyOf(name)}`),
    );
  }
});

test('an object that could not be removed with others is an error', async (t) => {
  const list =
    '<ListBucketResult><IsTruncated>false</IsTruncated>' +
    `<Contents><Key>${keyOf('a')}</Key></Contents><Contents><Key>${keyOf('b')}</Key></Contents></ListBucketResult>`;
  const fault = `<Error><Key>${keyOf('b')}</Key><Code>AccessDenied</Code><Message>no</Message></Error>`;
  const { storage } = await startServer(t, (res, { method }) =>
    res.end(method === 'GET' ? list : `<DeleteResult>${fault}</DeleteResult>`),
  );
  const removing = async () => storage.deletePrefix?.('0123456789abcdef0123456789abcdef/');
  await assert.rejects(removing, saying(/refuses these credentials/));
});

test('making a storage asks nobody anything', async (t) => {
  const { asked, storage } = await startServer(t, fine);
  await sleep(50);
  await storage.close?.();
  assert.deepEqual(asked, []);
});

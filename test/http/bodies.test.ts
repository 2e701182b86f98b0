import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { brotliCompressSync, deflateSync, gzipSync } from 'node:zlib';
import { createTestApp, TEST_KEY, type TestApp, testModel, until } from '../support/app.js';
import { chunk, openRaw } from '../support/raw-http.js';

const BODY = { model: 'placeholder/sketch', prompt: 'A lighthouse' };
const JSON_BODY = JSON.stringify(BODY);
const PATH = '/v1/inference/images/generate';

const HEAD = [`POST ${PATH} HTTP/1.1`, 'Host: localhost', `Authorization: Bearer ${TEST_KEY}`];

function post(app: TestApp, bytes: Uint8Array, headers: Readonly<Record<string, string>> = {}) {
  return fetch(`${app.url}${PATH}`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${TEST_KEY}`, 'Content-Type': 'application/json', ...headers },
    body: bytes,
  });
}

async function errorOf(
  answer: Response,
): Promise<{ code: string; message: string; field: string | undefined }> {
  const { error } = (await answer.json()) as {
    error: { code: string; message: string; details?: { field: string }[] };
  };
  return { code: error.code, message: error.message, field: error.details?.[0]?.field };
}

for (const [title, body] of [
  ['cut short', '{"model":"placeholder/sketch","prompt":"A'],
  ['a trailing comma', '{"model":"placeholder/sketch","prompt":"A",}'],
  ['single quotes', "{'model':'placeholder/sketch'}"],
  ['two objects', `${JSON_BODY}${JSON_BODY}`],
  ['a comment', `/* */${JSON_BODY}`],
  ['NaN', '{"model":"placeholder/sketch","prompt":"A","seed":NaN}'],
  ['a form', 'model=placeholder%2Fsketch&prompt=A'],
  ['nothing', ''],
  ['blanks', '   '],
] as const) {
  test(`malformed JSON is a VALIDATION_ERROR that does not repeat the body: ${title}`, async (t) => {
    const app = await createTestApp(t);
    const answer = await post(app, Buffer.from(body));
    assert.equal(answer.status, 422);
    const { code, field, message } = await errorOf(answer);
    assert.deepEqual([code, field], ['VALIDATION_ERROR', 'body']);
    assert.match(message, /expected (well-formed JSON|a JSON object, got nothing)/);
  });
}

test('bytes that are not UTF-8 are malformed JSON, not replacement characters', async (t) => {
  const app = await createTestApp(t);
  const bytes = Buffer.concat([
    Buffer.from('{"prompt":"'),
    Buffer.from([0xff, 0xfe, 0xc3]),
    Buffer.from('"}'),
  ]);
  assert.equal((await post(app, bytes)).status, 422);
});

test('a byte order mark before the JSON is fine', async (t) => {
  const app = await createTestApp(t);
  assert.equal((await post(app, Buffer.from(`\uFEFF${JSON_BODY}`))).status, 200);
});

for (const [type, status] of [
  ['application/json', 200],
  ['application/json; charset=utf-8', 200],
  ['Application/JSON;charset="UTF-8"', 200],
  ['application/json; foo=bar; charset=utf8', 200],
  ['application/json; charset=utf-16', 422],
  ['application/json; charset=latin1', 422],
  ['text/plain', 422],
  ['text/plain; application/json', 422],
  ['application/x-www-form-urlencoded', 422],
  ['application/jsonp', 422],
  ['application/problem+json', 422],
  ['application/json, text/plain', 422],
  ['', 422],
] as const) {
  test(`Content-Type ${type || '(none)'} is answered with ${status}`, async (t) => {
    const app = await createTestApp(t);
    const answer = await post(app, Buffer.from(JSON_BODY), { 'Content-Type': type });
    assert.equal(answer.status, status, await answer.text());
    assert.equal(app.calls.length, status === 200 ? 1 : 0);
  });
}

test('a request without any Content-Type is refused', async (t) => {
  const app = await createTestApp(t);
  const head = [...HEAD, `Content-Length: ${JSON_BODY.length}`];
  const { socket, answer } = await openRaw(app.port, head);
  socket.write(JSON_BODY);
  assert.equal((await answer).status, 422);
  socket.destroy();
});

for (const [encoding, compress] of [
  ['gzip', gzipSync],
  ['GZIP', gzipSync],
  ['deflate', deflateSync],
  ['br', brotliCompressSync],
] as const) {
  test(`a body compressed with ${encoding} is read`, async (t) => {
    const app = await createTestApp(t);
    const answer = await post(app, compress(JSON_BODY), { 'Content-Encoding': encoding });
    assert.equal(answer.status, 200, await answer.text());
  });
}

for (const encoding of ['compress', 'gzip, gzip', 'constructor', '__proto__', 'toString', 'zstd', 'x-gzip']) {
  test(`a content encoding that is not served is refused: ${encoding}`, async (t) => {
    const app = await createTestApp(t);
    const answer = await post(app, Buffer.from(JSON_BODY), { 'Content-Encoding': encoding });
    assert.equal(answer.status, 422, await answer.clone().text());
    assert.match((await errorOf(answer)).message, /expected Content-Encoding gzip, deflate, br or none/);
  });
}

for (const [title, bytes] of [
  ['that is none', Buffer.from(JSON_BODY)],
  ['cut short', gzipSync(JSON_BODY).subarray(0, -9)],
  ['with a flipped bit', gzipSync(JSON_BODY).map((byte, at) => (at === 20 ? byte ^ 1 : byte))],
  ['of nothing', Buffer.alloc(0)],
] as const) {
  test(`a gzip body ${title} is a clear 4xx`, async (t) => {
    const app = await createTestApp(t);
    const answer = await post(app, bytes, { 'Content-Encoding': 'gzip' });
    assert.equal(answer.status, 422);
    assert.equal((await errorOf(answer)).field, 'body');
  });
}

test('the limit counts bytes exactly', async (t) => {
  const app = await createTestApp(t, { limits: { jsonBytes: Buffer.byteLength(JSON_BODY) } });
  assert.equal((await post(app, Buffer.from(JSON_BODY))).status, 200);
  const answer = await post(app, Buffer.from(`${JSON_BODY} `));
  assert.equal(answer.status, 413);
  assert.equal((await errorOf(answer)).code, 'PAYLOAD_TOO_LARGE');
});

test('the default limit is 256 KiB', async (t) => {
  const app = await createTestApp(t);
  const padded = (bytes: number) => Buffer.from(JSON_BODY.padEnd(bytes));
  assert.equal((await post(app, padded(262_144))).status, 200);
  assert.equal((await post(app, padded(262_145))).status, 413);
});

test('a compressed body is counted after decompression, so a gzip bomb is 413', async (t) => {
  const app = await createTestApp(t);
  const bomb = gzipSync(Buffer.alloc(200_000_000, 0x20));
  assert.ok(bomb.byteLength < 262_144, 'small on the wire');
  const before = process.memoryUsage().rss;
  const answer = await post(app, bomb, { 'Content-Encoding': 'gzip' });
  assert.equal(answer.status, 413);
  assert.ok(process.memoryUsage().rss - before < 100_000_000, 'it was never inflated whole');
});

test('413 arrives before the connection closes when Content-Length says too much', async (t) => {
  const app = await createTestApp(t);
  const { socket, answer } = await openRaw(app.port, [
    ...[...HEAD, 'Content-Type: application/json', 'Content-Length: 100000000'],
  ]);
  const { status, text } = await answer;
  assert.equal(status, 413);
  assert.match(text, /PAYLOAD_TOO_LARGE/);
  assert.match(text, /x-request-id: req_/i);
  socket.destroy();
});

test('413 arrives at a client that sends all of a large body before it reads', async (t) => {
  const app = await createTestApp(t);
  const answer = await post(app, Buffer.alloc(20_000_000, 0x20));
  assert.equal(answer.status, 413);
  assert.equal((await errorOf(answer)).code, 'PAYLOAD_TOO_LARGE');
});

test('after a 413 the connection of a well-behaved client serves its next request', async (t) => {
  const app = await createTestApp(t);
  const large = Buffer.alloc(300_000, 0x20);
  const { socket, answer } = await openRaw(app.port, [
    ...[...HEAD, 'Content-Type: application/json', `Content-Length: ${large.length}`],
  ]);
  socket.write(large);
  assert.equal((await answer).status, 413);
  let text = '';
  socket.on('data', (bytes) => {
    text += bytes;
  });
  socket.write(`GET ${PATH} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
  await until(() => text.includes('405'));
  socket.destroy();
});

for (const encoding of ['identity', 'gzip'] as const) {
  test(`an endless ${encoding} body gets its 413 and is then cut off`, async (t) => {
    const app = await createTestApp(t);
    const { socket, answer, closed } = await openRaw(app.port, [
      ...[...HEAD, 'Content-Type: application/json', 'Transfer-Encoding: chunked'],
      `Content-Encoding: ${encoding}`,
    ]);
    const blanks = Buffer.alloc(65_536, 0x20);
    const part = chunk(encoding === 'gzip' ? gzipSync(blanks) : blanks);
    const sending = setInterval(() => socket.write(part), 5);
    t.after(async () => clearInterval(sending));
    assert.equal((await answer).status, 413);
    await closed;
  });
}

for (const [what, status, head] of [
  ['of somebody unknown', 401, ['POST /v1/inference/images/generate HTTP/1.1', 'Host: localhost']],
  ['that is no JSON', 422, [...HEAD, 'Content-Type: text/plain']],
  ['of another method', 405, ['PUT /v1/inference/images/generate HTTP/1.1', 'Host: localhost']],
] as const) {
  test(`an endless body ${what} gets its ${status} unread, and is then cut off`, async (t) => {
    const app = await createTestApp(t);
    const { socket, answer, closed } = await openRaw(app.port, [...head, 'Transfer-Encoding: chunked']);
    const sending = setInterval(() => socket.write(chunk(Buffer.alloc(1024, 0x20))), 50);
    t.after(async () => clearInterval(sending));
    assert.equal((await answer).status, status);
    await closed;
  });
}

for (const headers of [[], ['Content-Encoding: gzip']]) {
  test(`a client that leaves in the middle of its body disturbs nobody (${headers[0] ?? 'plain'})`, async (t) => {
    const app = await createTestApp(t);
    const { socket, closed } = await openRaw(app.port, [
      ...[...HEAD, 'Content-Type: application/json', 'Content-Length: 5000', ...headers],
    ]);
    socket.write(gzipSync('{"model":').subarray(0, 12));
    await sleep(20);
    socket.destroy();
    await closed;
    await sleep(20);
    assert.equal((await app.native(BODY)).status, 200);
    assert.equal(app.eventsOf('request.failed').length, 0);
  });
}

function nested(arrays: number): string {
  return `{"model":"placeholder/sketch","prompt":"A","x":${'['.repeat(arrays)}1${']'.repeat(arrays)}}`;
}

test('JSON may be nested 16 levels deep, and no deeper', async (t) => {
  const app = await createTestApp(t);
  assert.equal((await app.native(nested(15))).status, 200);
  for (const arrays of [16, 1000, 100_000]) {
    const answer = await app.native(nested(arrays));
    assert.equal(answer.status, 422, `${arrays} arrays`);
    assert.match(answer.body.error.message, /at most 16 levels/);
  }
});

test('the depth is checked of bodies the host parsed, too', async (t) => {
  const { json } = await import('express');
  const app = await createTestApp(t, { before: (host) => host.use(json()) });
  assert.equal((await app.native(nested(15))).status, 200);
  assert.equal((await app.native(nested(16))).status, 422);
});

test('a wide body is read within its limit: 20,000 unknown fields do no harm', async (t) => {
  const app = await createTestApp(t);
  const wide = Object.fromEntries(Array.from({ length: 20_000 }, (_, place) => [`f${place}`, 0]));
  const answer = await app.native({ ...BODY, ...wide });
  assert.equal(answer.status, 200, answer.text.slice(0, 200));
  assert.equal(answer.body.data.warnings.length, 16);
});

test('a prompt of a megabyte is 413 by default, and 422 with its field where the host lets it in', async (t) => {
  const prompt = 'x'.repeat(1_000_000);
  const strict = await createTestApp(t);
  assert.equal((await strict.native({ ...BODY, prompt })).status, 413);
  const lenient = await createTestApp(t, { limits: { jsonBytes: 2_000_000 } });
  const answer = await lenient.native({ ...BODY, prompt });
  assert.equal(answer.status, 422);
  assert.equal(answer.body.error.message, 'prompt: expected at most 4000 characters, got 1000000');
});

test('a prompt within its characters passes however many bytes they take', async (t) => {
  const models = [testModel({ maxPromptLength: 1000 })];
  const app = await createTestApp(t, { placeholder: { models } });
  const prompt = '👩‍👩‍👧‍👦 مرحبا \u202E'.repeat(50);
  assert.equal((await app.native({ ...BODY, prompt })).status, 200);
  assert.equal(app.calls[0]?.prompt, prompt);
});

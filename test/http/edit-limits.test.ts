/** Forms that are too much, broken, or never end. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import express from 'express';
import fc from 'fast-check';
import { CLIENT_LEFT } from '../../src/core/deadline.js';
import { type MultipartForm, readMultipart } from '../../src/http/multipart.js';
import { createTestApp, TEST_KEY, until } from '../support/app.js';
import {
  BOUNDARY,
  dataUrl,
  EDIT_PATHS,
  part,
  postBytes,
  postEdit,
  type RawPart,
  rawForm,
} from '../support/forms.js';
import { picture } from '../support/pictures.js';
import { runs } from '../support/runs.js';

const [NATIVE, OPENAI] = EDIT_PATHS;
const one = await picture('png');
const PARTS: readonly RawPart[] = [
  part('model', 'placeholder/sketch'),
  part('prompt', 'Make it night'),
  part('image', one),
];

test('a raw form as browsers send it is read', async (t) => {
  const app = await createTestApp(t);
  const types = [
    `multipart/form-data; boundary=${BOUNDARY}`,
    `multipart/form-data ; boundary="${BOUNDARY}"; charset=utf-8`,
    `Multipart/Form-Data;boundary=${BOUNDARY}`,
  ];
  for (const type of types) {
    const answer = await postBytes(app, NATIVE, { bytes: rawForm(PARTS), headers: { 'Content-Type': type } });
    assert.equal(answer.status, 200, `${type}: ${answer.text}`);
  }
});

test('a form sent in pieces of a few bytes is the same form', async (t) => {
  const app = await createTestApp(t);
  const bytes = rawForm(PARTS);
  const socket = connect(app.port, '127.0.0.1');
  t.after(() => void socket.destroy());
  let answer = '';
  socket.on('data', (chunk: Buffer) => {
    answer += chunk;
  });
  socket.setNoDelay(true);
  socket.write(head(NATIVE, `Content-Length: ${bytes.length}`));
  for (let at = 0; at < bytes.length; at += 7) {
    socket.write(bytes.subarray(at, at + 7));
    if (at % 70 === 0) await sleep(0);
  }
  await until(() => answer.includes('\r\n\r\n'));
  assert.match(answer, /^HTTP\/1.1 200 /);
  assert.deepEqual(Buffer.from(app.calls[0]?.inputs[0]?.bytes ?? []), one);
});

function head(path: string, ...lines: readonly string[]): string {
  return [
    `POST ${path} HTTP/1.1`,
    'Host: localhost',
    `Authorization: Bearer ${TEST_KEY}`,
    `Content-Type: multipart/form-data; boundary=${BOUNDARY}`,
    ...lines,
    '\r\n',
  ].join('\r\n');
}

const many = (count: number, make: (index: number) => RawPart) =>
  Array.from({ length: count }, (_, i) => make(i));

/** Forms that are refused as a whole: what is wrong, the bytes, headers, and what the message says. */
const BROKEN: readonly (readonly [string, Buffer, Readonly<Record<string, string>>, RegExp])[] = [
  ['without a boundary', rawForm(PARTS), { 'Content-Type': 'multipart/form-data' }, /well-formed/],
  [
    'with an empty boundary',
    rawForm(PARTS),
    { 'Content-Type': 'multipart/form-data; boundary=' },
    /well-formed/,
  ],
  [
    'with another boundary',
    rawForm(PARTS),
    { 'Content-Type': 'multipart/form-data; boundary=other' },
    /well-formed/,
  ],
  [
    'with a boundary of thousands of characters',
    rawForm(PARTS),
    { 'Content-Type': `multipart/form-data; boundary=${'x'.repeat(4_000)}` },
    /well-formed/,
  ],
  ['that is empty', Buffer.alloc(0), {}, /well-formed/],
  ['of another kind', Buffer.from('{"model":"placeholder/sketch"}'), {}, /well-formed/],
  ['that ends in the middle of a file', rawForm(PARTS).subarray(0, -60), {}, /well-formed/],
  ['that ends in the middle of a head', rawForm([], `--${BOUNDARY}\r\nContent-Dispo`), {}, /well-formed/],
  ['without its end', rawForm(PARTS, ''), {}, /well-formed/],
  ['compressed, which forms are not', rawForm(PARTS), { 'Content-Encoding': 'gzip' }, /Content-Encoding/],
  ['of eighteen files', rawForm([...PARTS, ...many(17, () => part('image', one))]), {}, /at most 17 files/],
  ['of 33 fields', rawForm([...PARTS, ...many(31, (i) => part(`f${i}`, 'x'))]), {}, /at most 32 fields/],
  ['of a thousand parts', rawForm(many(1_000, () => ({ head: 'X: y', body: '' }))), {}, /too many parts/],
  [
    'with a field of 128 KiB and one byte',
    rawForm([...PARTS, part('user', 'x'.repeat(131_073))]),
    {},
    /131072 bytes/,
  ],
];
for (const [what, bytes, headers, message] of BROKEN) {
  test(`a form ${what} is refused`, async (t) => {
    const app = await createTestApp(t);
    const answer = await postBytes(app, NATIVE, { bytes, headers });
    assert.equal(answer.status, 422, answer.text);
    assert.equal(answer.body.error.code, 'VALIDATION_ERROR');
    assert.equal(answer.body.error.details[0].field, 'body');
    assert.match(answer.body.error.message, message);
    assert.equal(app.calls.length, 0);
    assert.equal(
      (await postBytes(app, NATIVE, { bytes: rawForm(PARTS) })).status,
      200,
      'the next one is served',
    );
  });
}

test('as many parts as may be are read: 17 files and 32 fields', async (t) => {
  const app = await createTestApp(t);
  const fields = many(30, (index) => part(`f${index}`, 'x'));
  const images = many(15, () => part('image[]', one));
  const answer = await postBytes(app, NATIVE, {
    bytes: rawForm([...PARTS, ...fields, ...images, part('mask', one)]),
  });
  assert.equal(answer.status, 200, answer.text);
  assert.equal(app.calls[0]?.inputs.length, 16);
});

test('small files in one packet keep their order', async (t) => {
  const app = await createTestApp(t);
  const pictures = await Promise.all(many16((index) => picture('png', { width: 16 + index, height: 16 })));
  const [model, prompt] = PARTS;
  assert.ok(model && prompt, 'there are two');
  const bytes = rawForm([model, prompt, ...pictures.map((bytes) => part('image', bytes))]);
  assert.equal((await postBytes(app, NATIVE, { bytes })).status, 200);
  assert.deepEqual(
    app.calls[0]?.inputs.map((input) => Buffer.from(input.bytes)),
    pictures,
  );
});

function many16<T>(make: (index: number) => T): readonly T[] {
  return Array.from({ length: 16 }, (_, index) => make(index));
}

test('parts without a name, of another kind or with names of prototypes harm nobody', async (t) => {
  const app = await createTestApp(t);
  const odd: readonly RawPart[] = [
    { head: 'Content-Disposition: form-data', body: 'x' },
    { head: 'Content-Disposition: attachment; name="n"', body: '9' },
    { head: 'Content-Disposition: form-data; name=""', body: 'x' },
    { head: 'Content-Type: text/plain', body: 'x' },
    { head: 'Content-Disposition: form-data; filename="a.png"\r\nContent-Type: image/png', body: 'x' },
    part('__proto__', 'x'),
    part('constructor', 'x'),
    part('toString', 'x'),
    part('__proto__', one),
  ];
  const answer = await postBytes(app, NATIVE, { bytes: rawForm([...PARTS, ...odd]) });
  assert.equal(answer.status, 200, answer.text);
  assert.equal(app.calls[0]?.n, 1);
  assert.equal(({} as Record<string, unknown>).x, undefined);
});

test('the name of a file goes nowhere', async (t) => {
  const app = await createTestApp(t);
  const disposition = 'Content-Disposition: form-data; name="image"; filename="../../etc/passwd"';
  const answer = await postBytes(app, NATIVE, {
    bytes: rawForm([...PARTS.slice(0, 2), { head: `${disposition}\r\nContent-Type: text/html`, body: one }]),
  });
  assert.equal(answer.status, 200, answer.text);
  assert.equal(app.calls[0]?.inputs[0]?.type, 'image/png');
  assert.ok(!JSON.stringify({ ...app.calls[0], inputs: [] }).includes('passwd'), 'not to the provider');
});

const BIG = Buffer.alloc(3_000_000, 'x');
for (const [how, headers] of [
  ['that says how long it is', { 'Content-Length': String(rawForm([...PARTS, part('image', BIG)]).length) }],
  ['that does not say how long it is', { 'Transfer-Encoding': 'chunked' }],
] as const) {
  test(`a form over the limit ${how} is answered 413 before the connection closes`, async (t) => {
    const app = await createTestApp(t, { limits: { editBytes: 100_000 } });
    for (const path of EDIT_PATHS) {
      const answer = await postBytes(app, path, { bytes: rawForm([...PARTS, part('image', BIG)]), headers });
      assert.equal(answer.status, 413, answer.text);
      assert.match(answer.text, /100000 bytes/);
    }
    assert.equal(app.calls.length, 0);
  });
}

test('JSON over the limit of edits is 413, and under it may be larger than other JSON', async (t) => {
  const app = await createTestApp(t, { limits: { jsonBytes: 1_000, editBytes: 100_000 } });
  const body = { model: 'placeholder/sketch', prompt: 'Night', images: [dataUrl(one)] };
  assert.ok(JSON.stringify(body).length > 1_000, 'it is larger');
  assert.equal((await postEdit(app, NATIVE, body)).status, 200);
  const answer = await postEdit(app, OPENAI, { ...body, images: [dataUrl(BIG)] });
  assert.equal(answer.status, 413);
  assert.equal(answer.body.error.code, 'payload_too_large');
});

test('a form to the byte at the limit is read, one byte more is not', async (t) => {
  const bytes = rawForm(PARTS);
  const app = await createTestApp(t, { limits: { editBytes: bytes.length } });
  for (const headers of [{ 'Content-Length': String(bytes.length) }, { 'Transfer-Encoding': 'chunked' }]) {
    assert.equal((await postBytes(app, NATIVE, { bytes, headers })).status, 200);
  }
  const more = Buffer.concat([bytes, Buffer.from('x')]);
  assert.equal((await postBytes(app, NATIVE, { bytes: more })).status, 413);
});

test('a length that promises more than comes leaves nothing behind', async (t) => {
  const app = await createTestApp(t);
  const bytes = rawForm(PARTS);
  const socket = connect(app.port, '127.0.0.1');
  socket.write(head(NATIVE, `Content-Length: ${bytes.length + 10_000}`));
  socket.end(bytes);
  const closed = once(socket, 'close');
  socket.resume();
  await closed;
  assert.equal(app.calls.length, 0);
  assert.deepEqual(app.eventsOf('request.failed'), []);
});

for (const [when, cut] of [
  ['in the head of a part', 30],
  ['in a file', 300],
  ['before the last byte', -1],
] as const) {
  test(`a client that leaves ${when} is no failure`, async (t) => {
    const app = await createTestApp(t);
    const bytes = rawForm(PARTS);
    const socket = connect(app.port, '127.0.0.1');
    socket.write(head(NATIVE, `Content-Length: ${bytes.length}`));
    socket.write(bytes.subarray(0, cut));
    await sleep(100);
    socket.destroy();
    await sleep(100);
    assert.equal(app.calls.length, 0);
    assert.deepEqual(app.events, []);
    assert.equal((await postBytes(app, NATIVE, { bytes })).status, 200);
  });
}

test('a form whose client left before anybody read it is not waited for', async (t) => {
  const read: Promise<MultipartForm | unknown>[] = [];
  const app = express();
  app.post('/', (req, res) => {
    // As if identifying the caller took so long.
    res.once('close', () => {
      const limits = { bytes: 1_000_000, files: 17, fields: 32 };
      read.push(readMultipart(req, limits).catch((error: unknown) => error));
    });
  });
  const server = createServer(app).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => void server.close());
  const bytes = rawForm(PARTS);
  // Whole, or in part: in both cases nothing more will come.
  for (const sent of [bytes, bytes.subarray(0, 100)]) {
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
    socket.write(head('/', `Content-Length: ${bytes.length}`));
    socket.write(sent);
    await sleep(50);
    socket.destroy();
  }
  await until(() => read.length === 2);
  assert.deepEqual(await Promise.all(read), [CLIENT_LEFT, CLIENT_LEFT]);
});

test('a form that the host read before says so', async (t) => {
  for (const parser of [express.raw({ type: '*/*', limit: '1mb' }), drain]) {
    const app = await createTestApp(t, { before: (host) => void host.use(parser) });
    const answer = await postBytes(app, NATIVE, { bytes: rawForm(PARTS) });
    assert.equal(answer.status, 422);
    assert.match(answer.body.error.message, /was read before it came here/);
  }
});

/** What parsers of forms do that hosts use: the body is gone, and `req.body` holds its fields. */
const drain: express.RequestHandler = (req, _res, next) => {
  req.resume();
  req.on('end', () => {
    req.body = { model: 'placeholder/sketch', prompt: 'Make it night' };
    next();
  });
};

test("a host's JSON parser leaves forms alone", async (t) => {
  const app = await createTestApp(t, {
    before: (host) => void host.use(express.json(), express.urlencoded()),
  });
  assert.equal((await postBytes(app, NATIVE, { bytes: rawForm(PARTS) })).status, 200);
});

test('whatever comes as a form is answered with a 4xx or served, and the process goes on', async (t) => {
  const app = await createTestApp(t);
  const whole = rawForm([...PARTS, part('mask', one), part('n', '1')]);
  const damaged = fc
    .array(fc.tuple(fc.nat(whole.length - 1), fc.integer({ min: 0, max: 255 }), fc.nat(40)), { maxLength: 6 })
    .map((changes) => {
      let bytes = Buffer.from(whole);
      for (const [at, byte, removed] of changes) {
        bytes = Buffer.concat([bytes.subarray(0, at), Buffer.of(byte), bytes.subarray(at + removed)]);
      }
      return bytes;
    });
  const noise = fc
    .array(
      fc.constantFrom(
        `--${BOUNDARY}`,
        '--',
        '\r\n',
        '\r\n\r\n',
        '\n',
        ':',
        ';',
        'form-data',
        '"',
        'name=',
        'x',
      ),
    )
    .map((pieces) => Buffer.from(pieces.join('')));
  await fc.assert(
    fc.asyncProperty(fc.oneof(damaged, noise), async (bytes) => {
      const { status, text } = await postBytes(app, NATIVE, { bytes });
      assert.ok(status === 200 || status === 422 || status === 404, `${status}: ${text}`);
    }),
    runs(60),
  );
});

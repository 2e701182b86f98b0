import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import { END_OF_STREAM, readEvents, type ServerSentEvent } from '../../src/providers/server-sent-events.js';
import { runs } from '../support/runs.js';

/** Bytes cut at these places, as a body that arrives in as many chunks. */
function cut(bytes: Uint8Array, places: readonly number[]): AsyncIterable<Uint8Array> {
  const edges = [0, ...places.map((place) => place % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  return new ReadableStream({
    start(controller) {
      for (const [index, edge] of edges.slice(1).entries())
        controller.enqueue(bytes.subarray(edges[index], edge));
      controller.close();
    },
  });
}

async function eventsOf(text: string, places: readonly number[] = []): Promise<ServerSentEvent[]> {
  const events: ServerSentEvent[] = [];
  for await (const event of readEvents(cut(Buffer.from(text), places), LOOK_FOR)) events.push(event);
  return events;
}

const LOOK_FOR = { picture: 'b64_json' };

const bodies: readonly (readonly [what: string, body: string, expected: readonly ServerSentEvent[]])[] = [
  ['nothing', '', []],
  ['an event', 'event: a\ndata: 1\n\n', [{ name: 'a', data: 1 }]],
  ['an event without a name', 'data: 1\n\n', [{ name: '', data: 1 }]],
  [
    'two events',
    'event: a\ndata: 1\n\ndata: 2\n\n',
    [
      { name: 'a', data: 1 },
      { name: '', data: 2 },
    ],
  ],
  ['an event in CRLF', 'event: a\r\ndata: 1\r\n\r\n', [{ name: 'a', data: 1 }]],
  ['an event with two names', 'event: a\nevent: b\ndata: 1\n\n', [{ name: 'b', data: 1 }]],
  ['data of several lines', 'data: [1,\ndata:\ndata: 2]\n\n', [{ name: '', data: [1, 2] }]],
  ['numbers that lines part', 'data: 1\ndata: 2\n\n', [{ name: '', data: undefined }]],
  ['data without a space', 'data:1\n\n', [{ name: '', data: 1 }]],
  ['data with a colon', 'data: {"a": "b: c"}\n\n', [{ name: '', data: { a: 'b: c' } }]],
  ['a picture', 'data: {"b64_json":"QUJD"}\n\n', [{ name: '', data: { b64_json: Buffer.from('ABC') } }]],
  [
    'data that are no JSON',
    'data: {x\n\ndata: 1\n\n',
    [
      { name: '', data: undefined },
      { name: '', data: 1 },
    ],
  ],
  ['the end', 'data: [DONE]\n\n', [{ name: '', data: END_OF_STREAM }]],
  ['comments and heartbeats', ': hello\n\n:\n\ndata: 1\n: there\n\n', [{ name: '', data: 1 }]],
  ['other fields', 'id: 7\nretry: 5\nwhat\ndata: 1\n\n', [{ name: '', data: 1 }]],
  ['a name without data', 'event: a\n\ndata: 1\n\n', [{ name: '', data: 1 }]],
  ['empty data', 'event: a\ndata:\n\n', []],
  ['blank lines', '\n\n\ndata: 1\n\n\n\n', [{ name: '', data: 1 }]],
  ['no blank line at the end', 'data: 1\n', [{ name: '', data: 1 }]],
  ['no line end at the end', 'data: 1', [{ name: '', data: 1 }]],
  ['data behind many spaces', `data:${' '.repeat(200)}1\n\n`, [{ name: '', data: 1 }]],
  ['data behind many blank lines of data', `${'data:\n'.repeat(200)}data: 1\n\n`, [{ name: '', data: 1 }]],
  ['no data but spaces', `data:${' '.repeat(200)}\n\ndata: 1\n\n`, [{ name: '', data: 1 }]],
  ['every kind of character', 'data: "Zwölf 🦊 日本"\n\n', [{ name: '', data: 'Zwölf 🦊 日本' }]],
];
for (const [what, body, expected] of bodies) {
  test(`a body of ${what} is read as it is`, async () => {
    assert.deepEqual(await eventsOf(body), expected);
  });
}

test('a byte order mark before the first line is none of it, wherever it is cut', async () => {
  const body = '\ufeffevent: a\ndata: 1\n\n\ufeffdata: 2\n\ndata: 3\n\n';
  for (let at = 0; at < 6; at += 1) {
    assert.deepEqual(await eventsOf(body, [at]), [
      { name: 'a', data: 1 },
      { name: '', data: 3 },
    ]);
  }
});

test('it does not matter where a body is cut into chunks', async () => {
  const body = bodies.map(([, text]) => text).join('\n\n');
  const whole = await eventsOf(body);
  assert.ok(whole.length > 10, `${whole.length} events`);
  const places = fc.array(fc.nat({ max: 10_000 }), { maxLength: 40 });
  const property = fc.asyncProperty(places, async (at) => {
    assert.deepEqual(await eventsOf(body, at), whole);
  });
  await fc.assert(property, runs(100));
  assert.deepEqual(await eventsOf(body, [...Buffer.from(body).keys()]), whole);
});

/**
 * Sees how many buffers are made, of which a reader of JSON has some before its first byte, and how long the longest
 * text is that is parsed.
 */
function watchReaders(t: TestContext): { made: number; parsed: number } {
  const seen = { made: 0, parsed: 0 };
  const { alloc } = Buffer;
  const { parse } = JSON;
  Buffer.alloc = (...args: Parameters<typeof alloc>) => {
    seen.made += 1;
    return alloc(...args);
  };
  JSON.parse = (...args) => {
    seen.parsed = Math.max(seen.parsed, args[0].length);
    return parse(...args);
  };
  t.after(() => void Object.assign(Buffer, { alloc }));
  t.after(() => void Object.assign(JSON, { parse }));
  return seen;
}

for (const line of ['\n', '\r\n', 'data:\n', 'data:\r\n', 'data: \n', 'event: a\n\n', ':\n\n']) {
  test(`of megabytes of ${JSON.stringify(line)} nothing is made`, async (t) => {
    const chunk = Buffer.from(line.repeat(Math.floor(65_536 / line.length)));
    async function* body() {
      for (let sent = 0; sent < 2_000_000; sent += chunk.length) yield chunk;
      yield Buffer.from('\ndata: 1\n\n');
    }
    const events: ServerSentEvent[] = [];
    const seen = watchReaders(t);
    for await (const event of readEvents(body(), LOOK_FOR)) events.push(event);
    assert.deepEqual(events, [{ name: '', data: 1 }]);
    assert.ok(seen.made < 10, `${seen.made} buffers`);
    assert.equal(seen.parsed, 1);
  });
}

test('a hundred thousand empty lines of data are one line end in the JSON', async (t) => {
  const seen = watchReaders(t);
  assert.deepEqual(await eventsOf(`data: [1,\n${'data:\n'.repeat(100_000)}data:2]\n\n`), [
    { name: '', data: [1, 2] },
  ]);
  assert.equal(seen.parsed, '[1,\n2]'.length);
});

test('others have their turn while the events of one chunk are read', async () => {
  let turns = 0;
  let isReading = true;
  const countTurns = () => {
    turns += 1;
    if (isReading) setImmediate(countTurns);
  };
  setImmediate(countTurns);
  const events = await eventsOf('data: {}\n\n'.repeat(20_000));
  isReading = false;
  assert.equal(events.length, 20_000);
  // One in three milliseconds: it takes at least thirty.
  assert.ok(turns > 5, `${turns} turns`);
});

test('whoever stops reading cancels the body', async () => {
  let cancelled = false;
  const endless = new ReadableStream({
    pull: (controller) => controller.enqueue(Buffer.from('data: 1\n\n')),
    cancel() {
      cancelled = true;
    },
  });
  for await (const _ of readEvents(endless, LOOK_FOR)) break;
  assert.equal(cancelled, true);
});

test('an event arrives before the next one was sent', async () => {
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
  const writer = writable.getWriter();
  const events = readEvents(readable, LOOK_FOR);
  for (const data of ['1', '2']) {
    const next = events.next();
    await writer.write(Buffer.from(`data: ${data}\n\n`));
    assert.deepEqual(await next, { done: false, value: { name: '', data: Number(data) } });
  }
  const last = events.next();
  await writer.close();
  assert.equal((await last).done, true);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { readEvents, type ServerSentEvent } from '../../src/providers/server-sent-events.js';
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
  for await (const event of readEvents(cut(Buffer.from(text), places))) events.push(event);
  return events;
}

const bodies: readonly (readonly [what: string, body: string, expected: readonly ServerSentEvent[]])[] = [
  ['nothing', '', []],
  ['an event', 'event: a\ndata: 1\n\n', [{ name: 'a', data: '1' }]],
  ['an event without a name', 'data: 1\n\n', [{ name: '', data: '1' }]],
  [
    'two events',
    'event: a\ndata: 1\n\ndata: 2\n\n',
    [
      { name: 'a', data: '1' },
      { name: '', data: '2' },
    ],
  ],
  ['an event in CRLF', 'event: a\r\ndata: 1\r\n\r\n', [{ name: 'a', data: '1' }]],
  ['data of several lines', 'data: 1\ndata:\ndata: 2\n\n', [{ name: '', data: '1\n\n2' }]],
  ['data without a space', 'data:1\n\n', [{ name: '', data: '1' }]],
  ['data that begins with spaces', 'data:  1\n\n', [{ name: '', data: ' 1' }]],
  ['data with a colon', 'data: a: b\n\n', [{ name: '', data: 'a: b' }]],
  ['comments and heartbeats', ': hello\n\n:\n\ndata: 1\n: there\n\n', [{ name: '', data: '1' }]],
  ['other fields', 'id: 7\nretry: 5\nwhat\ndata: 1\n\n', [{ name: '', data: '1' }]],
  ['a name without data', 'event: a\n\ndata: 1\n\n', [{ name: '', data: '1' }]],
  ['empty data', 'event: a\ndata:\n\n', []],
  ['blank lines', '\n\n\ndata: 1\n\n\n\n', [{ name: '', data: '1' }]],
  ['no blank line at the end', 'data: 1\n', [{ name: '', data: '1' }]],
  ['no line end at the end', 'data: 1', [{ name: '', data: '1' }]],
  ['every kind of character', 'data: Zwölf 🦊 日本\n\n', [{ name: '', data: 'Zwölf 🦊 日本' }]],
];
for (const [what, body, expected] of bodies) {
  test(`a body of ${what} is read as it is`, async () => {
    assert.deepEqual(await eventsOf(body), expected);
  });
}

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

test('whoever stops reading cancels the body', async () => {
  let cancelled = false;
  const endless = new ReadableStream({
    pull: (controller) => controller.enqueue(Buffer.from('data: 1\n\n')),
    cancel() {
      cancelled = true;
    },
  });
  for await (const _ of readEvents(endless)) break;
  assert.equal(cancelled, true);
});

test('an event arrives before the next one was sent', async () => {
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
  const writer = writable.getWriter();
  const events = readEvents(readable);
  for (const data of ['1', '2']) {
    const next = events.next();
    await writer.write(Buffer.from(`data: ${data}\n\n`));
    assert.deepEqual(await next, { done: false, value: { name: '', data } });
  }
  const last = events.next();
  await writer.close();
  assert.equal((await last).done, true);
});

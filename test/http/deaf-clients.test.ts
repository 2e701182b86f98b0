/**
 * Clients that take nothing of an answer. Time is a mock here, so nothing may be fetched: the timers of `fetch`, set
 * while it is real and cleared while it is not, ring for connections that are gone, and what they throw ends a process.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import type { Express, Response } from 'express';
import type { PlaceholderOptions } from '../../src/providers/placeholder.js';
import { createTestApp, onlySize, TEST_KEY, type TestApp, testModel } from '../support/app.js';
import { noise } from '../support/pictures.js';

const EDGE = 1024;
const bytes = await noise(EDGE);
const NOISY: PlaceholderOptions = {
  models: [testModel({ sizes: onlySize(EDGE) })],
  tamper: () => ({ bytes, type: 'image/png' }),
};

const STALLED_MS = 120_000;
// More than connections hold by themselves.
const STALLING_COUNT = 6;

/** The first answer that is written in pieces, and when it was written to last. */
interface Watched {
  answer: Response | undefined;
  writtenAt: number;
}

function watchFirst(host: Express): Watched {
  const watched: Watched = { answer: undefined, writtenAt: 0 };
  host.use((_req, res, next) => {
    const inner = res.write.bind(res) as (chunk: unknown) => boolean;
    res.write = (chunk: unknown) => {
      watched.answer ??= res;
      watched.writtenAt = performance.now();
      return inner(chunk);
    };
    next();
  });
  return watched;
}

/** Waits until the answer has not been written to for a while: its connection takes no more. */
async function onceStalled(watched: Watched): Promise<Response> {
  for (;;) {
    await new Promise((resolve) => setImmediate(resolve));
    const { answer, writtenAt } = watched;
    if (answer?.writableNeedDrain && performance.now() - writtenAt > 500) return answer;
  }
}

/** A connection that sends and reads nothing. */
async function deafConnection(t: TestContext, app: TestApp): Promise<Socket> {
  const { hostname, port } = new URL(app.url);
  const socket = connect(Number(port), hostname).pause();
  t.after(() => socket.destroy());
  await once(socket, 'connect');
  return socket;
}

const STALLING_BODY = { model: 'placeholder/sketch', prompt: 'Noise', response_format: 'b64_json' };

function drawing(body: object): string {
  const text = JSON.stringify(body);
  const head = [
    'POST /v1/inference/images/generate HTTP/1.1',
    'Host: localhost',
    `Authorization: Bearer ${TEST_KEY}`,
    'Content-Type: application/json',
    `Content-Length: ${Buffer.byteLength(text)}`,
  ];
  return `${head.join('\r\n')}\r\n\r\n${text}`;
}

for (const [who, before] of [
  ['a client', ''],
  [
    'a client whose answer stands in line behind another one',
    'GET /never HTTP/1.1\r\nHost: localhost\r\n\r\n',
  ],
] as const) {
  test(`${who} that takes nothing of it for two minutes is let go of`, { timeout: 20_000 }, async (t) => {
    let watched: Watched | undefined;
    const app = await createTestApp(t, {
      placeholder: NOISY,
      pictures: { verify: 'container' },
      before(host) {
        host.get('/never', () => undefined);
        watched = watchFirst(host);
      },
    });
    const socket = await deafConnection(t, app);
    t.mock.timers.enable({ apis: ['setTimeout'] });
    socket.write(before + drawing({ ...STALLING_BODY, n: STALLING_COUNT }));
    assert.ok(watched, 'the host watches');
    const answer = await onceStalled(watched);
    t.mock.timers.tick(STALLED_MS - 1);
    assert.equal(answer.destroyed, false, 'two minutes are not over');
    t.mock.timers.tick(1);
    assert.equal(answer.destroyed, true, 'two minutes are over');
    t.mock.timers.reset();
    // Waits for requests in flight, for longer than this test may take.
    await app.router.close();
  });
}

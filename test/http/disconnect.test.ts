/** Responses that stand in line behind others on their connection, and a client that leaves. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { type TestContext, test } from 'node:test';
import express, { type Response } from 'express';
import { closeInLine } from '../../src/http/disconnect.js';
import { until } from '../support/app.js';

/** A connection with three requests, the responses to them, and how often each was closed. */
async function threeInLine(t: TestContext) {
  const responses: Response[] = [];
  const closes = [0, 0, 0];
  const app = express().use((req, res) => {
    const place = responses.push(res) - 1;
    res.on('close', () => {
      closes[place] = (closes[place] ?? 0) + 1;
    });
    closeInLine(req, res);
  });
  const server = createServer(app).listen(0, '127.0.0.1');
  t.after(() => void server.close());
  await once(server, 'listening');
  const socket = connect({ host: '127.0.0.1', port: (server.address() as AddressInfo).port });
  socket.resume().write('GET / HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(3));
  await until(() => responses.length === 3);
  return { responses, closes, socket };
}

test('each is closed once, also one that was given up before', async (t) => {
  const { responses, closes, socket } = await threeInLine(t);
  responses[2]?.destroy();
  socket.destroy();
  await until(() => closes.every((count) => count > 0));
  assert.deepEqual(closes, [1, 1, 1]);
  assert.ok(
    responses.every((res: ServerResponse) => res.destroyed),
    'nobody writes to them any more',
  );
});

test('one whose turn has come is closed by Node alone', async (t) => {
  const { responses, closes, socket } = await threeInLine(t);
  responses[0]?.end();
  await until(() => responses[1]?.socket !== null);
  socket.destroy();
  await until(() => closes.every((count) => count > 0));
  assert.deepEqual(closes, [1, 1, 1]);
});

test('those that were answered leave nothing on their connection', async (t) => {
  const { responses, socket } = await threeInLine(t);
  const connection = responses[0]?.socket;
  const before = connection?.listenerCount('close') ?? 0;
  for (const res of responses) res.end();
  await until(() => responses.every((res) => res.writableFinished));
  await until(() => connection?.listenerCount('close') === before - 3);
  socket.destroy();
});

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { createReadingLine } from '../../src/providers/reading-line.js';
import { bodyOf, createUpstreamFetch } from '../../src/providers/upstream.js';

const PIECE = 64 * 1024;

/** Goes through the rounds of the event loop. */
async function rounds(count: number): Promise<void> {
  for (let round = 0; round < count; round += 1) await new Promise((resolve) => setImmediate(resolve));
}

test('an answer is read on when its turn comes', { timeout: 60_000 }, async (t) => {
  const bytes = 1 << 20;
  const server = createServer((_request, response) => response.end(Buffer.alloc(bytes))).listen(
    0,
    '127.0.0.1',
  );
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const taken: number[] = [];
  let isOurTurn: () => void = () => undefined;
  const first = new Promise<void>((resolve) => {
    isOurTurn = resolve;
  });
  const turn = async (byteLength: number) => {
    taken.push(byteLength);
    await first;
  };
  const { signal } = new AbortController();
  const fetch = createUpstreamFetch({ maxBytes: bytes, signal, line: { join: () => turn } });
  const body = bodyOf(await fetch(`http://127.0.0.1:${port}/`))[Symbol.asyncIterator]();
  const { value } = await body.next();
  let length = value?.byteLength ?? 0;
  const next = body.next();
  await rounds(20);
  assert.deepEqual(taken, [length]);
  isOurTurn();
  for (let step = await next; step.done !== true; step = await body.next()) length += step.value.byteLength;
  assert.equal(length, bytes);
});

test('whoever began first goes on first', async () => {
  const line = createReadingLine();
  const pieces = [0, 0, 0];
  const read = async (_: unknown, reader: number) => {
    const turn = line.join();
    for (let piece = 0; piece < 64; piece += 1) {
      await turn(PIECE);
      pieces[reader] = piece;
    }
    return [...pieces];
  };
  const [first] = await Promise.all(pieces.map(read));
  assert.ok(
    first?.every((piece, reader) => reader === 0 || piece < 32),
    `the first was done at ${first}`,
  );
});

test('whoever began first goes on first, also where its turn takes many rounds of the event loop', async () => {
  const line = createReadingLine();
  const pieces = Array.from({ length: 16 }, () => 0);
  const read = async (_: unknown, reader: number) => {
    const turn = line.join();
    for (let piece = 1; piece <= 64; piece += 1) {
      // As where a piece arrives in each round, because the work on the one before took all of it.
      await rounds(1);
      await turn(PIECE);
      pieces[reader] = piece;
    }
    return pieces.slice(1);
  };
  const [others = []] = await Promise.all(pieces.map(read));
  const sum = others.reduce((one, other) => one + other, 0);
  // Each has its first two, and of eight turns of eight pieces one is another's.
  assert.ok(sum <= 15 * 2 + 2 * 8, `when the first was done the others had ${others}`);
});

test('an answer that waits for its provider keeps nobody waiting', async () => {
  const line = createReadingLine();
  const stalled = line.join();
  await stalled(1 << 20);
  const others = Array.from({ length: 5 }, () => line.join()(1 << 20));
  await Promise.race([Promise.all(others), rounds(100).then(() => assert.fail('the others never went on'))]);
});

test('an answer that does not end keeps nobody waiting', { timeout: 60_000 }, async () => {
  const line = createReadingLine();
  let isOver = false;
  const endless = line.join();
  const reading = (async () => {
    for (let piece = 0; piece < 100_000 && !isOver; piece += 1) await endless(PIECE);
  })();
  const read = async () => {
    const turn = line.join();
    for (let piece = 0; piece < 64; piece += 1) await turn(PIECE);
  };
  await Promise.race([
    Promise.all(Array.from({ length: 20 }, read)),
    rounds(5_000).then(() => assert.fail('the others never went on')),
  ]).finally(() => {
    isOver = true;
  });
  await reading;
});

test('an answer without a large picture does not wait in line', async () => {
  const line = createReadingLine();
  const crowd = Array.from({ length: 100 }, () => line.join()(1 << 20));
  const waits = Promise.all(crowd).then(() => 'large');
  const small = line.join();
  const passes = small(PIECE)
    .then(() => small(PIECE))
    .then(() => 'small');
  assert.equal(await Promise.race([waits, passes]), 'small');
  await waits;
});

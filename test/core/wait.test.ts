import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { takeTurn, whileInTime } from '../../src/core/wait.js';

/** Keeps the process busy. */
function work(ms: number): void {
  const until = performance.now() + ms;
  while (performance.now() < until);
}

/** Counts rounds of the event loop until somebody says stop. */
function countRounds(): () => number {
  let rounds = 0;
  let isOver = false;
  const next = () => {
    rounds += 1;
    if (!isOver) setImmediate(next);
  };
  setImmediate(next);
  return () => {
    isOver = true;
    return rounds;
  };
}

test('a crowd that takes turns lets others in between', async () => {
  const rounds = countRounds();
  const member = async () => {
    for (let piece = 0; piece < 5; piece += 1) {
      await takeTurn();
      work(1);
    }
  };
  await Promise.all(Array.from({ length: 100 }, member));
  // 500 milliseconds of work, at most a few of them in a round.
  assert.ok(rounds() >= 10, 'the event loop went round meanwhile');
});

test('turns are had at once where nobody else wants one', async () => {
  const rounds = countRounds();
  for (let turn = 0; turn < 1000; turn += 1) await takeTurn();
  assert.ok(rounds() < 100, 'the event loop was hardly waited for');
});

test('work in time has its value, and neither a timer nor a listener is left', async () => {
  const abort = new AbortController();
  let given: AbortSignal | undefined;
  const value = await whileInTime(
    async (signal) => {
      given = signal;
      return 7;
    },
    { signal: abort.signal, milliseconds: 20 },
  );
  assert.equal(value, 7);
  assert.equal(getEventListeners(abort.signal, 'abort').length, 0);
  await sleep(100);
  abort.abort();
  assert.equal(given?.aborted, false);
});

test('work that hangs is told so, and given up, when its time is up', async () => {
  let given: AbortSignal | undefined;
  const hanging = whileInTime(
    (signal) => {
      given = signal;
      return new Promise<never>(() => undefined);
    },
    { signal: new AbortController().signal, milliseconds: 20 },
  );
  // The timer alone keeps no process alive.
  await Promise.all([assert.rejects(hanging, { name: 'TimeoutError' }), sleep(200)]);
  assert.equal(given?.reason.name, 'TimeoutError');
});

test('work is given up with the reason of its signal, before it begins or on its way', async () => {
  const reason = new Error('the client left');
  const hang = (signal: AbortSignal) => new Promise<never>(() => signal.aborted);
  const aborted = AbortSignal.abort(reason);
  await assert.rejects(whileInTime(hang, { signal: aborted, milliseconds: 60_000 }), reason);
  const abort = new AbortController();
  const hanging = whileInTime(hang, { signal: abort.signal, milliseconds: 60_000 });
  abort.abort(reason);
  await assert.rejects(hanging, reason);
  assert.equal(getEventListeners(abort.signal, 'abort').length, 0);
});

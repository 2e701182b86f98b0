import assert from 'node:assert/strict';
import { test } from 'node:test';
import { takeTurn } from '../../src/core/wait.js';

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

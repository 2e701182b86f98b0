import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createDeadlines } from '../../src/core/deadline.js';
import { isImagesError } from '../../src/errors.js';

const LONG_MS = 60_000;

test('close() does not wait for ever for a request that hears nothing', async () => {
  const deadlines = createDeadlines({ requestMs: LONG_MS, graceMs: 50 });
  const deaf = deadlines.start();
  const startedAt = performance.now();
  await deadlines.close(50);
  assert.ok(deaf.signal.aborted, 'it was told');
  assert.ok(performance.now() - startedAt >= 90, 'it had its time');
  deaf.end();
});

test('close() is over as soon as the last request is', async () => {
  const deadlines = createDeadlines({ requestMs: LONG_MS, graceMs: LONG_MS });
  const quick = deadlines.start();
  const told = deadlines.start();
  told.signal.addEventListener('abort', () => told.end());
  setTimeout(() => quick.end(), 10);
  await deadlines.close(100);
  assert.ok(!quick.signal.aborted, 'what ended in time was not cut off');
});

test('a deadline that is restarted has its whole time again', async () => {
  const deadline = createDeadlines({ requestMs: 400 }).start();
  await sleep(300);
  deadline.restart();
  await sleep(200);
  assert.ok(!deadline.upstream.aborted, 'still running after 500 ms');
  await sleep(600);
  assert.ok(isImagesError(deadline.upstream.reason), 'and over after 400 more');
  deadline.end();
});

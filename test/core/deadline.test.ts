import assert from 'node:assert/strict';
import { once } from 'node:events';
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

test('a deadline stands still while it is paused, by however many', async () => {
  const deadline = createDeadlines({ requestMs: 300, maxPausedMs: LONG_MS }).start();
  const resumes = [deadline.pause(), deadline.pause()];
  await sleep(500);
  resumes[0]?.();
  await sleep(100);
  assert.ok(!deadline.upstream.aborted, 'nothing runs before the last one resumes');
  resumes[1]?.();
  await once(deadline.upstream, 'abort');
  deadline.end();
});

test('a deadline is not paused for ever', async () => {
  const deadline = createDeadlines({ requestMs: 50, maxPausedMs: 50 }).start();
  deadline.pause();
  await once(deadline.upstream, 'abort');
  deadline.end();
});

test('a deadline that ended is woken by nobody', async () => {
  const deadline = createDeadlines({ requestMs: 20, maxPausedMs: LONG_MS }).start();
  const resume = deadline.pause();
  deadline.end();
  resume();
  await sleep(200);
  assert.ok(!deadline.upstream.aborted, 'no timer is left');
});

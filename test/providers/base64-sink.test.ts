import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { createBase64Sink } from '../../src/providers/base64-sink.js';

const SLICE = 64 * 1024;

test('what a picture of unknown length outgrew is free before anything is collected', () => {
  const bytes = randomBytes(4_000_000);
  const text = Buffer.from(bytes.toString('base64'));
  const before = process.memoryUsage().arrayBuffers;
  const sinks = Array.from({ length: 4 }, () => createBase64Sink());
  for (let at = 0; at < text.length; at += SLICE) {
    for (const sink of sinks) sink.write(text.subarray(at, at + SLICE));
  }
  const grown = process.memoryUsage().arrayBuffers - before;
  for (const sink of sinks) assert.ok(sink.end()?.equals(bytes));
  // Twice what was there when it last grew: what came before would be as much again.
  const most = 4.5 * 1024 * 1024;
  assert.ok(grown < sinks.length * most, `${grown / sinks.length} bytes a picture`);
});

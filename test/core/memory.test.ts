import assert from 'node:assert/strict';
import { test } from 'node:test';
import { giveBack } from '../../src/core/memory.js';

test('large bytes are gone once they were given back, for every view of them', () => {
  const bytes = Buffer.alloc(1 << 20, 7);
  const view = bytes.subarray(10, 20);
  giveBack(bytes);
  assert.deepEqual([bytes.byteLength, view.byteLength], [0, 0]);
  giveBack(bytes);
});

test('small bytes stay, because they may lie in memory that is shared', () => {
  const bytes = Buffer.from('x'.repeat(1000));
  giveBack(bytes);
  assert.equal(bytes.toString(), 'x'.repeat(1000));
});

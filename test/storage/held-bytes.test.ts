import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createHeldMemory } from '../../src/storage/held-bytes.js';

test('memory counts once from the first who holds it until the last is done, however often each says so', () => {
  const memory = createHeldMemory();
  const one = memory.allocate(100);
  const other = memory.allocate(20);
  assert.equal(memory.heldBytes(), 0);
  const releases = [one.hold(), one.hold(), other.hold()];
  assert.equal(one.holders(), 2);
  assert.equal(memory.heldBytes(), 120);
  releases[0]?.();
  releases[0]?.();
  assert.equal(one.holders(), 1);
  assert.equal(memory.heldBytes(), 120);
  releases[1]?.();
  assert.equal(memory.heldBytes(), 20);
  one.hold();
  assert.equal(memory.heldBytes(), 120, 'it can be held anew');
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { giveBack, joinParts, roomFor } from '../../src/core/memory.js';
import { runs } from '../support/runs.js';

test('large bytes are gone once they were given back, for every view of them', () => {
  const bytes = Buffer.alloc(1 << 20, 7);
  const view = bytes.subarray(10, 20);
  giveBack(bytes);
  assert.deepEqual([bytes.byteLength, view.byteLength], [0, 0]);
  giveBack(bytes);
});

test('memory that was given back is free before anything is collected', () => {
  const before = process.memoryUsage().arrayBuffers;
  for (let time = 0; time < 100; time += 1) giveBack(Buffer.allocUnsafeSlow(1 << 20));
  const grown = process.memoryUsage().arrayBuffers - before;
  assert.ok(grown < 1 << 20, `${grown} bytes more`);
});

for (const poolSize of [Buffer.poolSize, 64 * 1024, 1024 * 1024]) {
  test(`small bytes stay, because they lie in memory that is shared, where that has ${poolSize} bytes`, (t) => {
    const usual = Buffer.poolSize;
    t.after(() => {
      Buffer.poolSize = usual;
    });
    Buffer.poolSize = poolSize;
    // Node begins a new one when the last one is full.
    while (Buffer.allocUnsafe(1000).buffer.byteLength !== poolSize);
    const bytes = Buffer.from('x'.repeat(1000));
    giveBack(bytes);
    assert.equal(bytes.toString(), 'x'.repeat(1000));
  });
}

const PART = fc.uint8Array({ maxLength: 40 });

test('parts are put together as they would be by copying, whatever lies around the largest', () => {
  fc.assert(
    fc.property(
      fc.array(PART),
      fc.uint8Array({ minLength: 41, maxLength: 200 }),
      fc.array(PART),
      fc.nat(60),
      (before, pixels, after, spare) => {
        const picture = roomFor(spare + pixels.length + spare);
        picture.set(pixels, spare);
        const largest = picture.subarray(spare, spare + pixels.length);
        const expected = Buffer.concat([...before, pixels, ...after]);
        assert.deepEqual(Buffer.from(joinParts([...before, largest, ...after])), expected);
      },
    ),
    runs(200),
  );
});

test('a picture in its own memory is put together where it lies, its first part included', () => {
  const picture = roomFor(1000);
  picture.fill('head', 0, 100).fill('pixels', 100, 900).fill('tail', 900, 1000);
  const parts = [
    picture.subarray(0, 100),
    Buffer.alloc(200, 'mark'),
    picture.subarray(100, 900),
    Buffer.from('end'),
  ];
  const expected = Buffer.concat(parts);
  const joined = joinParts(parts);
  assert.equal(joined.buffer, picture.buffer);
  assert.deepEqual(Buffer.from(joined), expected);
});

test('memory that may be shared is left as it is', () => {
  const slab = Buffer.alloc(4000, 'x');
  const parts = [Buffer.from('mark'), slab.subarray(2000, 3000), Buffer.from('end')];
  assert.notEqual(joinParts(parts).buffer, slab.buffer);
  assert.ok(slab.equals(Buffer.alloc(4000, 'x')), 'nothing was written into it');
});

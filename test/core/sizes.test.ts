import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { SizeRange } from '../../src/core/provider.js';
import { describeSizes, isSizeAllowed, parseSize, sizeName } from '../../src/core/sizes.js';
import { runs } from '../support/runs.js';

const edge = fc.integer({ min: 1, max: 99_999 });

test('a size is read as it is written', () => {
  fc.assert(
    fc.property(edge, edge, (width, height) => {
      assert.deepEqual(parseSize(sizeName({ width, height })), { width, height });
    }),
    runs(100),
  );
});

test('only WxH in plain digits is a size', () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(...'0129xX .-+e６'), maxLength: 9 }), (name) => {
      const size = parseSize(name);
      assert.equal(size === undefined ? undefined : sizeName(size), size && name);
      assert.equal(size !== undefined, /^[1-9][0-9]{0,4}x[1-9][0-9]{0,4}$/.test(name));
    }),
    runs(500),
  );
});

const RANGE: SizeRange = {
  ...{ kind: 'range', multiple: 16, minEdge: 256, maxEdge: 2048, minPixels: 256 * 1024 },
  ...{ maxPixels: 2_097_152, maxRatio: 3, default: 'auto' },
};

test('a range has a size exactly when every bound holds, and turning the size changes nothing', () => {
  const near = fc.oneof(
    fc.integer({ min: 1, max: 130 }).map((step) => step * 16),
    fc.integer({ min: 1, max: 2100 }),
  );
  fc.assert(
    fc.property(near, near, (width, height) => {
      const bounds = [
        ...[width % 16 === 0, height % 16 === 0, width >= 256, height >= 256],
        ...[width <= 2048, height <= 2048, width * height >= 262_144, width * height <= 2_097_152],
        ...[width / height <= 3, height / width <= 3],
      ];
      const allowed = isSizeAllowed({ width, height }, RANGE);
      assert.equal(allowed, bounds.every(Boolean));
      assert.equal(isSizeAllowed({ width: height, height: width }, RANGE), allowed);
    }),
    runs(500),
  );
});

test('a list has exactly its sizes, and not turned ones', () => {
  const list = { kind: 'list', values: [{ width: 3, height: 2 }], default: 'auto' } as const;
  assert.equal(isSizeAllowed({ width: 3, height: 2 }, list), true);
  assert.equal(isSizeAllowed({ width: 2, height: 3 }, list), false);
  assert.equal(describeSizes(list), 'one of 3x2');
});

test('a range in words names every bound', () => {
  const words = describeSizes(RANGE);
  for (const bound of ['16', '256', '2048', '262144', '2097152', '3:1'])
    assert.ok(words.includes(bound), bound);
});

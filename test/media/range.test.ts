import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { requestedRange } from '../../src/media/range.js';
import { runs } from '../support/runs.js';

/** What RFC 9110 means, counted out on the bytes themselves. */
function countedOut(size: number, isWanted: (index: bigint) => boolean): ReturnType<typeof requestedRange> {
  const wanted = Array.from({ length: size }, (_, index) => index).filter((index) => isWanted(BigInt(index)));
  const [start, end] = [wanted.at(0), wanted.at(-1)];
  return start === undefined || end === undefined ? 'unsatisfiable' : { start, end };
}

const size = fc.integer({ min: 1, max: 40 });
const position = fc.oneof(
  fc.bigInt(0n, 50n),
  fc.bigInt(2n ** 53n - 3n, 2n ** 53n + 3n),
  fc.bigInt(0n, 10n ** 40n),
);
const spelled = (number: bigint, zeros: number) => '0'.repeat(zeros) + String(number);
const zeros = fc.nat(3);
const unit = fc.constantFrom('bytes', 'Bytes', 'BYTES');

describe('a requested range', () => {
  it('from one byte to another is what lies between, and nothing when they are reversed', () => {
    fc.assert(
      fc.property(size, unit, position, position, zeros, (bytes, name, first, last, padding) => {
        const header = `${name}=${spelled(first, padding)}-${spelled(last, padding)}`;
        const meant = countedOut(bytes, (index) => index >= first && index <= last);
        assert.deepEqual(requestedRange(header, bytes), last < first ? undefined : meant);
      }),
      runs(1_000),
    );
  });

  it('from one byte on is the rest', () => {
    fc.assert(
      fc.property(size, unit, position, zeros, (bytes, name, first, padding) => {
        const meant = countedOut(bytes, (index) => index >= first);
        assert.deepEqual(requestedRange(`${name}=${spelled(first, padding)}-`, bytes), meant);
      }),
      runs(1_000),
    );
  });

  it('of the last bytes is as many of them as there are', () => {
    fc.assert(
      fc.property(size, unit, position, zeros, (bytes, name, suffix, padding) => {
        const meant = countedOut(bytes, (index) => BigInt(bytes) - index <= suffix);
        assert.deepEqual(requestedRange(`${name}=-${spelled(suffix, padding)}`, bytes), meant);
      }),
      runs(1_000),
    );
  });

  it('is everything when it is absent, malformed, several or in another unit', () => {
    const others = [
      '',
      'bytes',
      'bytes=',
      'bytes=-',
      'bytes=a-b',
      'bytes=1',
      'bytes=1-2-3',
      'bytes=0x1-2',
      'bytes=+1-2',
    ];
    const more = [
      'bytes=1.5-2',
      'bytes= 1 - 2',
      'bytes =1-2',
      'bytes=0-0,2-3',
      'bytes=0-0,',
      'items=0-1',
      '0-1',
      'bytes=٠-١',
    ];
    for (const header of [...others, ...more]) assert.equal(requestedRange(header, 10), undefined, header);
    assert.equal(requestedRange(undefined, 10), undefined);
  });

  it('may be surrounded by blanks', () => {
    assert.deepEqual(requestedRange('bytes= \t1-2 ', 10), { start: 1, end: 2 });
  });

  it('of nothing is never satisfied', () => {
    for (const header of ['bytes=0-', 'bytes=0-0', 'bytes=-1'])
      assert.equal(requestedRange(header, 0), 'unsatisfiable');
  });

  it('of any text stays inside', () => {
    fc.assert(
      fc.property(size, fc.string({ unit: 'binary' }), (bytes, text) => {
        const range = requestedRange(`bytes=${text}`, bytes);
        if (typeof range === 'object')
          assert.ok(0 <= range.start && range.start <= range.end && range.end < bytes);
      }),
      runs(1_000),
    );
  });
});

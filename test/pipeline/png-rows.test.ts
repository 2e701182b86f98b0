/** The compressed pixels of PNGs, held against what sharp makes of them. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { constants, deflateRawSync, deflateSync } from 'node:zlib';
import fc from 'fast-check';
import sharp from 'sharp';
import { readContainer } from '../../src/pipeline/container.js';
import { areExactly } from '../../src/pipeline/png-rows.js';
import { putTogether } from '../support/container-parts.js';
import { runs } from '../support/runs.js';

const { signal } = new AbortController();

// Colour type, bits per sample, samples per pixel.
const KINDS = [
  ...[1, 2, 4, 8, 16].map((depth) => [0, depth, 1] as const),
  ...[8, 16].map((depth) => [2, depth, 3] as const),
  ...[1, 2, 4, 8].map((depth) => [3, depth, 1] as const),
  ...[8, 16].map((depth) => [4, depth, 2] as const),
  ...[8, 16].map((depth) => [6, depth, 4] as const),
] as const;

interface Sketch {
  readonly width: number;
  readonly height: number;
  readonly kind: (typeof KINDS)[number];
  readonly isInterlaced: boolean;
  readonly seed: number;
}

const sketches: fc.Arbitrary<Sketch> = fc.record({
  width: fc.integer({ min: 1, max: 20 }),
  height: fc.integer({ min: 1, max: 20 }),
  kind: fc.constantFrom(...KINDS),
  isInterlaced: fc.boolean(),
  seed: fc.nat({ max: 255 }),
});

/** The rows of a picture, every pixel put into its pass one by one: slow and plain. */
function rowsOf({ width, height, kind, isInterlaced, seed }: Sketch): readonly Buffer[] {
  const [, depth, samples] = kind;
  const rows = new Map<string, number>();
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const row = `${isInterlaced ? passOf(x, y) : 0} ${y}`;
      rows.set(row, (rows.get(row) ?? 0) + depth * samples);
    }
  }
  const ordered = [...rows].sort(([one], [other]) => Number(one.split(' ')[0]) - Number(other.split(' ')[0]));
  return ordered.map(([, bits], place) => {
    const row = Buffer.alloc(1 + Math.ceil(bits / 8), seed + place);
    row[0] = (seed + place) % 5;
    return row;
  });
}

// The pattern of eight by eight that the specification prints.
const ADAM7 = [
  '16462646',
  '77777777',
  '56565656',
  '77777777',
  '36463646',
  '77777777',
  '56565656',
  '77777777',
];

function passOf(x: number, y: number): number {
  return Number(ADAM7[y % 8]?.[x % 8]);
}

function pngOf({ width, height, kind, isInterlaced }: Sketch, stream: Buffer): Buffer {
  const [colours, depth] = kind;
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([depth, colours, 0, 0, isInterlaced ? 1 : 0], 8);
  const palette = { type: 'PLTE', body: Buffer.alloc(3 * 2 ** Math.min(8, depth), 7) };
  return putTogether('png', [
    { type: 'IHDR', body: header },
    ...(colours === 3 ? [palette] : []),
    { type: 'IDAT', body: stream.subarray(0, stream.length >> 1) },
    { type: 'IDAT', body: stream.subarray(stream.length >> 1) },
    { type: 'IEND', body: Buffer.alloc(0) },
  ]);
}

async function areSound(png: Buffer): Promise<boolean> {
  const container = readContainer(png);
  assert.ok(!('fault' in container) && container.layout?.rows, 'it has no rows');
  return await areExactly(container.layout.rows, signal);
}

async function decodes(png: Buffer): Promise<boolean> {
  try {
    await sharp(png, { failOn: 'warning' }).raw().toBuffer();
    return true;
  } catch {
    return false;
  }
}

/** What may be wrong with rows, or with the stream they were compressed to. */
const ROW_FAULTS = {
  'no row at all': () => [],
  'one row too few': (rows) => rows.slice(0, -1),
  'one byte too few': (rows) => [...rows.slice(0, -1), (rows.at(-1) ?? Buffer.alloc(1)).subarray(0, -1)],
  'one byte too many': (rows) => [...rows, Buffer.alloc(1)],
  'a filter there is not': (rows) => [
    ...rows.slice(0, -1),
    Buffer.concat([Buffer.from([5]), (rows.at(-1) ?? Buffer.alloc(1)).subarray(1)]),
  ],
} as const satisfies Record<string, (rows: readonly Buffer[]) => readonly Buffer[]>;

const STREAM_FAULTS = {
  'no stream': () => Buffer.alloc(0),
  'no zlib': () => Buffer.from('PK, and no zlib at all'),
  'an end that is missing': (stream) => stream.subarray(0, -5),
  'a checksum that is cut short': (stream) => stream.subarray(0, -1),
  'a wrong checksum': (stream) =>
    Buffer.concat([stream.subarray(0, -1), Buffer.from([~(stream.at(-1) ?? 0)])]),
  'a byte behind it': (stream) => Buffer.concat([stream, Buffer.alloc(1)]),
  'a megabyte behind it': (stream) => Buffer.concat([stream, Buffer.alloc(1 << 20, 'PK')]),
} as const satisfies Record<string, (stream: Buffer) => Buffer>;

describe('the compressed pixels of a PNG', () => {
  it('of any kind are sound, whatever is behind known filters, and decode', async () => {
    await fc.assert(
      fc.asyncProperty(sketches, async (sketch) => {
        const png = pngOf(sketch, deflateSync(Buffer.concat(rowsOf(sketch))));
        assert.deepEqual([await areSound(png), await decodes(png)], [true, true]);
      }),
      runs(150),
    );
  });

  for (const [fault, spoil] of Object.entries<(rows: readonly Buffer[]) => readonly Buffer[]>(ROW_FAULTS)) {
    it(`are not sound with ${fault}`, async () => {
      await fc.assert(
        fc.asyncProperty(sketches, async (sketch) => {
          const png = pngOf(sketch, deflateSync(Buffer.concat(spoil(rowsOf(sketch)))));
          assert.equal(await areSound(png), false);
        }),
        runs(20),
      );
    });
  }

  for (const [fault, spoil] of Object.entries<(stream: Buffer) => Buffer>(STREAM_FAULTS)) {
    it(`are not sound with ${fault}`, async () => {
      await fc.assert(
        fc.asyncProperty(sketches, async (sketch) => {
          const png = pngOf(sketch, spoil(deflateSync(Buffer.concat(rowsOf(sketch)))));
          assert.equal(await areSound(png), false);
        }),
        runs(20),
      );
    });
  }

  it('decode whenever they are sound, after any damage', async () => {
    const bits = fc.integer({ min: 1, max: 255 });
    await fc.assert(
      fc.asyncProperty(sketches, fc.nat(), bits, async (sketch, place, flipped) => {
        const stream = deflateSync(Buffer.concat(rowsOf(sketch)));
        const at = place % stream.length;
        stream[at] = (stream[at] ?? 0) ^ flipped;
        const png = pngOf(sketch, stream);
        assert.ok(!(await areSound(png)) || (await decodes(png)), 'sharp does not decode it');
      }),
      runs(200),
    );
  });

  it('that inflate to far more than they should are not inflated', { timeout: 10_000 }, async () => {
    const sketch = { width: 8, height: 8, kind: [2, 8, 3], isInterlaced: false, seed: 0 } as const;
    // Whole minutes of zeros: 64 MB in each block.
    const block = deflateRawSync(Buffer.alloc(64 << 20), { finishFlush: constants.Z_FULL_FLUSH });
    const stream = Buffer.concat([Buffer.from([0x78, 0x9c]), ...Array(1_000).fill(block)]);
    assert.equal(await areSound(pngOf(sketch, stream)), false);
  });

  it('are read where a host has Node share larger memory, and nobody else loses theirs', async (t) => {
    const usual = Buffer.poolSize;
    t.after(() => {
      Buffer.poolSize = usual;
    });
    // More than twice of what zlib is given at a time, which then lies in it.
    Buffer.poolSize = 1 << 20;
    const passes = [{ rows: 1024, rowBytes: 1 + 3 * 1024 }];
    const stream = [deflateSync(Buffer.alloc(1024 * (2 + 3 * 1024)))];
    for (let time = 0; time < 4; time += 1) {
      const others = Buffer.from('x'.repeat(1000));
      assert.equal(await areExactly({ stream, passes }, signal), true);
      assert.equal(others.toString(), 'x'.repeat(1000));
    }
  });

  it('are left when the order is aborted', async () => {
    const sketch = { width: 8, height: 8, kind: [2, 8, 3], isInterlaced: false, seed: 0 } as const;
    const container = readContainer(pngOf(sketch, deflateSync(Buffer.concat(rowsOf(sketch)))));
    assert.ok(!('fault' in container) && container.layout?.rows, 'it has no rows');
    const reason = { why: 'the client left' };
    const looking = areExactly(container.layout.rows, AbortSignal.abort(reason));
    await assert.rejects(looking, (error) => error === reason);
  });
});

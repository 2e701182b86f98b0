/** PNG: what its compressed pixels are made of, and whether they are just that (PNG specification, third edition). */
import { createInflate } from 'node:zlib';
import type { Size } from '../core/image.js';
import { giveBack } from '../core/memory.js';
import type { PixelRows, RowPass } from './container-walk.js';

// Fewer, larger slices cost less; this many bytes hold the event loop for a tenth of a millisecond.
const SLICE_BYTES = 256 * 1024;
// None, sub, up, average, Paeth.
const LAST_FILTER = 4;

/** Left, top, distance between columns and between rows of the seven passes of an interlaced picture (8.1). */
const ADAM7 = [
  [0, 0, 8, 8],
  [4, 0, 8, 8],
  [0, 4, 4, 8],
  [2, 0, 4, 4],
  [0, 2, 2, 4],
  [1, 0, 2, 2],
  [0, 1, 1, 2],
] as const;

/** What the rows of a picture of `bits` per pixel look like. */
export function passesOf({ width, height }: Size, bits: number, isInterlaced: boolean): readonly RowPass[] {
  const passes = isInterlaced ? ADAM7 : ([[0, 0, 1, 1]] as const);
  return passes
    .map(([left, top, acrossStep, downStep]) => ({
      columns: Math.ceil((width - left) / acrossStep),
      rows: Math.ceil((height - top) / downStep),
    }))
    .filter(({ columns, rows }) => columns > 0 && rows > 0)
    .map(({ columns, rows }) => ({ rows, rowBytes: Math.ceil((columns * bits) / 8) }));
}

/**
 * Whether a zlib stream holds exactly the rows it should, every one with a filter there is, and its checksum is right,
 * and nothing follows it. That is all a decoder could object to: any bytes behind a known filter are pixels. It takes
 * half the time of a decoder, on libuv's pool in slices.
 *
 * @throws `signal.reason` when aborted.
 */
export async function areExactly({ stream, passes }: PixelRows, signal: AbortSignal): Promise<boolean> {
  const compressed = stream.length === 1 ? stream[0] : Buffer.concat(stream);
  const inflate = createInflate({ chunkSize: SLICE_BYTES });
  inflate.end(compressed);
  const lengths = rowLengths(passes);
  let filterAt = 0;
  try {
    for await (const slice of inflate as AsyncIterable<Buffer>) {
      signal.throwIfAborted();
      while (filterAt < slice.length) {
        const { value: rowBytes } = lengths.next();
        if (rowBytes === undefined || slice.readUInt8(filterAt) > LAST_FILTER) return false;
        filterAt += 1 + rowBytes;
      }
      filterAt -= slice.length;
      // zlib goes on writing behind one that is not full. Larger memory is Node's, for whoever needs some.
      const { buffer, byteOffset, length } = slice;
      const isFull = byteOffset + length === buffer.byteLength;
      if (isFull && buffer.byteLength === SLICE_BYTES) giveBack(new Uint8Array(buffer));
    }
  } catch (error) {
    signal.throwIfAborted();
    if (isZlibError(error)) return false;
    throw error;
  }
  const isWhole = inflate.bytesWritten === compressed?.length;
  // Only where zlib came to its end: otherwise it may be at it still.
  if (compressed !== undefined && stream.length > 1) giveBack(compressed);
  return filterAt === 0 && lengths.next().done === true && isWhole;
}

function* rowLengths(passes: readonly RowPass[]): Generator<number, undefined> {
  for (const { rows, rowBytes } of passes) {
    for (let row = 0; row < rows; row += 1) yield rowBytes;
  }
}

/** What zlib says against its input, such as `Z_DATA_ERROR`; an end that is missing is `Z_BUF_ERROR`. */
function isZlibError(error: unknown): boolean {
  return error instanceof Error && 'code' in error && String(error.code).startsWith('Z_');
}

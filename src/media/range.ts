/** Byte ranges of RFC 9110, 14. */
import type { ByteRange } from '../core/storage.js';

const ONE_RANGE = /^bytes=[ \t]*(?:(?<first>\d+)-(?<last>\d*)|-(?<suffix>\d+))[ \t]*$/i;

/**
 * The part of `size` bytes that a `Range` header asks for. `undefined` is all of it: the header is absent or
 * malformed, its unit is another, or it names several parts, which nobody needs of a picture. `unsatisfiable` is a
 * part outside of it.
 */
export function requestedRange(
  header: string | undefined,
  size: number,
): ByteRange | 'unsatisfiable' | undefined {
  const { first, last, suffix } = ONE_RANGE.exec(header ?? '')?.groups ?? {};
  if (suffix !== undefined) {
    const length = Math.min(Number(suffix), size);
    return length === 0 ? 'unsatisfiable' : { start: size - length, end: size - 1 };
  }
  if (first === undefined) return undefined;
  // Numbers of any length: as floats two of them could seem equal and a reversed range in order.
  if (last && BigInt(last) < BigInt(first)) return undefined;
  const start = Number(first);
  if (start >= size) return 'unsatisfiable';
  return { start, end: last ? Math.min(Number(last), size - 1) : size - 1 };
}

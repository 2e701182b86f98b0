/** Memory that chunks of large objects are read into, used again and again. */

/** Memory for a chunk. */
export interface ChunkBuffers {
  /** Takes memory for a chunk of exactly so many bytes. What is in it is anything. */
  take(bytes: number): Buffer;
  /** Gives back the memory behind a chunk that nobody looks at any more. */
  give(chunk: Uint8Array): void;
}

/** The size of memory that is kept. */
export const BUFFER_BYTES: number = 256 * 1024;
// 8 MiB: enough for as many as read fast at the same time. Slow readers keep theirs, whatever is kept here.
const MAX_KEPT = 32;

/**
 * Makes a supply of memory that keeps at most 8 MiB. New memory for every chunk would have to be faulted in by the
 * system, and counts as garbage that has V8 collect young objects far more often: together half of what serving a
 * picture of megabytes costs.
 */
export function createChunkBuffers(): ChunkBuffers {
  const kept: Buffer[] = [];
  return {
    take(bytes) {
      const buffer = bytes <= BUFFER_BYTES ? kept.pop() : undefined;
      return (buffer ?? Buffer.allocUnsafeSlow(Math.max(bytes, BUFFER_BYTES))).subarray(0, bytes);
    },
    give({ buffer }) {
      if (buffer.byteLength === BUFFER_BYTES && kept.length < MAX_KEPT) kept.push(Buffer.from(buffer));
    },
  };
}

/** The bytes of an object file as they are read. */
import { crc32 } from 'node:zlib';
import { withFaults } from './faults.js';
import { damaged, type OpenObject } from './object-file.js';

/** What to read of an open object. */
export interface BodyOptions {
  /** First byte of the object. */
  readonly start: number;
  /** Last byte of the object; below `start` when there is nothing to read. */
  readonly end: number;
  /** Where it lies, for error messages. */
  readonly path: string;
  /** Ends the reading and closes the file. */
  readonly signal: AbortSignal | undefined;
}

// Throughput of big files doubles between 64 KB and 512 KB a chunk.
const CHUNK_BYTES = 512 * 1024;

/**
 * Chunks of an object, read only as they are asked for. The handle is closed with the last chunk, on an error, on
 * `return()` (also before the first chunk, where a generator would not notice) and on abort. Where all of it is read
 * and is not what was written, the last chunk is an error instead.
 */
export function readBody(object: OpenObject, options: BodyOptions): AsyncIterable<Uint8Array> {
  const { handle, bodyStart, bodyCrc32, info } = object;
  const { start, end, path, signal } = options;
  const isWhole = start === 0 && end === info.size - 1;
  let position = start;
  let checksum = 0;
  let closing: Promise<void> | undefined;

  function close(): Promise<void> {
    signal?.removeEventListener('abort', closeOnAbort);
    closing ??= handle.close();
    return closing;
  }
  function closeOnAbort(): void {
    // Whoever reads on is told the signal's reason; a failing close has no one to hear of it.
    close().catch(() => undefined);
  }
  signal?.addEventListener('abort', closeOnAbort, { once: true });

  async function readChunk(): Promise<Uint8Array> {
    const length = Math.min(CHUNK_BYTES, end - position + 1);
    const buffer = Buffer.allocUnsafeSlow(length);
    const { bytesRead } = await handle.read(buffer, 0, length, bodyStart + position);
    if (bytesRead === 0) throw damaged(path, `it ends before byte ${end}`);
    position += bytesRead;
    const chunk = buffer.subarray(0, bytesRead);
    if (isWhole) checksum = crc32(chunk, checksum);
    if (isWhole && position > end && checksum !== bodyCrc32) throw damaged(path, 'its bytes have changed');
    return chunk;
  }

  async function next(): Promise<IteratorResult<Uint8Array, undefined>> {
    try {
      signal?.throwIfAborted();
      if (closing !== undefined || position > end) return await finish();
      const value = await withFaults(readChunk);
      signal?.throwIfAborted();
      if (position > end) await close();
      return { done: false, value };
    } catch (error) {
      await close();
      throw error;
    }
  }
  async function finish(): Promise<IteratorResult<Uint8Array, undefined>> {
    await close();
    return { done: true, value: undefined };
  }

  return { [Symbol.asyncIterator]: () => ({ next, return: finish }) };
}

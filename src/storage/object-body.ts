/** The bytes of an object file as they are read. */
import { crc32 } from 'node:zlib';
import { BUFFER_BYTES, type ChunkBuffers } from './chunk-buffers.js';
import { withFaults } from './faults.js';
import { damaged, type OpenObject } from './object-file.js';
import type { Soundness } from './sound-files.js';

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
  /** What is known of its bytes before they are read. */
  readonly soundness: Soundness;
  /**
   * Where memory for chunks comes from, and goes as soon as the next one is asked for; `undefined` takes new memory.
   */
  readonly buffers: ChunkBuffers | undefined;
}

// A chunk stays in memory until its reader takes it, so slow readers get small ones. Big ones save a tenth of the work.
const SMALL_CHUNK_BYTES = BUFFER_BYTES;
const LARGE_CHUNK_BYTES = 512 * 1024;
// More than systems take of what a connection sends before anybody reads at its other end.
const TRUSTED_AFTER_BYTES = 8 * 1024 * 1024;
const STALLED_AFTER_MS = 1000;

/**
 * Chunks of an object, read only as they are asked for: what came with its header, then 256 KiB at a time, and 512 KiB
 * once 8 MiB in a row were taken with no pause of a second. The file is closed with the last chunk, on an error, on
 * `return()` (also before the first chunk, where a generator would not notice) and on abort. Where all of it is read
 * and is not what was written, the last chunk is an error instead.
 */
export function readBody(object: OpenObject, options: BodyOptions): AsyncIterable<Uint8Array> {
  const { file, bodyStart, bodyCrc32, info } = object;
  const { start, end, path, signal, soundness, buffers } = options;
  const isChecked = start === 0 && end === info.size - 1 && !soundness.isKnownSound;
  let atHand: Uint8Array | undefined = object.head.subarray(start, end + 1);
  let position = start;
  let checksum = 0;
  let lent: Uint8Array | undefined;
  let promptBytes = 0;
  let handedOutAt = performance.now();
  let closing: Promise<void> | undefined;

  function giveBack(): void {
    if (lent !== undefined) buffers?.give(lent);
    lent = undefined;
  }

  function close(): Promise<void> {
    signal?.removeEventListener('abort', closeOnAbort);
    closing ??= file.close();
    return closing;
  }
  function closeOnAbort(): void {
    // Whoever reads on is told the signal's reason; a failing close has no one to hear of it.
    close().catch(() => undefined);
  }
  signal?.addEventListener('abort', closeOnAbort, { once: true });

  function chunkBytes(): number {
    if (performance.now() - handedOutAt > STALLED_AFTER_MS) promptBytes = 0;
    return promptBytes < TRUSTED_AFTER_BYTES ? SMALL_CHUNK_BYTES : LARGE_CHUNK_BYTES;
  }

  async function readOn(): Promise<Uint8Array> {
    const length = Math.min(chunkBytes(), end - position + 1);
    const buffer = buffers?.take(length) ?? Buffer.allocUnsafeSlow(length);
    const bytesRead = await file.read(buffer, bodyStart + position);
    if (bytesRead === 0) throw damaged(path, `it ends before byte ${end}`);
    return buffer.subarray(0, bytesRead);
  }

  async function nextChunk(): Promise<Uint8Array> {
    const chunk = atHand === undefined || atHand.byteLength === 0 ? await readOn() : atHand;
    atHand = undefined;
    lent = chunk;
    position += chunk.byteLength;
    promptBytes += chunk.byteLength;
    if (!isChecked) return chunk;
    checksum = crc32(chunk, checksum);
    if (position > end && checksum !== bodyCrc32) throw damaged(path, 'its bytes have changed');
    if (position > end) soundness.onSound();
    return chunk;
  }

  async function next(): Promise<IteratorResult<Uint8Array, undefined>> {
    giveBack();
    try {
      signal?.throwIfAborted();
      if (closing !== undefined || position > end) return await finish();
      const value = await withFaults(nextChunk);
      signal?.throwIfAborted();
      // Nobody waits for it: what was read is right whatever becomes of the file.
      if (position > end) closeOnAbort();
      handedOutAt = performance.now();
      return { done: false, value };
    } catch (error) {
      await close();
      throw error;
    }
  }
  async function finish(): Promise<IteratorResult<Uint8Array, undefined>> {
    await close();
    lent ??= atHand;
    atHand = undefined;
    giveBack();
    return { done: true, value: undefined };
  }

  return { [Symbol.asyncIterator]: () => ({ next, return: finish }) };
}

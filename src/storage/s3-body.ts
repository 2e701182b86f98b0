/** The bytes of an S3 server's answer as they are read. */
import type { Readable } from 'node:stream';
import { within } from '../core/wait.js';
import { damaged, withS3Faults } from './s3-faults.js';

/** What is known of an answer's body. */
export interface BodyOptions {
  /** Bytes it must have. */
  readonly bytes: number;
  /** Whose it is, for error messages. */
  readonly key: string;
  /** Ends the reading and the answer. */
  readonly signal: AbortSignal | undefined;
}

// Only waiting for the server counts, never for a slow reader.
const STALL_MS = 30_000;

/**
 * Chunks of an answer, taken from the connection only as they are asked for. The connection is given back with the
 * last chunk, and ended on an error, on `return()` (also before the first chunk) and on abort.
 */
export function readBody(source: Readable, options: BodyOptions): AsyncIterable<Uint8Array> {
  const { bytes, key, signal } = options;
  const chunks = source[Symbol.asyncIterator]();
  let received = 0;

  function close(): void {
    signal?.removeEventListener('abort', close);
    discard(source);
  }
  signal?.addEventListener('abort', close, { once: true });

  async function readChunk(): Promise<IteratorResult<Uint8Array, undefined>> {
    signal?.throwIfAborted();
    const late = () => new Error(`the server sent nothing for ${STALL_MS} ms`);
    const { done, value } = await within(chunks.next(), STALL_MS, late);
    signal?.throwIfAborted();
    received += done ? 0 : value.byteLength;
    if (received > bytes || (done && received < bytes))
      throw damaged(key, `${received} of ${bytes} bytes came`);
    return done ? finish() : { done: false, value };
  }
  async function next(): Promise<IteratorResult<Uint8Array, undefined>> {
    try {
      return await withS3Faults(readChunk, signal);
    } catch (error) {
      close();
      throw error;
    }
  }
  function finish(): IteratorResult<Uint8Array, undefined> {
    close();
    return { done: true, value: undefined };
  }

  return { [Symbol.asyncIterator]: () => ({ next, return: async () => finish() }) };
}

/** Ends an answer nobody reads on. */
export function discard(source: Readable): void {
  // It may fail on its way out, and then nobody listens.
  source.on('error', () => undefined);
  source.destroy();
}

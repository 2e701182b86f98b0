/** An object in memory that several read at the same time. */

/** How to read it. */
export interface LentBodyOptions {
  /** Ends the reading. */
  readonly signal: AbortSignal | undefined;
  /** Says that the reader is done with the bytes. Called at least once, unless the body is never read nor left. */
  readonly release: () => void;
}

/** Makes a body of bytes at hand, as one chunk: no reader has memory of its own, however slow it is. */
export function lentBody(bytes: Uint8Array, { signal, release }: LentBodyOptions): AsyncIterable<Uint8Array> {
  let chunk: Uint8Array | undefined = bytes.byteLength === 0 ? undefined : bytes;
  signal?.addEventListener('abort', release, { once: true });

  async function next(): Promise<IteratorResult<Uint8Array, undefined>> {
    signal?.throwIfAborted();
    if (chunk === undefined) return finish();
    const value = chunk;
    chunk = undefined;
    return { done: false, value };
  }
  async function finish(): Promise<IteratorResult<Uint8Array, undefined>> {
    signal?.removeEventListener('abort', release);
    release();
    chunk = undefined;
    return { done: true, value: undefined };
  }
  return { [Symbol.asyncIterator]: () => ({ next, return: finish }) };
}

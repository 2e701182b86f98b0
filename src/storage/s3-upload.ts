/** Bodies on their way to an S3 server. */
import { Readable } from 'node:stream';

const PIECE_BYTES = 256 * 1024;
// How long an answer may take that is awaited although nobody wants the object any more.
const GRACE_MS = 5_000;

/** An upload that can be called off for as long as the server cannot have all of it. */
export interface Upload {
  /** Stops the attempt in flight. */
  readonly signal: AbortSignal;
  /** The body for one more attempt. */
  body(): Readable;
  /** To be called when the upload has ended. */
  end(): void;
}

/**
 * Guards an upload of `bytes`. A server stores what it has received whole, also when nobody waits for its answer any
 * more: aborting then would leave an object behind of which the caller believes that there is none. So the last piece
 * is only handed over while nobody has aborted, and after it the answer is awaited, though not for ever.
 */
export function guardUpload(bytes: Uint8Array, signal: AbortSignal | undefined): Upload {
  const stopping = new AbortController();
  let isAllSent = false;
  let grace: NodeJS.Timeout | undefined;

  function abort(): void {
    if (isAllSent) grace = setTimeout(() => stopping.abort(), GRACE_MS);
    else stopping.abort();
  }
  signal?.addEventListener('abort', abort, { once: true });

  function* pieces(): Generator<Uint8Array> {
    isAllSent = bytes.byteLength === 0;
    for (let at = 0; at < bytes.byteLength && !stopping.signal.aborted; at += PIECE_BYTES) {
      isAllSent = at + PIECE_BYTES >= bytes.byteLength;
      yield bytes.subarray(at, at + PIECE_BYTES);
    }
  }

  return {
    signal: stopping.signal,
    body() {
      // Whoever aborted while an answer was awaited gets no further attempt.
      isAllSent = false;
      if (signal?.aborted) abort();
      return Readable.from(pieces(), { objectMode: false, highWaterMark: PIECE_BYTES });
    },
    end() {
      clearTimeout(grace);
      signal?.removeEventListener('abort', abort);
    },
  };
}

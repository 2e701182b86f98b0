/** Sends the body of a stored object as fast as its reader takes it, holding one chunk of it. */
import type { ServerResponse } from 'node:http';
import { TLSSocket } from 'node:tls';
import { damagedObject } from '../media/report.js';

/** A body and how long it is. */
export interface SizedBody {
  /** What is sent. */
  readonly body: AsyncIterable<Uint8Array>;
  /** How many bytes were announced. */
  readonly length: number;
  /** Whether each chunk is the storage's again as soon as the next one is asked for. */
  readonly isLent: boolean;
}

// TLS encrypts a write as a whole, into memory of its own that waits for the reader.
const MAX_ENCRYPTED_BYTES = 256 * 1024;

async function* inSlices(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void> {
  for await (const chunk of body) {
    for (let at = 0; at < chunk.byteLength; at += MAX_ENCRYPTED_BYTES) {
      yield chunk.subarray(at, at + MAX_ENCRYPTED_BYTES);
    }
  }
}

/**
 * Sends a body. The next chunk is asked for once the connection has taken the one before: a slow reader holds a single
 * chunk, over TLS 256 KiB of it. Resolves when all is sent, or when the client has left, which ends the iteration;
 * throws what the body throws, and the error of a damaged object where it has another length than announced: no byte
 * too many is written.
 *
 * By hand instead of by `pipeline()`, which reads ahead and costs half of what a small picture does.
 */
export function sendBody(res: ServerResponse, { body, length, isLent }: SizedBody): Promise<void> {
  const isEncrypted = res.req.socket instanceof TLSSocket;
  const chunks = (isEncrypted ? inSlices(body) : body)[Symbol.asyncIterator]();
  return new Promise((resolve, reject) => {
    let missing = length;
    /** What is missing behind the chunk that is to be taken before the next is asked for. */
    let awaited: number | undefined;

    function send(chunk: Uint8Array): void {
      missing -= chunk.byteLength;
      if (missing < 0) throw damagedObject('storage has more bytes than it announced');
      if (missing === 0) res.end(chunk);
      else if (chunk.byteLength === 0) void pull();
      // A connection that would take more may still queue what it has: some hosts let it queue megabytes.
      else if (isLent) res.write(chunk, (error) => void (error ?? pull()));
      else write(chunk, missing);
    }
    /** Hosts that have something else in place of connections may tell by callbacks only that it was taken. */
    function write(chunk: Uint8Array, rest: number): void {
      awaited = rest;
      const isTaken = res.write(chunk, (error) => {
        if (!error && awaited === rest) goOn();
      });
      if (isTaken) goOn();
    }
    // Never rejects: what goes wrong is told by the promise of it all.
    async function pull(): Promise<void> {
      try {
        const { done, value } = await chunks.next();
        // Whoever left was told already that all is over.
        if (res.destroyed) return;
        if (done !== true) send(value);
        else if (missing === 0) res.end();
        else throw damagedObject(`storage has ${missing} bytes fewer than it announced`);
      } catch (error) {
        reject(error);
      }
    }
    function goOn(): void {
      if (awaited === undefined) return;
      awaited = undefined;
      void pull();
    }
    function leave(): void {
      res.off('drain', goOn);
      // Not awaited: a body that hangs would keep the request.
      chunks.return?.()?.catch(() => undefined);
      resolve();
    }
    res.on('drain', goOn);
    res.once('close', leave);
    // Hosts without a connection close nothing.
    res.once('finish', leave);
    void pull();
  });
}

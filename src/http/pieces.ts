/**
 * Bodies written piece by piece. A picture goes out in base64 slice by slice, at the client's pace, so that no body of
 * megabytes ever becomes one string.
 */
import { once } from 'node:events';
import type { Response } from 'express';
import { beginJson, sendText } from './exchange.js';

/** A piece of a body: text as it is, or a picture to be written in base64. */
export type Piece = string | Uint8Array;

/** The pieces of a JSON object: a picture, and fields that do not name it. */
export function pictureObject(bytes: Uint8Array | undefined, fields: object): readonly Piece[] {
  if (bytes === undefined) return [JSON.stringify(fields)];
  const others = JSON.stringify(fields).slice(1);
  return ['{"b64_json":"', bytes, others === '}' ? '"}' : `",${others}`];
}

// Whole groups of three bytes, so that base64 of the slices is base64 of the whole. Slices of 96 KB take V8 seven times as
// long in all: texts of 128 KB and more are kept elsewhere.
const SLICE_BYTES = 48 * 1024;
// Up to here a body is sent whole, with its length.
const WHOLE_LENGTH = 128 * 1024;
// Whoever takes nothing of what was written for so long has left: it would keep its place among the requests in flight.
const STALLED_MS = 120_000;

/** Writes pieces, waiting where the client is slow. What a client that has left misses is not written. */
export async function writePieces(res: Response, pieces: readonly Piece[]): Promise<void> {
  for (const piece of pieces) {
    if (typeof piece === 'string') await write(res, piece, 'utf8');
    else for (const slice of slices(piece)) await write(res, slice, 'latin1');
  }
}

/**
 * Sends a JSON answer of pieces. Headers wait until there is much to send, so that what fails early keeps a status of
 * its own: nothing is much before the first picture, and with the first picture the answer is a success for certain.
 */
export async function sendPieces(res: Response, pieces: AsyncIterable<Piece>): Promise<void> {
  let waiting: Piece[] = [];
  let length = 0;
  for await (const piece of pieces) {
    waiting.push(piece);
    length += piece.length;
    if (length < WHOLE_LENGTH) continue;
    beginJson(res);
    await writePieces(res, waiting);
    waiting = [];
    length = 0;
  }
  if (!res.headersSent) sendText(res, 200, waiting.map(textOf).join(''));
  else {
    await writePieces(res, waiting);
    if (!res.destroyed) res.end();
  }
}

function textOf(piece: Piece): string {
  return typeof piece === 'string' ? piece : [...slices(piece)].join('');
}

/** A picture's base64, in parts of some length. */
function* slices(bytes: Uint8Array): Generator<string, void> {
  const picture = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let start = 0; start < picture.length; start += SLICE_BYTES) {
    yield picture.toString('base64', start, start + SLICE_BYTES);
  }
}

async function write(res: Response, text: string, encoding: 'utf8' | 'latin1'): Promise<void> {
  if (res.destroyed || res.write(text, encoding)) return;
  const gone = new AbortController();
  const closed = () => gone.abort();
  const stalled = setTimeout(() => res.destroy(), STALLED_MS);
  res.once('close', closed);
  await once(res, 'drain', { signal: gone.signal }).catch(() => undefined);
  res.off('close', closed);
  clearTimeout(stalled);
}

/**
 * Bodies written piece by piece. A picture goes out in base64 slice by slice, at the client's pace, so that no body of
 * megabytes ever becomes one string.
 */
import type { Response } from 'express';
import { giveBack } from '../core/memory.js';
import { takeTurn } from '../core/wait.js';
import { beginJson, isWrittenStraight, sendText } from './exchange.js';

/** A picture to be written in base64. */
export interface PicturePiece {
  /** Its bytes. */
  readonly bytes: Uint8Array;
  /** Called when it was written. */
  readonly release?: (() => void) | undefined;
}

/** A piece of a body: text as it is, or a picture. */
export type Piece = string | PicturePiece;

/** The pieces of a JSON object: a picture, and fields that do not name it. */
export function pictureObject(
  { bytes, release }: { readonly [Key in keyof PicturePiece]?: PicturePiece[Key] | undefined },
  fields: object,
): readonly Piece[] {
  if (bytes === undefined) return [JSON.stringify(fields)];
  const others = JSON.stringify(fields).slice(1);
  return ['{"b64_json":"', { bytes, release }, others === '}' ? '"}' : `",${others}`];
}

// Whole groups of three bytes, so that base64 of the slices is base64 of the whole. Slices of 96 KB take V8 seven times
// as long in all: texts of 128 KB and more are kept elsewhere.
const SLICE_BYTES = 48 * 1024;
// Each write costs as much as moving a hundred kilobytes.
const BLOCK_BYTES = 4 * SLICE_BYTES;
// Up to here a body is sent whole, with its length.
const WHOLE_LENGTH = 128 * 1024;
// Whoever takes nothing of what was written for so long has left: it would keep its place among the requests in flight.
const STALLED_MS = 120_000;

/** Writes pieces, waiting where the client is slow. What a client that has left misses is not written. */
export async function writePieces(res: Response, pieces: readonly Piece[]): Promise<void> {
  for (const piece of pieces) {
    if (res.destroyed) return;
    // Texts are short: whatever waits for the next picture to be taken waits for them as well.
    if (typeof piece === 'string') res.write(piece);
    else {
      await writePicture(res, piece.bytes);
      piece.release?.();
    }
  }
}

/** Writes base64 as bytes. Texts that wait to be taken would be moved about by V8 meanwhile. */
async function writePicture(res: Response, bytes: Uint8Array): Promise<void> {
  const isOurs = isWrittenStraight(res);
  for (let start = 0; start < bytes.byteLength && !res.destroyed; start += BLOCK_BYTES) {
    const block = blockOf(bytes.subarray(start, start + BLOCK_BYTES));
    await taken(res, (tell) =>
      res.write(block, (error?: Error | null) => {
        // What could not be written may still be looked at by the connection that failed.
        if (isOurs && !error) giveBack(block);
        tell();
      }),
    );
    await takeTurn();
  }
}

function blockOf(bytes: Uint8Array): Buffer {
  const block = Buffer.allocUnsafeSlow(Math.ceil(bytes.byteLength / 3) * 4);
  let length = 0;
  for (const slice of slices(bytes)) length += block.write(slice, length, 'latin1');
  return block;
}

/**
 * Sends a JSON answer of pieces. Headers wait until there is much to send, so that what fails early keeps a status of
 * its own: nothing is much before the first picture, and with the first picture the answer is a success for certain.
 */
export async function sendPieces(res: Response, pieces: AsyncIterable<Piece>): Promise<void> {
  let waiting: Piece[] = [];
  let length = 0;
  // Not by `headersSent`: a host may keep what is written until the end.
  let begun = false;
  try {
    for await (const piece of pieces) {
      waiting.push(piece);
      length += typeof piece === 'string' ? piece.length : piece.bytes.byteLength;
      if (length < WHOLE_LENGTH) continue;
      beginJson(res);
      begun = true;
      await writePieces(res, waiting);
      waiting = [];
      length = 0;
    }
  } catch (error) {
    // What was written is no answer, and cannot become the answer of an error either.
    if (begun) res.destroy();
    throw error;
  }
  if (!begun) sendText(res, 200, waiting.map(textOf).join(''));
  else {
    await writePieces(res, waiting);
    if (!res.destroyed) res.end();
  }
}

function textOf(piece: Piece): string {
  return typeof piece === 'string' ? piece : [...slices(piece.bytes)].join('');
}

/** A picture's base64, in parts of some length. */
function* slices(bytes: Uint8Array): Generator<string, void> {
  const picture = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let start = 0; start < picture.length; start += SLICE_BYTES) {
    yield picture.toString('base64', start, start + SLICE_BYTES);
  }
}

/**
 * Writes, and resolves when more can be written, or the client has left. Of hosts that have something of their own in
 * place of Node's answers or connections, some tell by callbacks only that it can, and some by events only.
 */
function taken(res: Response, write: (tell: () => void) => boolean): Promise<void> {
  return new Promise((resolve) => {
    let stalled: NodeJS.Timeout | undefined;
    let isTaken = false;
    const go = () => {
      isTaken = true;
      clearTimeout(stalled);
      res.off('drain', go);
      res.off('close', go);
      resolve();
    };
    if (write(go)) go();
    if (isTaken) return;
    stalled = setTimeout(() => {
      res.destroy();
      // Nobody hears of an answer's end that stands in line behind another one of its connection.
      go();
    }, STALLED_MS);
    res.on('drain', go);
    res.on('close', go);
  });
}

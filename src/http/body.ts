/**
 * Reading JSON bodies: in bounded memory, to the byte, and with an answer that arrives even when the body is too large.
 */
import type { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import { createBrotliDecompress, createGunzip, createInflate } from 'node:zlib';
import type { Request } from 'express';
import { CLIENT_LEFT } from '../core/deadline.js';
import { invalid } from '../core/validation.js';
import { ImagesError } from '../errors.js';

/** Bounds of a JSON body. */
export interface JsonLimits {
  /** Bytes, counted after decompression. */
  readonly bytes: number;
  /** Levels of nesting. */
  readonly depth: number;
}

const LINGER_MS = 5_000;

// A map, because a header may also name what every object inherits.
const DECODERS: ReadonlyMap<string, () => NodeJS.ReadWriteStream> = new Map([
  ['gzip', createGunzip],
  ['deflate', createInflate],
  ['br', createBrotliDecompress],
]);

/** The error for a body that is not what it should be. */
export function bodyFault(message: string): ImagesError {
  return invalid([{ field: 'body', message }]);
}

/**
 * The body of a request as JSON. One that the host's own parser already read is taken as it is. Throws
 * `VALIDATION_ERROR` for anything but JSON, and `PAYLOAD_TOO_LARGE`.
 */
export async function readJson(req: Request, limits: JsonLimits): Promise<unknown> {
  checkContentType(req);
  const value = req.readableDidRead ? fromHost(req.body) : parse(await readBytes(req, limits.bytes));
  checkDepth(value, limits.depth);
  return value;
}

/** What the host's parser made of the body: JSON already, or still its bytes or text. */
function fromHost(body: unknown): unknown {
  if (body === undefined)
    throw bodyFault('the body was read before it came here, and nothing was left of it');
  return typeof body === 'string' || body instanceof Uint8Array ? parse(Buffer.from(body)) : body;
}

function checkContentType(req: Request): void {
  // Exactly this type: browsers send text/plain across sites without asking, and a JSON body would fit in it.
  const [type = '', ...parameters] = (req.get('content-type') ?? '').split(';').map((part) => part.trim());
  if (type.toLowerCase() !== 'application/json') {
    throw bodyFault('expected JSON with Content-Type: application/json');
  }
  const charset = parameters.find((parameter) => /^charset=/i.test(parameter))?.slice(8);
  if (charset !== undefined && !/^"?utf-?8"?$/i.test(charset)) throw bodyFault('expected JSON in UTF-8');
}

/** The error for a body over its limit. */
export function tooLarge(limit: number): ImagesError {
  return new ImagesError('PAYLOAD_TOO_LARGE', `The body is larger than ${limit} bytes.`, {
    details: [{ field: 'body', message: `expected at most ${limit} bytes` }],
  });
}

async function readBytes(req: IncomingMessage, limit: number): Promise<Buffer> {
  if (Number(req.headers['content-length']) > limit) throw tooLarge(limit);
  const body = decoded(req);
  const chunks: Buffer[] = [];
  let length = 0;
  try {
    for await (const chunk of body as AsyncIterable<Buffer>) {
      length += chunk.byteLength;
      if (length > limit) throw tooLarge(limit);
      chunks.push(chunk);
    }
  } catch (error) {
    if (req.destroyed && !req.complete) throw CLIENT_LEFT;
    throw error instanceof ImagesError ? error : bodyFault('the compressed body is broken');
  }
  return Buffer.concat(chunks, length);
}

function decoded(req: IncomingMessage): NodeJS.ReadableStream {
  const encoding = (req.headers['content-encoding'] ?? 'identity').toLowerCase();
  // Iterating would destroy the request, and with it the connection, when the loop is left early.
  if (encoding === 'identity') return (req as Readable).iterator({ destroyOnReturn: false }) as never;
  const decoder = DECODERS.get(encoding)?.();
  if (decoder === undefined) throw bodyFault('expected Content-Encoding gzip, deflate, br or none');
  req.on('error', () => decoder.end());
  return req.pipe(decoder);
}

/**
 * Lets the rest of an unwanted body pass by, so that the answer arrives before the connection closes: closing on a
 * client that still sends makes its system drop the answer. Whoever is not done soon is cut off.
 */
export function letBodyPass(req: IncomingMessage): void {
  req.unpipe();
  req.resume();
  const timer = setTimeout(() => req.destroy(), LINGER_MS);
  timer.unref();
  req.once('close', () => clearTimeout(timer));
}

function parse(bytes: Buffer): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch {
    throw bodyFault(
      bytes.byteLength === 0 ? 'expected a JSON object, got nothing' : 'expected well-formed JSON',
    );
  }
}

function checkDepth(value: unknown, depth: number): void {
  let level: readonly unknown[] = [value];
  for (let nesting = 0; level.length > 0; nesting += 1) {
    if (nesting > depth) throw bodyFault(`expected at most ${depth} levels of nesting`);
    level = level.flatMap((node) => (typeof node === 'object' && node !== null ? Object.values(node) : []));
  }
}

/** Reading multipart bodies: bounded in everything, kept in memory only, gone with the request. */
import type { BusboyInstance } from '@fastify/busboy';
import type { Request } from 'express';
import { CLIENT_LEFT } from '../core/deadline.js';
import { isImagesError } from '../errors.js';
import { bodyFault, tooLarge } from './body.js';

/** Bounds of a form. */
export interface MultipartLimits {
  /** Bytes of the whole body. */
  readonly bytes: number;
  /** Files. */
  readonly files: number;
  /** Fields that are not files. */
  readonly fields: number;
}

/** One file of a form. */
export interface FormFile {
  /** The field it came in. */
  readonly field: string;
  /** What it holds. */
  readonly bytes: Uint8Array;
}

/** A form. */
export interface MultipartForm {
  /** Fields that are not files; of two with one name the last counts. */
  readonly fields: ReadonlyMap<string, string>;
  /** Files, in the order they came. */
  readonly files: readonly FormFile[];
}

const FIELD_BYTES = 128 * 1024;
const HEADER_PAIRS = 16;

/** True for a request whose body says that it is a form. */
export function isMultipart(req: Request): boolean {
  return /^\s*multipart\/form-data\s*(;|$)/i.test(req.get('content-type') ?? '');
}

/** Reads a form. Throws `VALIDATION_ERROR` for a broken one, and `PAYLOAD_TOO_LARGE`. */
export async function readMultipart(req: Request, limits: MultipartLimits): Promise<MultipartForm> {
  if (req.readableDidRead)
    throw bodyFault('the form was read before it came here, and nothing was left of it');
  if (req.get('content-encoding') !== undefined) throw bodyFault('expected a form without Content-Encoding');
  if (Number(req.get('content-length')) > limits.bytes) throw tooLarge(limits.bytes);
  try {
    return await parseForm(req, { parser: await createParser(req, limits), limits });
  } catch (error) {
    if (error === CLIENT_LEFT) throw error;
    throw isImagesError(error) ? error : bodyFault('expected a well-formed multipart form');
  }
}

async function createParser(req: Request, limits: MultipartLimits): Promise<BusboyInstance> {
  // Here rather than with this module: most apps never see a form, and all of them would load it when they start.
  const { Busboy } = await import('@fastify/busboy');
  return new Busboy({
    headers: { ...req.headers, 'content-type': req.get('content-type') ?? '' },
    limits: {
      fieldSize: FIELD_BYTES,
      fields: limits.fields,
      files: limits.files,
      parts: limits.files + limits.fields,
      fileSize: limits.bytes,
      headerPairs: HEADER_PAIRS,
    },
  });
}

interface Parsing {
  readonly parser: BusboyInstance;
  readonly limits: MultipartLimits;
}

function parseForm(req: Request, { parser, limits }: Parsing): Promise<MultipartForm> {
  const fields = new Map<string, string>();
  const files: FormFile[] = [];
  return new Promise((resolve, reject) => {
    if (req.destroyed) throw CLIENT_LEFT;
    parser.on('field', (name, value, _, truncated) => {
      if (truncated) reject(bodyFault(`expected fields of at most ${FIELD_BYTES} bytes`));
      fields.set(name, value);
    });
    parser.on('file', (field, stream) => {
      const chunks: Buffer[] = [];
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      stream.on('error', reject);
      stream.once('end', () => files.push({ field, bytes: Buffer.concat(chunks) }));
    });
    parser.once('partsLimit', () => reject(bodyFault('the form has too many parts')));
    parser.once('fieldsLimit', () => reject(bodyFault(`expected at most ${limits.fields} fields`)));
    parser.once('filesLimit', () => reject(bodyFault(`expected at most ${limits.files} files`)));
    parser.on('error', reject);
    parser.once('finish', () => resolve({ fields, files }));
    let length = 0;
    req.on('data', (chunk: Buffer) => {
      length += chunk.byteLength;
      if (length > limits.bytes) reject(tooLarge(limits.bytes));
    });
    req.once('close', () => {
      if (!req.readableEnded) reject(CLIENT_LEFT);
    });
    req.pipe(parser);
  });
}

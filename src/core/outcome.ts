/**
 * How a request ended, as plain data: enough to write its answer again, without URLs, which are made fresh, and
 * without bytes, which are in storage.
 */
import { type Billed, type ErrorCode, type ErrorDetail, ImagesError, isImagesError } from '../errors.js';
import type { ImageContentType, Size } from './image.js';
import type { StoredPicture } from './picture.js';
import type { Lifecycle } from './provider.js';
import type { Warning } from './request.js';

/** What is known of a request before anything is drawn. */
export interface RequestHead {
  /** Epoch seconds at which it came. */
  readonly created: number;
  /** The slug asked for. */
  readonly model: string;
  /** The slug that draws. */
  readonly servedBy: string;
  /** The quality that draws, where the model has such a setting. */
  readonly quality: string | undefined;
  /** The background asked for. */
  readonly background: string | undefined;
  /** How its pictures are handed over. */
  readonly format: 'url' | 'b64_json';
  /** When the model asked for ends or ended, where it is on its way out. */
  readonly lifecycle: Pick<Lifecycle, 'deprecatedAt' | 'shutdownAt'> | undefined;
  /** What was done other than asked. */
  readonly warnings: readonly Warning[];
}

/** A picture that was delivered. */
export interface PictureFacts {
  /** Its place in the request. */
  readonly index: number;
  /** Where it is kept, if it is. */
  readonly stored: StoredPicture | undefined;
  /** How many bytes it has. */
  readonly byteLength: number;
  /** Its type. */
  readonly contentType: ImageContentType;
  /** Its pixels. */
  readonly size: Size;
  /** The prompt as the vendor rewrote it. */
  readonly revisedPrompt: string | undefined;
  /** The seed it was drawn from. */
  readonly seed: number | undefined;
}

/** A picture that was not delivered, and why. */
export interface FailureFacts {
  /** Its place in the request. */
  readonly index: number;
  /** What clients branch on. */
  readonly code: ErrorCode;
  /** A refinement of the code. */
  readonly reason: string | undefined;
  /** For people. */
  readonly message: string;
}

/** What the vendors of a request counted, added up; 0 where they did not. */
export interface TokenTotals {
  /** Prompt tokens that are text. */
  readonly textIn: number;
  /** Prompt tokens that are pictures. */
  readonly imageIn: number;
  /** Output tokens that are pictures. */
  readonly imageOut: number;
  /** Output tokens that are text. */
  readonly textOut: number;
}

/** No tokens at all. */
export const NO_TOKENS: TokenTotals = { textIn: 0, imageIn: 0, imageOut: 0, textOut: 0 };

/** A request that delivered at least one picture. */
export interface RequestOutcome {
  /** What was known before. */
  readonly head: RequestHead;
  /** What was delivered, by index. */
  readonly pictures: readonly PictureFacts[];
  /** What was not, by index. */
  readonly failures: readonly FailureFacts[];
  /** Booked, in micro-dollars. */
  readonly costMicroUsd: number;
  /** What the vendors counted. */
  readonly tokens: TokenTotals;
}

interface ErrorFacts {
  readonly code: ErrorCode;
  readonly message: string;
  readonly details: readonly ErrorDetail[] | undefined;
  readonly retryAfter: number | undefined;
  readonly reason: string | undefined;
  readonly billed: Billed | undefined;
}

type Stored = { readonly outcome: RequestOutcome } | { readonly error: ErrorFacts };

// What a budget store keeps with a hold.
const MAX_BYTES = 64 * 1024;
const MAX_MESSAGE_LENGTH = 1_000;

function fits(text: string): boolean {
  return Buffer.byteLength(text) <= MAX_BYTES;
}

function cut<Facts extends { readonly message: string }>(facts: Facts): Facts {
  return { ...facts, message: facts.message.slice(0, MAX_MESSAGE_LENGTH) };
}

/**
 * Writes an outcome for the budget store to keep: at most 64 KiB, for which long rewritten prompts are left out and the
 * words of failures are cut.
 */
export function writeOutcome(ended: RequestOutcome | ImagesError): string {
  if (isImagesError(ended)) {
    const { code, message, details, retryAfter, reason, billed } = ended;
    const error: ErrorFacts = { code, message, details, retryAfter, reason, billed };
    const text = JSON.stringify({ error } satisfies Stored);
    return fits(text)
      ? text
      : JSON.stringify({ error: cut({ ...error, details: undefined }) } satisfies Stored);
  }
  const text = JSON.stringify({ outcome: ended } satisfies Stored);
  if (fits(text)) return text;
  const pictures = ended.pictures.map((picture) => ({ ...picture, revisedPrompt: undefined }));
  const failures = ended.failures.map(cut);
  return JSON.stringify({ outcome: { ...ended, pictures, failures } } satisfies Stored);
}

/** Reads what {@link writeOutcome} wrote. Throws the error of a request that ended in one. */
export function readOutcome(text: string): RequestOutcome {
  const stored = JSON.parse(text) as Stored;
  if ('outcome' in stored) return stored.outcome;
  const { code, message, ...options } = stored.error;
  throw new ImagesError(code, message, options);
}

/**
 * From what OpenAI answers, or its SDK throws, to the failures the router knows. Tables, because the same event
 * comes in many forms: the code decides where it is known, then the type, then the status.
 */
import type { Model } from '../core/provider.js';
import { isProviderError, ProviderError } from '../errors.js';
import { isObject } from './json-value.js';
import { networkFailure } from './upstream-failure.js';
import {
  ACCOUNT,
  FILTERED,
  LIMITED,
  NOT_NOW,
  ODD,
  REJECTED,
  UNAVAILABLE,
  type Verdict,
  vendorId,
  waitSeconds,
  word,
} from './verdicts.js';

/** What of an error of the SDK is looked at. Its classes differ between copies and majors; these fields do not. */
interface VendorError {
  readonly status?: unknown;
  readonly code?: unknown;
  readonly type?: unknown;
  readonly requestID?: unknown;
  readonly headers?: unknown;
  readonly error?: unknown;
}

/** The refused picture may have been drawn, and its tokens counted; which word is used does not tell. */
const FILTERED_LATE: Verdict = { ...FILTERED, billed: 'unknown' };

/** By `error.code`, else `error.type`. */
const BY_WORD: ReadonlyMap<unknown, Verdict> = new Map([
  ['moderation_blocked', FILTERED_LATE],
  ['image_generation_user_error', FILTERED_LATE],
  ['content_policy_violation', FILTERED_LATE],
  ['content_filter', FILTERED_LATE],
  // A 400, with the type of an ordinary invalid request.
  ['billing_hard_limit_reached', ACCOUNT],
  ['billing_not_active', ACCOUNT],
  ['insufficient_quota', ACCOUNT],
  ['invalid_api_key', ACCOUNT],
  // Our table is out of date, or the account may not use the model: nothing the client could mend.
  ['model_not_found', ACCOUNT],
  ['rate_limit_exceeded', LIMITED],
  // Of the type that otherwise means a refusal for safety.
  ['unsupported_parameter', REJECTED],
]);

const BY_STATUS: ReadonlyMap<unknown, Verdict> = new Map([
  [401, ACCOUNT],
  [402, ACCOUNT],
  [403, ACCOUNT],
  [404, ACCOUNT],
  [408, UNAVAILABLE],
  [409, UNAVAILABLE],
  [429, LIMITED],
  [503, NOT_NOW],
]);

function verdictOf({ code, type }: VendorError, status: number): Verdict {
  const known = BY_WORD.get(code) ?? BY_WORD.get(type) ?? BY_STATUS.get(status);
  if (known !== undefined) return known;
  if (status < 400) return ODD;
  return status < 500 ? REJECTED : UNAVAILABLE;
}

/**
 * Turns anything thrown on the way to OpenAI into a `ProviderError`. Of the original only status, code, type and
 * request id survive, and those only where they look like what they are: its texts quote prompts and keys.
 */
export function toProviderError(thrown: unknown, model: Model): ProviderError {
  if (isProviderError(thrown)) return thrown;
  if (!isObject(thrown)) return networkFailure(thrown);
  // The SDK wraps what its `fetch` throws.
  if (isProviderError(thrown.cause)) return thrown.cause;
  const { status } = thrown;
  if (typeof status !== 'number') return networkFailure(thrown);
  const verdict = verdictOf(thrown, status);
  // Where pictures are what is charged for, a refusal is none, whenever it came.
  const free = verdict.kind === 'content_filtered' && !isPricedByToken(model);
  return vendorFailure(thrown, { status, verdict: free ? FILTERED : verdict, drawing: false });
}

function isPricedByToken({ price }: Model): boolean {
  return typeof price === 'object' && 'tokens' in price;
}

/** Where in a stream an error came. */
export interface StreamPosition {
  /** The answer whose body the stream is. */
  readonly response: Response;
  /** True once previews came: from then on nothing is surely unbilled. */
  readonly drawing: boolean;
}

/** Turns the error object of a stream into a `ProviderError`, by the same tables. */
export function toStreamError(
  error: Readonly<Record<string, unknown>>,
  { response, drawing }: StreamPosition,
): ProviderError {
  // The status went out long before; the type tells which one it would have been.
  const verdict = verdictOf(error, error.type === 'invalid_request_error' ? 400 : 500);
  const { status, headers } = response;
  const vendor = { ...error, error, headers, requestID: headers.get('x-request-id') };
  return vendorFailure(vendor, { status, verdict, drawing });
}

interface Circumstances {
  readonly status: number;
  readonly verdict: Verdict;
  readonly drawing: boolean;
}

function vendorFailure(error: VendorError, { status, verdict, drawing }: Circumstances): ProviderError {
  const upstreamId = vendorId(error.requestID);
  const billed = isInputRefusal(error, verdict) ? 'no' : verdict.billed;
  return new ProviderError(verdict.kind, verdict.message, {
    billed: drawing ? 'unknown' : billed,
    status,
    upstreamId,
    retryAfter: verdict.kind === 'rate_limited' ? retryAfterSeconds(error.headers) : undefined,
    cause: { status, code: word(error.code), type: word(error.type), requestId: upstreamId },
  });
}

/** A prompt or input refused before anything was drawn. */
function isInputRefusal({ error }: VendorError, { kind }: Verdict): boolean {
  const details = isObject(error) ? error.moderation_details : undefined;
  return kind === 'content_filtered' && isObject(details) && details.moderation_stage === 'input';
}

/** How long to wait: a number, or a date for `retry-after`. */
function retryAfterSeconds(headers: unknown): number | undefined {
  if (!(headers instanceof Headers)) return undefined;
  const milliseconds = headers.get('retry-after-ms');
  const other = headers.get('retry-after');
  return waitSeconds(milliseconds ? Number(milliseconds) / 1000 : secondsUntil(other));
}

function secondsUntil(value: string | null): number {
  if (!value) return Number.NaN;
  const seconds = Number(value);
  return Number.isNaN(seconds) ? (Date.parse(value) - Date.now()) / 1000 : seconds;
}

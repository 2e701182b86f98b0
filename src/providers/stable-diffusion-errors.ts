/**
 * From what diffusion servers answer to the failures the router knows. Every server has its own shape of error, a bare
 * string included, so status and a few words decide; no text of theirs gets any further.
 */
import { type ErrorDetail, isProviderError, ProviderError } from '../errors.js';
import { fieldsOf, parseJson } from './json-value.js';
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

/** An answer, read to its end. */
export interface DiffusionAnswer {
  /** The HTTP status. */
  readonly status: number;
  /** The headers. */
  readonly headers: Headers;
  /** The body as it is. */
  readonly text: string;
  /** Where the request went. */
  readonly path: string;
}

const NO_SAMPLER: Verdict = { kind: 'rejected', billed: 'no', message: 'The provider has no such sampler.' };
const NO_EDITS: Verdict = { kind: 'rejected', billed: 'no', message: 'The provider cannot edit pictures.' };
const OUT_OF_MEMORY: Verdict = {
  ...UNAVAILABLE,
  message: 'The provider ran out of memory; a smaller size may fit.',
};
const BY_STATUS: ReadonlyMap<number, Verdict> = new Map([
  [401, ACCOUNT],
  [402, ACCOUNT],
  [403, ACCOUNT],
  // The API is absent: A1111 was started without `--api`, or something else listens there.
  [404, ACCOUNT],
  [405, ACCOUNT],
  [408, UNAVAILABLE],
  [429, LIMITED],
  [503, NOT_NOW],
]);

/** What of a refusal is read for words that tell what it means. */
const MOST_CHARACTERS = 64 * 1024;

function verdictOf({ status, text, path }: DiffusionAnswer, name: string | undefined): Verdict {
  if (name === 'content_moderation') return FILTERED;
  if (status === 404 && /sampler not found/i.test(text)) return NO_SAMPLER;
  // Anyone may ask for an edit: a server that has none is not unwell.
  if (path === '/v1/images/edits' && (status === 404 || status === 405 || status === 501)) return NO_EDITS;
  if (status >= 500 && /out ?of ?memory/i.test(text)) return OUT_OF_MEMORY;
  const known = BY_STATUS.get(status);
  if (known !== undefined) return known;
  if (status < 400) return ODD;
  return status < 500 ? REJECTED : UNAVAILABLE;
}

/** Makes the failure of a refused request. */
export function refusalError(answer: DiffusionAnswer): ProviderError {
  const { status, headers } = answer;
  const text = answer.text.slice(0, MOST_CHARACTERS);
  const body = fieldsOf(parseJson(text));
  const verdict = verdictOf({ ...answer, text }, word(body.name));
  return new ProviderError(verdict.kind, verdict.message, {
    billed: verdict.billed,
    status,
    upstreamId: vendorId(body.id),
    details: verdict === REJECTED ? faultyFields(body.detail) : undefined,
    retryAfter: verdict === LIMITED ? retryAfter(headers.get('retry-after')) : undefined,
    cause: { status, name: word(body.name) ?? word(body.error) },
  });
}

/** What the fields of a request are called by the client. */
const FIELDS: ReadonlyMap<unknown, string> = new Map([
  ['prompt', 'prompt'],
  ['negative_prompt', 'negative_prompt'],
  ['width', 'size'],
  ['height', 'size'],
  ['size', 'size'],
  ['seed', 'seed'],
  ['n', 'n'],
  ['batch_size', 'n'],
]);

/** FastAPI names the fields it refuses: `[{ loc: ['body', 'width'], … }]`. */
function faultyFields(detail: unknown): readonly ErrorDetail[] | undefined {
  if (!Array.isArray(detail)) return undefined;
  const names = detail.map((fault: { readonly loc?: unknown } | null) => {
    return Array.isArray(fault?.loc) ? FIELDS.get(fault.loc.at(-1)) : undefined;
  });
  const fields = [...new Set(names)].filter((name) => name !== undefined);
  if (fields.length === 0) return undefined;
  return fields.map((field) => ({ field, message: 'was refused by the provider' }));
}

function retryAfter(value: string | null): number | undefined {
  return value === null || value.trim() === '' ? undefined : waitSeconds(Number(value));
}

/** The failure of an answer that is not what it should be. */
export function shapeError(what: string): ProviderError {
  return new ProviderError('shape', `The provider's answer ${what}.`, { billed: 'unknown' });
}

/**
 * Turns anything thrown on the way to a server into a `ProviderError`. Where pictures are `free`, nothing can have been
 * billed however it failed, and it may be tried again.
 */
export function toProviderError(thrown: unknown, free: boolean): ProviderError {
  const error = isProviderError(thrown) ? thrown : networkFailure(thrown);
  if (!free || error.billed === 'no') return error;
  const { kind, message, status, upstreamId, retryAfter: wait, details, cause } = error;
  const options = { billed: 'no', status, upstreamId, retryAfter: wait, details, cause } as const;
  return new ProviderError(kind, message, options);
}

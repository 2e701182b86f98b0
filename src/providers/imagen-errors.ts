/**
 * From Google's errors to the failures the router knows. gRPC has numbered codes; REST has HTTP and, in its body,
 * the same codes by name. Texts are looked at only where nothing else tells, and never passed on: they quote prompts.
 */
import { isProviderError, ProviderError } from '../errors.js';
import { refusalIn } from './imagen-safety.js';
import { fieldsOf, type JsonObject, parseJson } from './json-value.js';
import { networkFailure } from './upstream-failure.js';
import {
  ACCOUNT,
  FILTERED,
  LIMITED,
  NOT_NOW,
  REJECTED,
  UNAVAILABLE,
  type Verdict,
  waitSeconds,
} from './verdicts.js';

const TIMEOUT: Verdict = { kind: 'timeout', billed: 'unknown', message: 'The provider took too long.' };
const UNREACHED: Verdict = {
  kind: 'unavailable',
  billed: 'no',
  message: 'The provider could not be reached.',
};
const MALFORMED: Verdict = {
  kind: 'shape',
  billed: 'unknown',
  message: "The provider's answer is malformed or larger than an answer may be.",
};

/** The codes of gRPC in their order, from 1, with what each means. */
const CODES = [
  ['CANCELLED', UNAVAILABLE],
  ['UNKNOWN', UNAVAILABLE],
  ['INVALID_ARGUMENT', REJECTED],
  ['DEADLINE_EXCEEDED', TIMEOUT],
  // Our table is out of date, or the model is not enabled for the project: nothing the client could mend.
  ['NOT_FOUND', ACCOUNT],
  ['ALREADY_EXISTS', UNAVAILABLE],
  ['PERMISSION_DENIED', ACCOUNT],
  ['RESOURCE_EXHAUSTED', LIMITED],
  // Said of projects without billing and of places Google does not serve.
  ['FAILED_PRECONDITION', ACCOUNT],
  ['ABORTED', UNAVAILABLE],
  ['OUT_OF_RANGE', REJECTED],
  ['UNIMPLEMENTED', ACCOUNT],
  ['INTERNAL', UNAVAILABLE],
  ['UNAVAILABLE', NOT_NOW],
  ['DATA_LOSS', UNAVAILABLE],
  ['UNAUTHENTICATED', ACCOUNT],
] as const satisfies readonly (readonly [string, Verdict])[];

const BY_CODE: ReadonlyMap<unknown, Verdict> = new Map(
  CODES.map(([, verdict], index) => [index + 1, verdict]),
);
const BY_NAME: ReadonlyMap<unknown, Verdict> = new Map(CODES);

/** Answers of a proxy in between, or of a server that is not Google's, have nothing but this. */
const BY_STATUS: ReadonlyMap<number, Verdict> = new Map([
  [401, ACCOUNT],
  [403, ACCOUNT],
  [404, ACCOUNT],
  [408, UNAVAILABLE],
  [409, UNAVAILABLE],
  [429, LIMITED],
  [503, NOT_NOW],
  [504, TIMEOUT],
]);

/** What `@grpc/grpc-js` reports by itself under a code of the server's, known only by its words (version 1.14). */
const LOCAL_FAILURES: readonly (readonly [RegExp, Verdict])[] = [
  [/^(No connection established|Name resolution failed)/, UNREACHED],
  // Under RESOURCE_EXHAUSTED, as if it were a quota.
  [/^Received message (larger than max|that decompresses to a size larger)/, MALFORMED],
  [/^(Response message parsing error|Failed to decompress|No message received)/, MALFORMED],
  [/^Getting metadata from plugin failed/, ACCOUNT],
];

/** What says under UNAVAILABLE that the call may have been taken: a proxy gave up on it, or a connection broke. */
const BROKEN_OFF =
  /^Received HTTP status code (?!503)|^Write |connection|socket|reset|disconnect|ECONN|ETIMEDOUT|EPIPE/i;

/** Turns anything thrown while a call was under way into a `ProviderError`. */
export function toProviderError(thrown: unknown): ProviderError {
  if (isProviderError(thrown)) return thrown;
  // Version 7 wraps what it meets over REST, and calls all of it UNAVAILABLE.
  const met = fieldsOf(thrown).cause ?? thrown;
  if (isProviderError(met)) return met;
  const { code, details, message, statusDetails } = fieldsOf(met);
  const text = typeof details === 'string' ? details : '';
  const known = LOCAL_FAILURES.find(([words]) => words.test(text))?.[1] ?? BY_CODE.get(code);
  if (known === undefined) return unexpected(met);
  const verdict = known === NOT_NOW && BROKEN_OFF.test(text) ? UNAVAILABLE : known;
  const filtered = verdict === REJECTED && isRefusal(`${text} ${message}`);
  return failure(filtered ? FILTERED : verdict, {
    cause: { code },
    retryAfter: waitSeconds(delayIn(statusDetails)),
  });
}

/** What the SDK throws without a code is its complaint about an answer it cannot read; all else is the network's. */
function unexpected(thrown: unknown): ProviderError {
  const { code, cause } = fieldsOf(thrown);
  const isAboutAnswer = thrown instanceof Error && code === undefined && cause === undefined;
  return isAboutAnswer ? failure(MALFORMED, { cause: { name: thrown.name } }) : networkFailure(thrown);
}

/** Turns an answer over HTTP that is no success into a `ProviderError`. */
export function failedAnswer({ status, headers }: Response, body: string): ProviderError {
  const error = errorOf(body);
  const verdict = BY_NAME.get(error.status) ?? BY_STATUS.get(status) ?? verdictByClass(status);
  const filtered = verdict === REJECTED && isRefusal(String(error.message));
  const header = Number(headers.get('retry-after') ?? Number.NaN);
  return failure(filtered ? FILTERED : verdict, {
    status,
    cause: { status },
    retryAfter: waitSeconds(delayIn(error.details) ?? header),
  });
}

function verdictByClass(status: number): Verdict {
  if (status < 400) return MALFORMED;
  return status < 500 ? REJECTED : UNAVAILABLE;
}

/** Turns what goes wrong before anything is sent, above all with credentials, into a `ProviderError`. */
export function preparationFailure(thrown: unknown): ProviderError {
  if (isProviderError(thrown)) return thrown;
  const network = networkFailure(thrown);
  // A refused token and absent credentials have no code of the network's.
  const verdict = network.billed === 'no' ? UNREACHED : ACCOUNT;
  return failure(verdict, { cause: network.cause });
}

interface FailureParts {
  readonly status?: number | undefined;
  readonly cause?: unknown;
  readonly retryAfter?: number | undefined;
}

function failure({ kind, billed, message }: Verdict, parts: FailureParts): ProviderError {
  const { retryAfter, ...rest } = parts;
  const limited = kind === 'rate_limited' ? retryAfter : undefined;
  return new ProviderError(kind, message, { billed, retryAfter: limited, ...rest });
}

/** Prompts are refused like any wrong request; the support code makes the difference, or else Google's own term. */
function isRefusal(text: string): boolean {
  return refusalIn(text) !== undefined || /responsible ai/i.test(text);
}

function errorOf(body: string): JsonObject {
  return fieldsOf(fieldsOf(parseJson(body)).error);
}

/** Seconds in a `google.rpc.RetryInfo`: `{ seconds, nanos }` as the SDK decodes it, `17.5s` in JSON. */
function delayIn(details: unknown): number | undefined {
  if (!Array.isArray(details)) return undefined;
  for (const detail of details) {
    const { retryDelay } = fieldsOf(detail);
    if (typeof retryDelay === 'string') return Number.parseFloat(retryDelay);
    const { seconds, nanos } = fieldsOf(retryDelay);
    if (seconds !== undefined) return Number(seconds) + Number(nanos ?? 0) / 1e9;
  }
  return undefined;
}

/** What clients see of an error: one exhaustive table, and the two bodies. */
import { type ErrorCode, ImagesError, isImagesError } from '../errors.js';

/** Which of the two APIs a client speaks. */
export type Surface = 'native' | 'openai';

/** An answer that is an error. */
export interface ErrorAnswer {
  /** HTTP status. */
  readonly status: number;
  /** Headers, `X-Request-Id` not included. */
  readonly headers: Readonly<Record<string, string>>;
  /** JSON body. */
  readonly body: object;
}

interface Face {
  readonly status: number;
  /** Status on the OpenAI surface, where it differs. */
  readonly openaiStatus?: number;
  /** OpenAI's class of error. */
  readonly type: string;
  /** OpenAI's own word for it; ours in lower case where it has none. */
  readonly code?: string;
}

const CLIENT = 'invalid_request_error';
const SERVER = 'server_error';

const FACES = {
  AUTH_TOKEN_MISSING: { status: 401, type: 'authentication_error', code: 'invalid_api_key' },
  AUTH_TOKEN_INVALID: { status: 401, type: 'authentication_error', code: 'invalid_api_key' },
  AUTHZ_PERMISSION_DENIED: { status: 403, type: 'permission_error' },
  VALIDATION_ERROR: { status: 422, openaiStatus: 400, type: CLIENT },
  PAYLOAD_TOO_LARGE: { status: 413, type: CLIENT },
  MODEL_NOT_FOUND: { status: 404, type: CLIENT, code: 'model_not_found' },
  MODEL_ACCESS_DENIED: { status: 403, type: 'permission_error' },
  MODEL_UNAVAILABLE: { status: 503, type: SERVER },
  BUDGET_EXCEEDED: { status: 402, type: 'insufficient_quota', code: 'insufficient_quota' },
  RATE_LIMITED: { status: 429, type: 'rate_limit_error', code: 'rate_limit_exceeded' },
  BACKEND_ERROR: { status: 502, type: SERVER },
  BACKEND_TIMEOUT: { status: 504, type: SERVER },
  BACKEND_RATE_LIMITED: { status: 429, type: 'rate_limit_error', code: 'rate_limit_exceeded' },
  UPSTREAM_SHAPE_MISMATCH: { status: 502, type: SERVER },
  IDEMPOTENCY_CONFLICT: { status: 409, type: CLIENT },
  MEDIA_TOKEN_INVALID: { status: 403, type: 'permission_error' },
  MEDIA_TOKEN_EXPIRED: { status: 410, type: CLIENT },
  MEDIA_NOT_FOUND: { status: 404, type: CLIENT },
  OVERLOADED: { status: 503, type: SERVER },
  METHOD_NOT_ALLOWED: { status: 405, type: CLIENT },
  STORAGE_ERROR: { status: 503, type: SERVER },
  BUDGET_UNAVAILABLE: { status: 503, type: SERVER },
  INTERNAL_ERROR: { status: 500, type: SERVER },
} as const satisfies Record<ErrorCode, Face>;

/** `BACKEND_ERROR` that no retry can mend: the request itself was refused upstream. */
const REFUSALS: ReadonlyMap<string | undefined, Face> = new Map([
  ['content_filtered', { status: 400, type: 'image_generation_user_error', code: 'moderation_blocked' }],
  ['rejected', { status: 400, type: CLIENT }],
]);

/** Faults of ours say the same to everybody; what happened is in the event of the same request id. */
const FIXED_SENTENCES: Partial<Record<ErrorCode, string>> = {
  STORAGE_ERROR: 'What is stored cannot be reached at the moment.',
  BUDGET_UNAVAILABLE: 'The budget could not be checked, so nothing was drawn.',
  INTERNAL_ERROR: 'Something went wrong on our side.',
};

// Client libraries sleep on Retry-After without a word, so longer waits are only in the body.
const MAX_RETRY_AFTER_S = 60;

// A vendor was at work when these happened; only a known bill of nothing makes a retry free.
const MAY_BE_BILLED: ReadonlySet<ErrorCode> = new Set([
  'BACKEND_ERROR',
  'BACKEND_TIMEOUT',
  'UPSTREAM_SHAPE_MISMATCH',
  'STORAGE_ERROR',
  'INTERNAL_ERROR',
]);

const WAITS: ReadonlySet<ErrorCode> = new Set(['RATE_LIMITED', 'BACKEND_RATE_LIMITED']);

function faceOf(error: ImagesError): Face {
  const refusal = error.code === 'BACKEND_ERROR' ? REFUSALS.get(error.reason) : undefined;
  return refusal ?? FACES[error.code];
}

/** True when a client library may send the same request again without a person deciding that. */
function isRetryable(error: ImagesError, status: number): boolean {
  if (error.billed === 'yes' || error.billed === 'unknown') return false;
  if (status >= 500) {
    if (error.reason === 'retired') return false;
    return error.billed === 'no' || !MAY_BE_BILLED.has(error.code);
  }
  return WAITS.has(error.code) && error.retryAfter !== undefined && error.retryAfter <= MAX_RETRY_AFTER_S;
}

function messageOf(error: ImagesError, requestId: string): string {
  const fixed = FIXED_SENTENCES[error.code];
  return fixed === undefined ? error.message : `${fixed} Request id: ${requestId}`;
}

function nativeBody(error: ImagesError, requestId: string): object {
  const { code, details, retryAfter, reason } = error;
  return {
    status: 'error',
    error: {
      code,
      message: messageOf(error, requestId),
      ...(retryAfter !== undefined && { retry_after: retryAfter }),
      ...(details !== undefined && { details }),
      ...(reason !== undefined && { reason }),
    },
    meta: { request_id: requestId },
  };
}

/** The error object of the OpenAI surface, also used in streams. */
export function openaiErrorObject(error: ImagesError, requestId: string): object {
  const face = faceOf(error);
  const { code, details, retryAfter } = error;
  return {
    message: messageOf(error, requestId),
    type: face.type,
    param: details?.[0]?.field ?? null,
    code: face.code ?? code.toLowerCase(),
    ...(retryAfter !== undefined && { retry_after: retryAfter }),
  };
}

/** True for an error that is not the client's doing. */
export function isServerFault(error: ImagesError): boolean {
  return faceOf(error).status >= 500;
}

/** An error as its client sees it. */
export function errorAnswer(
  error: ImagesError,
  client: { readonly surface: Surface; readonly requestId: string },
): ErrorAnswer {
  const face = faceOf(error);
  const status = client.surface === 'openai' ? (face.openaiStatus ?? face.status) : face.status;
  const retryable = isRetryable(error, status);
  const { retryAfter } = error;
  return {
    status,
    headers: {
      ...(!retryable && { 'x-should-retry': 'false' }),
      ...(retryAfter !== undefined &&
        retryAfter <= MAX_RETRY_AFTER_S && { 'Retry-After': String(retryAfter) }),
    },
    body:
      client.surface === 'openai'
        ? { error: openaiErrorObject(error, client.requestId) }
        : nativeBody(error, client.requestId),
  };
}

/**
 * Anything thrown, as an error a client may be told: what is not ours becomes `INTERNAL_ERROR` with the rest as cause.
 */
export function toImagesError(thrown: unknown): ImagesError {
  // A newer copy of the package may know codes that this one has no face for.
  return isImagesError(thrown) && Object.hasOwn(FACES, thrown.code)
    ? thrown
    : new ImagesError('INTERNAL_ERROR', 'Something went wrong on our side.', { cause: thrown });
}

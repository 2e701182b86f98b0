/**
 * The errors this package throws, and the closed set of codes clients branch on. Nothing here knows HTTP:
 * what a client sees for a code is decided in one table in `http/errors.ts`.
 */

/** Every code a client can meet; the wire contract gives each one its meaning and HTTP status. */
export type ErrorCode =
  | 'AUTH_TOKEN_MISSING'
  | 'AUTH_TOKEN_INVALID'
  | 'AUTHZ_PERMISSION_DENIED'
  | 'VALIDATION_ERROR'
  | 'PAYLOAD_TOO_LARGE'
  | 'MODEL_NOT_FOUND'
  | 'MODEL_ACCESS_DENIED'
  | 'MODEL_UNAVAILABLE'
  | 'BUDGET_EXCEEDED'
  | 'RATE_LIMITED'
  | 'BACKEND_ERROR'
  | 'BACKEND_TIMEOUT'
  | 'BACKEND_RATE_LIMITED'
  | 'UPSTREAM_SHAPE_MISMATCH'
  | 'IDEMPOTENCY_CONFLICT'
  | 'MEDIA_TOKEN_INVALID'
  | 'MEDIA_TOKEN_EXPIRED'
  | 'MEDIA_NOT_FOUND'
  | 'OVERLOADED'
  | 'METHOD_NOT_ALLOWED'
  | 'STORAGE_ERROR'
  | 'BUDGET_UNAVAILABLE'
  | 'INTERNAL_ERROR';

/** One fault of a request: the field as the client wrote it, and a sentence saying what would be right. */
export interface ErrorDetail {
  /** The field's name, with a dotted path for nested ones (`metadata.steps`); `body` for the body as a whole. */
  readonly field: string;
  /** What was wrong and what would be right. */
  readonly message: string;
}

/** Everything an {@link ImagesError} can carry beside its code and message. */
export interface ImagesErrorOptions {
  /** All faults of the step that failed. */
  readonly details?: readonly ErrorDetail[] | undefined;
  /** Seconds after which the same request may succeed; whole and at least 1. */
  readonly retryAfter?: number | undefined;
  /** A machine-readable refinement of the code, such as `content_filtered`. */
  readonly reason?: string | undefined;
  /** Whether a vendor may have charged for what failed: a retry would then pay again. */
  readonly billed?: Billed | undefined;
  /** What caused it. Reaches events, never a client. */
  readonly cause?: unknown;
}

/** Whether a vendor charged for the call that failed. Decides what is booked and whether a retry is safe. */
export type Billed = 'no' | 'yes' | 'unknown';

// Two copies of the package in one tree (a plugin that brings its own) must recognise each other's errors,
// which `instanceof` cannot do.
const IMAGES_ERROR = Symbol.for('express-images-router.ImagesError');
const PROVIDER_ERROR = Symbol.for('express-images-router.ProviderError');

/**
 * A failure a client is told about. Its `message` is for people and reaches the client, so it never contains a
 * key, a prompt, a stack or an upstream body.
 */
export class ImagesError extends Error {
  /** What clients branch on. */
  readonly code: ErrorCode;
  /** All faults of the step that failed; absent when the code says it all. */
  readonly details: readonly ErrorDetail[] | undefined;
  /** Seconds after which the same request may succeed. */
  readonly retryAfter: number | undefined;
  /** A machine-readable refinement of the code. */
  readonly reason: string | undefined;
  /** Whether a vendor may have charged for what failed; `undefined` where none was involved. */
  readonly billed: Billed | undefined;

  /** Makes an error with a code, a message for people and the optional rest. */
  constructor(code: ErrorCode, message: string, options: ImagesErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'ImagesError';
    this.code = code;
    this.details = options.details;
    this.retryAfter = options.retryAfter;
    this.reason = options.reason;
    this.billed = options.billed;
    Object.defineProperty(this, IMAGES_ERROR, { value: true });
  }
}

/**
 * What went wrong at a provider:
 * - `content_filtered`: its safety system refused the prompt, an input or the result;
 * - `rejected`: it refused the request itself; sending the same again is pointless;
 * - `rate_limited`: it limited us;
 * - `account`: our own account's trouble there (bad key, no credit, not allowed); never the client's 401 or 429;
 * - `unavailable`: it could not be reached or failed on its side;
 * - `timeout`: it was too slow;
 * - `shape`: it answered with something that is not what it documents.
 */
export type ProviderErrorKind =
  | 'content_filtered'
  | 'rejected'
  | 'rate_limited'
  | 'account'
  | 'unavailable'
  | 'timeout'
  | 'shape';

/** Everything a {@link ProviderError} carries beside its kind and message. */
export interface ProviderErrorOptions extends ImagesErrorOptions {
  /** Whether the vendor charged for this call; say `unknown` unless it is known. */
  readonly billed: Billed;
  /** The vendor's HTTP status, for events. */
  readonly status?: number | undefined;
  /** The vendor's own id of the call, for its support. */
  readonly upstreamId?: string | undefined;
}

const CODE_OF_KIND = {
  content_filtered: 'BACKEND_ERROR',
  rejected: 'BACKEND_ERROR',
  rate_limited: 'BACKEND_RATE_LIMITED',
  account: 'BACKEND_ERROR',
  unavailable: 'BACKEND_ERROR',
  timeout: 'BACKEND_TIMEOUT',
  shape: 'UPSTREAM_SHAPE_MISMATCH',
} as const satisfies Record<ProviderErrorKind, ErrorCode>;

/**
 * A failure of a provider, thrown by its adapter. The message is the adapter's own sentence, never the vendor's
 * text. `content_filtered` and `rejected` are also the `reason` a client sees.
 */
export class ProviderError extends ImagesError {
  /** What kind of failure it is. */
  readonly kind: ProviderErrorKind;
  /** Whether the vendor charged for the call. */
  declare readonly billed: Billed;
  /** The vendor's HTTP status, where there was one. */
  readonly status: number | undefined;
  /** The vendor's own id of the call, where it gave one. */
  readonly upstreamId: string | undefined;

  /** Makes a provider's failure; `options.billed` must be said. */
  constructor(kind: ProviderErrorKind, message: string, options: ProviderErrorOptions) {
    const reason = kind === 'content_filtered' || kind === 'rejected' ? kind : options.reason;
    super(CODE_OF_KIND[kind], message, { ...options, reason });
    this.name = 'ProviderError';
    this.kind = kind;
    this.status = options.status;
    this.upstreamId = options.upstreamId;
    Object.defineProperty(this, PROVIDER_ERROR, { value: true });
  }
}

/** A wrong option, found at construction. `path` names it (`providers[1].name`). */
export class ConfigError extends Error {
  /** Where the option is, as one would write it in code. */
  readonly path: string;

  /** Makes an error about the option at `path`; the message says what is wrong and what would be right. */
  constructor(path: string, message: string) {
    super(`${path}: ${message}`);
    this.name = 'ConfigError';
    this.path = path;
  }
}

function isBranded(value: unknown, brand: symbol): boolean {
  return typeof value === 'object' && value !== null && brand in value;
}

/** True for an {@link ImagesError} (a {@link ProviderError} included) of any copy of this package. */
export function isImagesError(value: unknown): value is ImagesError {
  return isBranded(value, IMAGES_ERROR);
}

/** True for a {@link ProviderError} of any copy of this package. */
export function isProviderError(value: unknown): value is ProviderError {
  return isBranded(value, PROVIDER_ERROR);
}

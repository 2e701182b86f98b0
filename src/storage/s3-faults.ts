/** What errors of an S3 server and of the way to it mean. */
import { ImagesError, isImagesError } from '../errors.js';

const REFUSED = 'The media storage refuses these credentials.';
const ELSEWHERE = 'The bucket of the media storage is in another region or at another endpoint.';
const BUSY = 'The media storage is overloaded.';
const FULL = 'The media storage is full.';
const SKEWED = 'The clocks of this machine and of the media storage differ.';
const UNREACHABLE = 'The media storage cannot be reached.';
const FAILED = 'The media storage failed.';

// https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html and, for HEAD, whose answers name nothing, the
// status.
const BY_NAME: Readonly<Record<string, string>> = {
  NoSuchBucket: 'The bucket of the media storage does not exist.',
  AccessDenied: REFUSED,
  CredentialsProviderError: REFUSED,
  ExpiredToken: REFUSED,
  InvalidAccessKeyId: REFUSED,
  InvalidToken: REFUSED,
  SignatureDoesNotMatch: REFUSED,
  AuthorizationHeaderMalformed: ELSEWHERE,
  PermanentRedirect: ELSEWHERE,
  TemporaryRedirect: ELSEWHERE,
  RequestTimeTooSkewed: SKEWED,
  QuotaExceeded: FULL,
};
const BY_STATUS: Readonly<Record<number, string>> = {
  301: ELSEWHERE,
  307: ELSEWHERE,
  403: REFUSED,
  429: BUSY,
  503: BUSY,
  507: FULL,
};

/** The parts of an error of the SDK that matter. */
interface VendorError {
  readonly name: string;
  readonly message: string;
  /** The system's code where there was no answer. */
  readonly code?: string | undefined;
  readonly $metadata?: { readonly httpStatusCode?: number; readonly requestId?: string } | undefined;
}

/** True when an answer says that there is no such object. */
export function isMissing(error: unknown): boolean {
  return statusOf(error) === 404 && (error as VendorError).name !== 'NoSuchBucket';
}

/** True when a server does not know an operation, or wants it in another form than the SDK has for it. */
export function isUnsupported(error: unknown): boolean {
  return [400, 405, 411, 501].includes(statusOf(error) ?? 0);
}

/** The error of an object that is not what was once stored. The reason goes into its cause, not to clients. */
export function damaged(key: string, reason: string): ImagesError {
  const cause = new Error(`${key}: ${reason}`);
  return new ImagesError('STORAGE_ERROR', 'A stored object is damaged.', { cause, reason: 'damaged' });
}

/**
 * Runs `work`; an error becomes a `STORAGE_ERROR` with a sentence that says what kind it is, or the signal's own
 * reason after an abort.
 */
export async function withS3Faults<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
  try {
    return await work();
  } catch (error) {
    signal?.throwIfAborted();
    throw isImagesError(error) ? error : s3Fault(error);
  }
}

function s3Fault(error: unknown): ImagesError {
  if (!(error instanceof Error)) return new ImagesError('STORAGE_ERROR', FAILED, { cause: error });
  const { name, message, code, $metadata: answer } = error as VendorError;
  const status = statusOf(error);
  const sentence = BY_NAME[name] ?? (status === undefined ? UNREACHABLE : (BY_STATUS[status] ?? FAILED));
  // Not the error itself: with a wrong signature servers repeat all that was signed, session tokens included.
  const cause = Object.assign(new Error(message || code), {
    name,
    code,
    status,
    requestId: answer?.requestId,
  });
  return new ImagesError('STORAGE_ERROR', sentence, { cause });
}

function statusOf(error: unknown): number | undefined {
  return error instanceof Error ? (error as VendorError).$metadata?.httpStatusCode : undefined;
}

/**
 * The one way out: a `fetch` that follows no redirect, cuts answers at a size, obeys the call's signal, and fails
 * with our own words. Adapters hand it to their vendor's SDK.
 */
import { ProviderError } from '../errors.js';

/** The bounds of one call. */
export interface UpstreamFetchOptions {
  /** Most bytes of one answer's body, counted after decompression. */
  readonly maxBytes: number;
  /** Ends requests and bodies still being read; its reason is what they fail with. */
  readonly signal: AbortSignal;
}

/**
 * Makes the guarded `fetch` of one call. Beside what `fetch` documents, it throws a `ProviderError`: `shape` for a
 * redirect, a body over `maxBytes`, a malformed answer or a URL that is not plain http(s) without credentials;
 * `unavailable` or `timeout` for a network that fails. Aborted, it throws the signal's reason.
 */
export function createUpstreamFetch(options: UpstreamFetchOptions): typeof globalThis.fetch {
  return async (input, init) => {
    refuseOddTarget(input);
    const own = init?.signal ?? (input instanceof Request ? input.signal : undefined);
    const signal = own ? AbortSignal.any([options.signal, own]) : options.signal;
    const response = await guard(fetch(input, { ...init, redirect: 'manual', signal }), signal);
    if (response.body === null && response.status < 300) return response;
    if (response.status < 200 || response.status > 599 || isRedirect(response)) {
      await response.body?.cancel();
      throw brokenAnswer('The provider answered with a redirect or a status nobody knows.', response.status);
    }
    return capBody(response, { maxBytes: options.maxBytes, signal });
  };
}

function isRedirect(response: Response): boolean {
  return response.type === 'opaqueredirect' || (response.status >= 300 && response.status < 400);
}

function refuseOddTarget(input: string | URL | Request): void {
  const text = input instanceof Request ? input.url : String(input);
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const plain = url !== undefined && (url.protocol === 'https:' || url.protocol === 'http:');
  if (plain && url.username === '' && url.password === '') return;
  throw new ProviderError('shape', 'The provider is only spoken to by http(s) URLs without credentials.', {
    billed: 'no',
  });
}

function capBody(response: Response, { maxBytes, signal }: UpstreamFetchOptions): Response {
  const reader = response.body?.getReader();
  if (reader === undefined) return response;
  let bytesRead = 0;
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { done, value } = await guard(reader.read(), signal);
        if (done) return controller.close();
        bytesRead += value.byteLength;
        if (bytesRead > maxBytes) {
          // Cancelling closes the socket: an endless body must not go on arriving.
          await reader.cancel();
          throw brokenAnswer('The provider sent more than an answer may hold.', response.status);
        }
        controller.enqueue(value);
      },
      cancel: (reason) => reader.cancel(reason),
    },
    { highWaterMark: 0 },
  );
  const { status, statusText, headers } = response;
  return new Response(body, { status, statusText, headers });
}

async function guard<T>(step: Promise<T>, signal: AbortSignal): Promise<T> {
  try {
    return await step;
  } catch (error) {
    signal.throwIfAborted();
    throw networkFailure(error);
  }
}

function brokenAnswer(message: string, status: number): ProviderError {
  return new ProviderError('shape', message, { billed: 'unknown', status });
}

/** Failures before a byte of the request was sent: nothing can have been billed. */
const NOT_SENT: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ENETUNREACH',
  'EHOSTUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
  'CERT_HAS_EXPIRED',
  'CERT_NOT_YET_VALID',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'ERR_TLS_CERT_ALTNAME_INVALID',
]);

/** undici gives up by itself after five silent minutes. */
const TOO_SLOW: ReadonlySet<string> = new Set(['UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT']);

/** Broken compression and broken HTTP. */
const MALFORMED = /^(Z_|HPE_|UND_ERR_RES_)/;

/**
 * Turns what `fetch` throws when the network fails into a `ProviderError` that says whether the request can have
 * been billed. Nothing of the original survives but its error code: texts hold addresses, and more.
 */
export function networkFailure(error: unknown): ProviderError {
  const code = networkCode(error);
  const cause = { code };
  if (code !== undefined && NOT_SENT.has(code)) {
    return new ProviderError('unavailable', 'The provider could not be reached.', { billed: 'no', cause });
  }
  if (code !== undefined && TOO_SLOW.has(code)) {
    return new ProviderError('timeout', 'The provider was silent for too long.', {
      billed: 'unknown',
      cause,
    });
  }
  if (code !== undefined && MALFORMED.test(code)) {
    return new ProviderError('shape', "The provider's answer is malformed.", { billed: 'unknown', cause });
  }
  return new ProviderError('unavailable', 'The connection to the provider failed.', {
    billed: 'unknown',
    cause,
  });
}

/** The error code nearest to the surface: `fetch` wraps it in one cause, SDKs in two or three. */
function networkCode(error: unknown): string | undefined {
  let current = error;
  for (let depth = 0; depth < 5; depth += 1) {
    if (typeof current !== 'object' || current === null) return undefined;
    const { code, name, cause } = current as Readonly<Record<'code' | 'name' | 'cause', unknown>>;
    if (typeof code === 'string' && /^[A-Z][A-Z0-9_]{2,60}$/.test(code)) return code;
    // Since Node 24 these have no code of their own.
    if (name === 'HTTPParserError') return 'HPE_UNKNOWN';
    current = cause;
  }
  return undefined;
}

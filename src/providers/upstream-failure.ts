/** What a network that fails means: which failures cannot have been billed, and whose fault they are. */
import { ProviderError } from '../errors.js';

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

/** `fetch`, and our own requests like it, give up by themselves after five silent minutes. */
const TOO_SLOW: ReadonlySet<string> = new Set(['UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT']);

/** Broken compression and broken HTTP. */
const MALFORMED = /^(Z_|HPE_|UND_ERR_RES_)/;

/**
 * Turns what is thrown when the network fails into a `ProviderError` that says whether the request can have
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

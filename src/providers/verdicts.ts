/**
 * What answers of vendors come to, in the same words whoever the vendor is, and how the little that is kept of them is
 * read.
 */
import type { Billed, ProviderErrorKind } from '../errors.js';

/** What one kind of answer means. */
export interface Verdict {
  /** What went wrong. */
  readonly kind: ProviderErrorKind;
  /** Whether the vendor charged. */
  readonly billed: Billed;
  /** What the client is told. */
  readonly message: string;
}

/** The request itself is at fault. */
export const REJECTED: Verdict = {
  kind: 'rejected',
  billed: 'no',
  message: 'The provider refused the request as invalid.',
};

/** Refused for safety before anything was drawn. */
export const FILTERED: Verdict = {
  kind: 'content_filtered',
  billed: 'no',
  message: 'The provider refused the request for safety reasons.',
};

/** Our own account's trouble. */
export const ACCOUNT: Verdict = {
  kind: 'account',
  billed: 'no',
  message: 'The provider does not serve this deployment at the moment.',
};

/** Our own account's rate. */
export const LIMITED: Verdict = {
  kind: 'rate_limited',
  billed: 'no',
  message: 'The provider limits how often it is asked.',
};

/** The vendor's trouble, however far it got. */
export const UNAVAILABLE: Verdict = {
  kind: 'unavailable',
  billed: 'unknown',
  message: 'The provider failed to answer.',
};

/** The vendor's "not now": it answers so in place of taking the request. */
export const NOT_NOW: Verdict = {
  kind: 'unavailable',
  billed: 'no',
  message: 'The provider takes no requests at the moment.',
};

/** A status nobody documents. */
export const ODD: Verdict = {
  kind: 'shape',
  billed: 'unknown',
  message: "The provider's answer has an unexpected status.",
};

/**
 * A code or type of an error, if that is what it is: words, because without digits and dashes no key passes for one.
 */
export function word(value: unknown): string | undefined {
  return typeof value === 'string' && /^[A-Za-z_]{1,64}$/.test(value) ? value : undefined;
}

/** A vendor's own id of a call, if that is what it is. */
export function vendorId(value: unknown): string | undefined {
  return typeof value === 'string' && /^[\w.:-]{1,128}$/.test(value) ? value : undefined;
}

/** Seconds to wait as whole ones: 1 to 3600, because a silly value overflows timers; `undefined` for none. */
export function waitSeconds(seconds: number | undefined): number | undefined {
  if (seconds === undefined || Number.isNaN(seconds)) return undefined;
  return Math.min(3600, Math.max(1, Math.ceil(seconds)));
}

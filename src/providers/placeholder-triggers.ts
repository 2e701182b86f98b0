/** Words in a prompt that make the placeholder fail, for people who try a router over HTTP. */
import type { BlockedEvent } from '../core/provider.js';
import { ProviderError, type ProviderErrorKind, type ProviderErrorOptions } from '../errors.js';

/** How real vendors fail: what of it was charged follows from how far such a request gets. */
const FAILURES = {
  content_filtered: { billed: 'no', status: 400 },
  rejected: { billed: 'no', status: 400 },
  rate_limited: { billed: 'no', status: 429, retryAfter: 2 },
  account: { billed: 'no', status: 401 },
  unavailable: { billed: 'no', status: 503 },
  timeout: { billed: 'unknown' },
  shape: { billed: 'yes', status: 200 },
} as const satisfies Record<ProviderErrorKind, ProviderErrorOptions>;

function isKind(word: string): word is ProviderErrorKind {
  return Object.hasOwn(FAILURES, word);
}

/** The failure that `[fail:<kind>]` in a prompt asks for. */
export function failureIn(prompt: string): ProviderError | undefined {
  const kind = /\[fail:([a-z_]+)\]/.exec(prompt)?.[1];
  if (kind === undefined || !isKind(kind)) return undefined;
  return new ProviderError(kind, `The prompt asked the placeholder to fail with "${kind}".`, FAILURES[kind]);
}

/** The refusal that `[blocked]` in a prompt asks for. */
export function blockIn(prompt: string): Pick<BlockedEvent, 'reason' | 'stage'> | undefined {
  return prompt.includes('[blocked]') ? { reason: 'demonstration', stage: 'output' } : undefined;
}

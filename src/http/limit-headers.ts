/** Headers about image-count limits and about models that end. */
import type { Response } from 'express';
import type { BucketRoom } from '../core/ledger.js';
import type { RequestHead } from '../core/outcome.js';
import { isRateLimit } from '../core/refusal.js';

/** Sends the tightest of the caller's own image-count limits. */
export function setLimitHeaders(res: Response, rooms: readonly BucketRoom[]): void {
  const [tightest] = rooms
    // What everyone together has left is nobody's business.
    .filter(({ bucket: { budget } }) => isRateLimit(budget) && budget.per !== 'everyone')
    .sort((a, b) => a.left - b.left);
  if (tightest === undefined) return;
  const { budget, resetsAt } = tightest.bucket;
  res.setHeader('X-Scaigrid-Ratelimit-Limit', budget.limit);
  res.setHeader('X-Scaigrid-Ratelimit-Remaining', tightest.left);
  if (resetsAt !== null) res.setHeader('X-Scaigrid-Ratelimit-Reset', Math.ceil(resetsAt / 1000));
}

/** Says that the model asked for is ending or has ended: RFC 9745 `Deprecation`, RFC 8594 `Sunset`. */
export function setLifecycleHeaders(res: Response, { lifecycle }: RequestHead): void {
  const { deprecatedAt, shutdownAt } = lifecycle ?? {};
  const since = deprecatedAt ?? shutdownAt;
  if (since !== undefined) res.setHeader('Deprecation', `@${Date.parse(since) / 1000}`);
  if (shutdownAt !== undefined) res.setHeader('Sunset', new Date(shutdownAt).toUTCString());
}

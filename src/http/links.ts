/** Where pictures are found: the base of our own URLs, and links to stored pictures. */
import type { Request } from 'express';
import type { StoredPicture } from '../core/picture.js';
import { invalid } from '../core/validation.js';
import { type LinkSigner, linkExpiry } from '../media/link.js';

/** A link and when it ends. */
export interface Link {
  /** Absolute. */
  readonly url: string;
  /** Epoch seconds. */
  readonly expiresAt: number;
}

/** Makes links. */
export interface Links {
  /**
   * The base of our URLs for one request, without a slash at its end. Throws `VALIDATION_ERROR` for a `Host` that is
   * none.
   */
  base(req: Request): string;
  /** A link to a stored picture that lives `ttlSeconds`, the usual time unless said. */
  to(picture: StoredPicture, base: string, ttlSeconds?: number): Link;
}

/** What links are made of. */
export interface LinksOptions {
  /** Signs them. */
  readonly signer: LinkSigner;
  /** Their life. */
  readonly ttlSeconds: number;
  /** Base of our URLs as clients see it, mount path included. */
  readonly publicUrl: string | undefined;
}

/**
 * `X-Forwarded-Host` where the host app trusts the proxy that sent it, else `Host`. Express 4 and 5 differ in
 * `req.host`.
 */
export function hostOf(req: Request): string | undefined {
  const trusts: unknown = req.app.get('trust proxy fn');
  const trusted = typeof trusts === 'function' && trusts(req.socket.remoteAddress, 0) === true;
  const forwarded = trusted ? req.get('x-forwarded-host')?.split(',')[0]?.trim() : undefined;
  return forwarded || req.get('host');
}

function requestBase(req: Request): string {
  const url = `${req.protocol}://${hostOf(req) ?? ''}`;
  // A trusted proxy may still pass on whatever scheme its client claims.
  if (!/^https?:/.test(url) || !URL.canParse(url)) {
    throw invalid([{ field: 'Host', message: 'expected a host name in the Host header' }]);
  }
  return `${new URL(url).origin}${req.baseUrl}`;
}

/** Makes the maker of links. */
export function createLinks(options: LinksOptions): Links {
  const { signer, publicUrl } = options;
  const fixed = publicUrl?.replace(/\/+$/, '');
  return {
    base: (req) => fixed ?? requestBase(req),
    to({ file, expiresAt: pictureExpiresAt }, base, ttlSeconds = options.ttlSeconds) {
      const expiresAt = linkExpiry({ nowMs: Date.now(), ttlSeconds, pictureExpiresAtMs: pictureExpiresAt });
      const token = signer.sign(file, expiresAt);
      return { url: `${base}/v1/media/${file}?token=${token}`, expiresAt: Math.floor(expiresAt / 1000) };
    },
  };
}

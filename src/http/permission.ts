/** What a caller may do: roles, and requests a foreign page made with a person's cookies. */
import type { Request } from 'express';
import type { Caller, Role } from '../core/caller.js';
import { ImagesError } from '../errors.js';
import { hostOf } from './links.js';

const RANKS = { viewer: 0, user: 1, admin: 2 } as const satisfies Record<Role, number>;

/** Throws `AUTHZ_PERMISSION_DENIED` unless the caller's role includes `needed`. */
export function checkRole(caller: Caller, needed: Role): void {
  const role = caller.role ?? 'user';
  if (RANKS[role] >= RANKS[needed]) return;
  const message = `Your role ${role} may not do this; it takes ${needed}.`;
  throw new ImagesError('AUTHZ_PERMISSION_DENIED', message);
}

/**
 * Throws `AUTHZ_PERMISSION_DENIED` for a POST that another site's page made a browser send with the person's
 * cookies. A request with an `Authorization` header is not one: pages cannot add it on their own.
 */
export function checkOrigin(req: Request, trustedOrigins: readonly string[]): void {
  if (req.get('authorization') !== undefined) return;
  const origin = req.get('origin');
  if (origin !== undefined && trustedOrigins.includes(origin)) return;
  const site = req.get('sec-fetch-site');
  const foreign = site === undefined ? origin !== undefined && !isOwn(origin, req) : site === 'cross-site';
  if (!foreign) return;
  const message = 'This request comes from a page of another site, which is not among the trusted origins.';
  throw new ImagesError('AUTHZ_PERMISSION_DENIED', message);
}

function isOwn(origin: string, req: Request): boolean {
  return URL.canParse(origin) && new URL(origin).host === hostOf(req);
}

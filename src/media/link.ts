/**
 * Signed links: whoever has one may read one file until it expires, and nobody can make or change one. A token is
 * 59 characters, and each has exactly one spelling:
 *
 *     key id (8, 48 bits) | expiry in epoch milliseconds (8, 48 bits) | HMAC-SHA-256 (43, 256 bits)
 *
 * all in base64url; the HMAC is over the text before it and the file.
 */
import { createHmac, createSecretKey, type KeyObject, timingSafeEqual } from 'node:crypto';
import { ConfigError } from '../errors.js';

/** Signs links and checks them. */
export interface LinkSigner {
  /** Makes the token that opens `file` until `expiresAtMs`, whole epoch milliseconds. */
  sign(file: string, expiresAtMs: number): string;
  /** Checks a token that came with a request. */
  verify(link: Link): LinkVerdict;
}

/** What a client presents. */
export interface Link {
  /** The file that was asked for. */
  readonly file: string;
  /** The token as it came. */
  readonly token: string;
  /** The instant to judge it at, in epoch milliseconds. */
  readonly nowMs: number;
}

/**
 * What a token is worth. `invalid` is everything that is not ours, for whatever reason; only a genuine token, valid
 * until just before `expiresAtMs`, is ever `expired`.
 */
export type LinkVerdict =
  | { readonly state: 'valid' | 'expired'; readonly expiresAtMs: number }
  | { readonly state: 'invalid' };

/** Whose links are trusted. */
export interface LinkSignerOptions {
  /** At least one, each of at least 32 bytes. The first signs, all verify. */
  readonly secrets: readonly string[];
}

/** What decides until when a link is good. */
export interface LinkLife {
  /** The instant it is made, in epoch milliseconds. */
  readonly nowMs: number;
  /** How long it should be good at least. */
  readonly ttlSeconds: number;
  /** When the picture itself goes, in epoch milliseconds. */
  readonly pictureExpiresAtMs: number;
}

interface SigningKey {
  readonly id: string;
  readonly secret: KeyObject;
}

const TOKEN = /^[\w-]{59}$/;
const TOKEN_LENGTH = 59;
const KEY_ID_LENGTH = 8;
const HEAD_LENGTH = 16;
const EXPIRY_BYTES = 6;
const MIN_SECRET_BYTES = 32;
const WINDOW_MS = 60_000;
const INVALID = { state: 'invalid' } as const satisfies LinkVerdict;

/** Makes a signer. Throws {@link ConfigError} without secrets or with one that is too short. */
export function createLinkSigner(options: LinkSignerOptions): LinkSigner {
  const keys = options.secrets.map(signingKey);
  const [current] = keys;
  if (current === undefined) throw new ConfigError('media.secrets', 'at least one secret is needed');
  const keysById = new Map(keys.map((key) => [key.id, key]));

  return {
    sign(file, expiresAtMs) {
      const head = current.id + encodeExpiry(expiresAtMs);
      return head + macOf(current, head, file);
    },

    verify({ file, token, nowMs }) {
      // The length first: whatever is longer costs nothing more.
      if (token.length !== TOKEN_LENGTH || !TOKEN.test(token)) return INVALID;
      const key = keysById.get(token.slice(0, KEY_ID_LENGTH));
      if (key === undefined) return INVALID;
      const head = token.slice(0, HEAD_LENGTH);
      // Compared as text, so that another spelling of the same bytes is another token.
      if (!isSameText(token.slice(HEAD_LENGTH), macOf(key, head, file))) return INVALID;
      const expiresAtMs = decodeExpiry(head.slice(KEY_ID_LENGTH));
      return { state: nowMs < expiresAtMs ? 'valid' : 'expired', expiresAtMs };
    },
  };
}

/**
 * Until when a link made now is good, in epoch milliseconds: its time to live rounded up to whole minutes, so that
 * a picture asked for twice in a minute has one URL and caches work, but never longer than the picture itself.
 */
export function linkExpiry(life: LinkLife): number {
  const wanted = Math.ceil((life.nowMs + life.ttlSeconds * 1000) / WINDOW_MS) * WINDOW_MS;
  return Math.min(wanted, life.pictureExpiresAtMs);
}

function signingKey(secret: string, index: number): SigningKey {
  if (Buffer.byteLength(secret) < MIN_SECRET_BYTES) {
    throw new ConfigError(`media.secrets[${index}]`, `a secret needs at least ${MIN_SECRET_BYTES} bytes`);
  }
  // Keys of their own for each use: a host may sign other things with the same secret.
  const derive = (use: string) =>
    createHmac('sha256', secret).update(`express-images-router ${use}`).digest();
  return {
    id: derive('link key id 1').toString('base64url').slice(0, KEY_ID_LENGTH),
    secret: createSecretKey(derive('link key 1')),
  };
}

function macOf(key: SigningKey, head: string, file: string): string {
  return createHmac('sha256', key.secret)
    .update(head + file)
    .digest('base64url');
}

function isSameText(one: string, other: string): boolean {
  return timingSafeEqual(Buffer.from(one), Buffer.from(other));
}

function encodeExpiry(expiresAtMs: number): string {
  const bytes = Buffer.alloc(EXPIRY_BYTES);
  bytes.writeUIntBE(expiresAtMs, 0, EXPIRY_BYTES);
  return bytes.toString('base64url');
}

function decodeExpiry(text: string): number {
  return Buffer.from(text, 'base64url').readUIntBE(0, EXPIRY_BYTES);
}

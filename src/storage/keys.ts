/**
 * The grammar of storage keys, checked again by each storage that ships: whoever calls it, a key never leaves its root.
 */
import type { SweepOptions } from '../core/storage.js';

const MAX_KEY_BYTES = 200;
// No segment starts with a dot, so `.`, `..` and hidden files cannot be said at all. Everything is ASCII.
const SEGMENT = /^[a-z0-9_-][a-z0-9_.-]*$/;
// `<tenant tag>/<yyyy>/<mm>/<dd>`, the day of the original that a variant stands beside.
const DAY = /^[^/]+\/(\d{4})\/(\d{2})\/(\d{2})(?:\/|$)/;

function refuse(key: unknown, reason: string): never {
  const shown = typeof key === 'string' ? JSON.stringify(key.slice(0, MAX_KEY_BYTES)) : `a ${typeof key}`;
  throw new TypeError(`Storage key ${shown} is refused: ${reason}.`);
}

/** True for a text that can stand between two slashes of a key. */
export function isKeySegment(name: string): boolean {
  return SEGMENT.test(name);
}

/**
 * Throws a `TypeError` unless `key` is 1 to 200 bytes of segments joined by `/`, each made of lower-case letters,
 * digits, `_`, `-` and `.`, and not starting with a dot.
 */
export function checkKey(key: string): void {
  if (typeof key !== 'string') refuse(key, 'a key is a string');
  if (key.length > MAX_KEY_BYTES) refuse(key, `it is longer than ${MAX_KEY_BYTES} bytes`);
  if (!key.split('/').every(isKeySegment)) {
    refuse(key, 'it is not segments of lower-case letters, digits, "_", "-" and "." joined by "/"');
  }
}

/**
 * True for a key, or the beginning of one, of a day that is too young to hold anything that expired before an instant:
 * what is made on it is kept for `retentionSeconds`. False for keys of no day.
 */
export function isOfYoungDay(key: string, { before, retentionSeconds }: SweepOptions): boolean {
  const [, year, month, day] = DAY.exec(key) ?? [];
  if (day === undefined || retentionSeconds === undefined) return false;
  return Date.UTC(Number(year), Number(month) - 1, Number(day)) + retentionSeconds * 1000 > before;
}

/** Throws a `TypeError` unless `prefix` is what {@link checkKey} takes, followed by `/`. */
export function checkPrefix(prefix: string): void {
  if (typeof prefix !== 'string' || !prefix.endsWith('/')) refuse(prefix, 'a prefix ends in "/"');
  checkKey(prefix.slice(0, -1));
}

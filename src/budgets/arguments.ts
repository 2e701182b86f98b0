/**
 * What every store refuses before it touches its ledger. A wrong argument is a fault of the caller, so it is thrown:
 * a fraction or a negative amount that got in would be somebody's money.
 */
import type { CommitLine, Once, ReserveLine, ReserveRequest } from '../core/budget.js';

type Keyed = readonly { readonly key: string }[];

const AMOUNT = 'must be a safe integer, 0 or more';
const TEXT = 'must be a string that is not empty';

function isAmount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isText(value: unknown): boolean {
  return typeof value === 'string' && value !== '';
}

function refuse(path: string, rule: string): never {
  throw new TypeError(`${path} ${rule}`);
}

// Loops by index: a reserve is checked before each request, and its few lines are not worth a set.
function checkKeys(lines: Keyed): void {
  for (let index = 0; index < lines.length; index += 1) {
    const key = lines[index]?.key as string;
    if (!isText(key)) refuse(`lines[${index}].key`, TEXT);
    if (includesKey(lines, key, index)) refuse(`lines[${index}].key`, 'is there twice');
  }
}

function includesKey(lines: Keyed, key: string, before = lines.length): boolean {
  for (let index = 0; index < before; index += 1) {
    if (lines[index]?.key === key) return true;
  }
  return false;
}

function checkReserveLine(line: ReserveLine, index: number): void {
  if (!isAmount(line.limit)) refuse(`lines[${index}].limit`, AMOUNT);
  if (!isAmount(line.amount)) refuse(`lines[${index}].amount`, AMOUNT);
  if (line.expiresAt !== null && !isAmount(line.expiresAt)) {
    refuse(`lines[${index}].expiresAt`, 'must be null or whole epoch milliseconds');
  }
}

/** Checks that an id or key is a string with something in it; `path` names it in the `TypeError`. */
export function checkText(path: string, value: string): void {
  if (!isText(value)) refuse(path, TEXT);
}

/** Checks a `once`. Throws `TypeError`. */
export function checkOnce(once: Once): void {
  checkText('once.key', once.key);
  checkText('once.fingerprint', once.fingerprint);
}

/** Checks what `reserve` was given: integers, unique keys, a lease of at least 1 ms. Throws `TypeError`. */
export function checkReserve(request: ReserveRequest): void {
  checkText('id', request.id);
  if (request.once !== undefined) checkOnce(request.once);
  if (!isAmount(request.leaseMs) || request.leaseMs === 0) {
    refuse('leaseMs', 'must be whole milliseconds, 1 or more');
  }
  checkKeys(request.lines);
  request.lines.forEach(checkReserveLine);
}

/**
 * Checks what `commit` was given against the lines held: integers, unique keys, none that is not held.
 * Throws `TypeError`. `held` is what the store has on record for the id, or the hold's own lines where it has nothing.
 */
export function checkCommit(held: Keyed, lines: readonly CommitLine[]): void {
  checkKeys(lines);
  for (const [index, { key, amount }] of lines.entries()) {
    if (!isAmount(amount)) refuse(`lines[${index}].amount`, AMOUNT);
    if (!includesKey(held, key)) refuse(`lines[${index}].key`, 'is not in the hold');
  }
}

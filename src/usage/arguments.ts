/** What every store refuses before it keeps anything. A wrong row is a fault of the caller, so it is thrown. */
import type { UsagePage, UsageRow } from '../core/usage.js';
import { LAST_INSTANT } from './calendar.js';

const AMOUNTS = [
  ...['imagesAsked', 'images', 'tokensIn', 'tokensOut'],
  ...['costMicroUsd', 'backendCostMicroUsd', 'latencyMs'],
] as readonly (keyof UsageRow)[];

const NAMES = ['id', 'tenant', 'model'] as const satisfies readonly (keyof UsageRow)[];

/** What may be missing, but not empty. */
const OPTIONAL_NAMES = ['user', 'backend'] as const satisfies readonly (keyof UsageRow)[];

function isAmount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** Checks rows. Throws `TypeError` for an amount that is no safe integer ≥ 0, and for an empty name. */
export function checkRows(rows: readonly UsageRow[]): void {
  for (const [index, row] of rows.entries()) {
    for (const name of AMOUNTS) {
      if (!isAmount(row[name])) {
        throw new TypeError(`rows[${index}].${name} must be a safe integer, 0 or more`);
      }
    }
    if (!isAmount(row.at) || row.at > LAST_INSTANT) {
      throw new TypeError(`rows[${index}].at must be whole epoch milliseconds`);
    }
    const names = [...NAMES, ...OPTIONAL_NAMES.filter((name) => row[name] !== undefined)];
    for (const name of names) {
      if (typeof row[name] !== 'string' || row[name] === '') {
        throw new TypeError(`rows[${index}].${name} must be a string that is not empty`);
      }
    }
  }
}

/** Checks a page. Throws `TypeError` for a limit that is no whole number of 1 or more. */
export function checkPage({ limit }: UsagePage): void {
  if (!isAmount(limit) || limit === 0) throw new TypeError('limit must be a whole number of 1 or more');
}

/** Listings a page at a time: which page a query asks for, and how the next one is named. */
import { invalid } from '../core/validation.js';

/** The page a client asks for. */
export interface Page {
  /** At most how many items. */
  readonly limit: number;
  /** The last item of the page before; absent for the first page. */
  readonly after: string | undefined;
}

const DEFAULT_LIMIT = 100;
const MAX_LIMIT = 1000;

/** Names the page after the item of this key. */
export function cursorAfter(key: string): string {
  return Buffer.from(key).toString('base64url');
}

/**
 * Reads `limit` and `cursor`. Throws `VALIDATION_ERROR` for a limit out of bounds, and for a cursor never given out.
 */
export function pageOf(query: URLSearchParams): Page {
  const limit = query.get('limit') ?? String(DEFAULT_LIMIT);
  if (!/^\d{1,4}$/.test(limit) || Number(limit) < 1 || Number(limit) > MAX_LIMIT) {
    throw invalid([{ field: 'limit', message: `expected a whole number from 1 to ${MAX_LIMIT}` }]);
  }
  const cursor = query.get('cursor') ?? undefined;
  const after = cursor === undefined ? undefined : Buffer.from(cursor, 'base64url').toString();
  if (after !== undefined && cursorAfter(after) !== cursor) {
    throw invalid([{ field: 'cursor', message: 'expected the next_cursor of the page before' }]);
  }
  return { limit: Number(limit), after };
}

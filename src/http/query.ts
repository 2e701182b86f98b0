/** The query of a request, read by ourselves: a host may have turned Express's parser off, or set one of its own. */
import type { Request } from 'express';

/** What stands after the question mark. */
export function queryOf({ url }: Request): URLSearchParams {
  const mark = url.indexOf('?');
  return new URLSearchParams(mark === -1 ? '' : url.slice(mark + 1));
}

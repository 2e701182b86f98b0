/** Which models a caller may use. */
import type { Caller } from './caller.js';

/** True when one of the caller's patterns covers the slug. */
export function mayUse(caller: Caller, slug: string): boolean {
  if (caller.models === 'all') return true;
  return caller.models.some((pattern) => {
    const source = pattern.split('*').map((part) => part.replace(/[.+?^${}()|[\]\\]/g, '\\$&'));
    return new RegExp(`^${source.join('.*')}$`).test(slug);
  });
}

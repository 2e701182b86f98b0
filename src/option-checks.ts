/** Checks of option values. Each throws `ConfigError` with the path of what is wrong. */
import leven from 'leven';
import { ConfigError } from './errors.js';

/** The known name nearest to a mistyped one, as a hint; empty when none is near. */
export function hint(name: string, known: readonly string[]): string {
  const [best] = known
    .map((candidate) => [leven(name, candidate), candidate] as const)
    .sort(([a], [b]) => a - b);
  return best !== undefined && best[0] <= Math.max(2, name.length / 3) ? `; did you mean ${best[1]}?` : '';
}

/** Expects an object. */
export function checkObject(value: unknown, path: string): asserts value is object {
  if (typeof value !== 'object' || value === null) throw new ConfigError(path, 'expected an object');
}

/** Expects an object whose keys are all known. `path` is empty for the options themselves. */
export function checkNames(value: unknown, path: string, known: readonly string[]): void {
  checkObject(value, path || 'options');
  for (const name of Object.keys(value)) {
    if (known.includes(name)) continue;
    throw new ConfigError(path === '' ? name : `${path}.${name}`, `is not an option${hint(name, known)}`);
  }
}

/** Expects an object with these methods. */
export function checkMethods(value: unknown, path: string, methods: readonly string[]): void {
  for (const method of methods) {
    if (typeof (value as Record<string, unknown> | null | undefined)?.[method] !== 'function') {
      throw new ConfigError(path, `expected an object with a method ${method}()`);
    }
  }
}

/** Expects a whole number from 1 to `most`. */
export function checkWhole(value: unknown, path: string, most: number = Number.MAX_SAFE_INTEGER): void {
  if (!Number.isSafeInteger(value) || (value as number) < 1) {
    throw new ConfigError(path, `expected a whole number of at least 1, got ${String(value)}`);
  }
  if ((value as number) > most) throw new ConfigError(path, `expected at most ${most}, got ${String(value)}`);
}

/** Expects one of `choices`. */
export function checkChoice(value: unknown, path: string, choices: readonly unknown[]): void {
  if (!choices.includes(value)) throw new ConfigError(path, `expected one of ${choices.join(', ')}`);
}

/** Defaults overlaid with what was given; `undefined` counts as not given. Expects only names that have a default. */
export function withDefaults<T extends object>(defaults: T, given: object | undefined, path: string): T {
  if (given === undefined) return defaults;
  checkNames(given, path, Object.keys(defaults));
  const set = Object.entries(given).filter(([, value]) => value !== undefined);
  return { ...defaults, ...Object.fromEntries(set) };
}

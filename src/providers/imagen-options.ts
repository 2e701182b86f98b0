/** Checks the options of `imagen()`: every wrong one is named with its path and what would be right. */
import { ConfigError } from '../errors.js';

/** What a value of an option must be; said when it is not. */
export interface OptionRule {
  /** Whether a value, never `undefined`, is right. */
  readonly legal: (value: unknown) => boolean;
  /** What would be right, to be read after "must". */
  readonly must: string;
}

/** One of some words. */
export function oneOf(...values: readonly string[]): OptionRule {
  return { legal: (value) => values.some((legal) => legal === value), must: `be "${values.join('" or "')}"` };
}

/** Text of a form. */
export function textLike(pattern: RegExp, must: string): OptionRule {
  return { legal: (value) => typeof value === 'string' && pattern.test(value), must };
}

/** Throws a `ConfigError` for options without a rule, and for values that break theirs. */
export function checkOptions(options: object, rules: Readonly<Record<string, OptionRule>>): void {
  for (const [name, value] of Object.entries(options)) {
    const rule = Object.hasOwn(rules, name) ? rules[name] : undefined;
    if (rule === undefined) {
      throw new ConfigError(`imagen.${name}`, `is not an option; there are ${Object.keys(rules).join(', ')}`);
    }
    if (value !== undefined && !rule.legal(value))
      throw new ConfigError(`imagen.${name}`, `must ${rule.must}`);
  }
}

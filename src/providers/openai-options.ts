/** Checks of the options of `openai()`: what each value must be, and which go together. */
import { ConfigError } from '../errors.js';
import { STEERING } from './openai-request.js';

/** Azure's own way to a model: it serves deployments, which its customers name. */
export interface AzureOptions {
  /** The resource, such as `https://example.openai.azure.com`. */
  readonly endpoint: string;
  /** The version of Azure's API, such as `2025-04-01-preview`. */
  readonly apiVersion: string;
  /**
   * The deployments' names by model id, which are then the only models on offer; or one deployment that gets every
   * request, whatever model was asked for.
   * @defaultValue each model's deployment has the name of the model
   */
  readonly deployment?: string | Readonly<Record<string, string>> | undefined;
}

/** What a value of an option must be; said when it is not. */
interface OptionRule {
  readonly legal: (value: unknown) => boolean;
  readonly must: string;
}

type Rules = Readonly<Record<string, OptionRule>>;

function oneOf(...values: readonly string[]): OptionRule {
  return { legal: (value) => values.some((legal) => legal === value), must: `be "${values.join('" or "')}"` };
}

function someOf(values: readonly string[]): OptionRule {
  return {
    legal: (chosen) =>
      Array.isArray(chosen) && chosen.length > 0 && chosen.every((each) => values.includes(each)),
    must: `list what clients may choose of "${values.join('", "')}"`,
  };
}

/** True for a value that can go into a header: an error about an illegal one would quote it, key and all. */
export function isHeaderValue(value: unknown): value is string {
  return typeof value === 'string' && /^[\x21-\x7e]+$/.test(value);
}

const HEADER_VALUE: OptionRule = {
  legal: isHeaderValue,
  must: 'be printable ASCII without spaces, and not empty',
};

const PLAIN_URL: OptionRule = {
  legal(value) {
    if (typeof value !== 'string' || !URL.canParse(value)) return false;
    const { protocol, username, password, search, hash } = new URL(value);
    return /^https?:$/.test(protocol) && username + password + search + hash === '';
  },
  must: 'be an http(s) URL without credentials, query or fragment',
};

/** Both end up in URLs, where some versions of the SDK do not escape them. */
const URL_WORD: OptionRule = { legal: isWord, must: 'be letters, digits and . _ -' };

function isWord(value: unknown): boolean {
  return typeof value === 'string' && /^\w[\w.-]{0,63}$/.test(value);
}

const OBJECT: OptionRule = {
  legal: (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
  must: 'be an object',
};

const RULES: Rules = {
  name: {
    legal: (value) => typeof value === 'string' && value !== '',
    must: 'be a string that is not empty',
  },
  apiKey: HEADER_VALUE,
  baseURL: PLAIN_URL,
  organization: HEADER_VALUE,
  project: HEADER_VALUE,
  azure: OBJECT,
  azureADTokenProvider: { legal: (value) => typeof value === 'function', must: 'be a function' },
  client: OBJECT,
  models: { legal: Array.isArray, must: 'be an array' },
  retired: oneOf('successor', 'refuse'),
  moderation: oneOf('auto', 'low'),
  inputFidelity: oneOf('low', 'high'),
  allow: OBJECT,
};

const ALLOW_RULES: Rules = Object.fromEntries(
  Object.entries(STEERING).map(([key, values]) => [key, someOf(values)]),
);

const AZURE_RULES: Rules = {
  endpoint: PLAIN_URL,
  apiVersion: URL_WORD,
  deployment: {
    legal(value) {
      if (!OBJECT.legal(value)) return isWord(value);
      const names = Object.values(value as object);
      return names.length > 0 && names.every(isWord);
    },
    must: 'be the name of a deployment (letters, digits and . _ -), or an object of such names by model id',
  },
};

/** Options of which some exclude others, as what was given for them. */
interface Given {
  readonly azure?: unknown;
  readonly allow?: object | undefined;
  readonly [name: string]: unknown;
}

/** Checks the options. Throws a `ConfigError` that names the first one that is wrong. */
export function checkOptions(options: object): void {
  checkValues(options, 'openai', RULES);
  const given: Given = { ...options };
  if (given.azure !== undefined) {
    checkValues(given.azure as object, 'openai.azure', AZURE_RULES);
    for (const name of ['endpoint', 'apiVersion']) {
      if ((given.azure as Given)[name] === undefined) {
        throw new ConfigError(`openai.azure.${name}`, 'must be given');
      }
    }
  }
  if (given.allow !== undefined) checkValues(given.allow, 'openai.allow', ALLOW_RULES);
  checkTogether(given);
}

function checkValues(options: object, path: string, rules: Rules): void {
  for (const [name, value] of Object.entries(options)) {
    const rule = Object.hasOwn(rules, name) ? rules[name] : undefined;
    if (rule === undefined) {
      throw new ConfigError(
        `${path}.${name}`,
        `is not an option; there are ${Object.keys(rules).join(', ')}`,
      );
    }
    if (value !== undefined && !rule.legal(value))
      throw new ConfigError(`${path}.${name}`, `must ${rule.must}`);
  }
}

/** What takes the place of what. */
const INSTEAD: readonly (readonly [name: string, of: readonly string[]])[] = [
  ['client', ['apiKey', 'baseURL', 'organization', 'project', 'azure', 'azureADTokenProvider']],
  ['azure', ['baseURL', 'organization', 'project']],
  ['azureADTokenProvider', ['apiKey']],
];

function checkTogether(given: Given): void {
  for (const [name, others] of INSTEAD) {
    const clash = given[name] !== undefined && others.some((other) => given[other] !== undefined);
    if (clash) throw new ConfigError(`openai.${name}`, `takes the place of ${others.join(', ')}`);
  }
  if (given.azureADTokenProvider !== undefined && given.azure === undefined) {
    throw new ConfigError('openai.azureADTokenProvider', 'goes with azure only');
  }
  if ([given.client, given.apiKey, given.azureADTokenProvider].every((value) => value === undefined)) {
    throw new ConfigError(
      'openai.apiKey',
      'must be given, or a client, or for Azure a token provider; the environment is not read',
    );
  }
}

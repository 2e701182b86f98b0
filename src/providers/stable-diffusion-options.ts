/** The options of `stableDiffusion()`, and what is wrong with them, said at construction. */
import { ConfigError } from '../errors.js';
import type { ModelOffer } from './stable-diffusion-models.js';
import { type AllowedSettings, checkSettings } from './stable-diffusion-settings.js';

/**
 * How a server is spoken to:
 * - `sdapi`: `/sdapi/v1` as AUTOMATIC1111 has it, also spoken by Forge, SD.Next, KoboldCpp and sd-server;
 * - `openai`: `/v1/images` with diffusion extras, spoken by LocalAI, vLLM-Omni and SGLang. sd-server speaks it too but
 *   ignores seeds and negative prompts in it: speak `sdapi` to it. LocalAI takes what follows a `|` in a prompt for the
 *   negative prompt;
 * - `stability`: Stability AI's hosted API, v2beta.
 */
export type DiffusionProtocol = 'sdapi' | 'openai' | 'stability';

/** Options of `stableDiffusion()`. One server is one provider. The environment is never read. */
export interface StableDiffusionOptions {
  /**
   * Unique among the providers of a router.
   * @defaultValue `'stable-diffusion'`
   */
  readonly name?: string | undefined;
  /**
   * The server's root, without `/sdapi` or `/v1`. Required for servers of your own.
   * @defaultValue `'https://api.stability.ai'` with the protocol `stability`
   */
  readonly url?: string | undefined;
  /**
   * How to speak to the server. `auto` is `stability` at Stability's own host; anywhere else the first call finds out
   * by GET and remembers.
   * @defaultValue `'auto'`
   */
  readonly protocol?: 'auto' | DiffusionProtocol | undefined;
  /**
   * A key to send as a bearer token. Required by Stability.
   * @defaultValue none is sent
   */
  readonly apiKey?: string | undefined;
  /**
   * For basic auth (`--api-auth user:password`), together with `password`.
   * @defaultValue none is sent
   */
  readonly username?: string | undefined;
  /**
   * For basic auth, together with `username`.
   * @defaultValue none is sent
   */
  readonly password?: string | undefined;
  /**
   * What is on offer, each model as what differs from a row of the table.
   * @defaultValue `stability/sd-xl` on a server of yours, all hosted models at Stability
   */
  readonly models?: readonly ModelOffer[] | undefined;
  /**
   * Steps of the sampler. Like the settings below but for `denoisingStrength`, only for servers of your own.
   * @defaultValue the server's own
   */
  readonly steps?: number | undefined;
  /**
   * How closely the prompt is followed.
   * @defaultValue the server's own
   */
  readonly cfgScale?: number | undefined;
  /**
   * How far an edit may depart from its input: 0 to 1.
   * @defaultValue the server's own; `0.75` at Stability, which has none
   */
  readonly denoisingStrength?: number | undefined;
  /**
   * The sampler, as the server names it. OpenAI-shaped servers choose it themselves.
   * @defaultValue the server's own
   */
  readonly sampler?: string | undefined;
  /**
   * The scheduler, as the server names it. OpenAI-shaped servers choose it themselves.
   * @defaultValue the server's own
   */
  readonly scheduler?: string | undefined;
  /**
   * Settings clients may choose by `metadata`, each with its bounds. All other keys are labels, which stay here.
   * @defaultValue none
   */
  readonly allow?: AllowedSettings | undefined;
  /**
   * Calls the server is given at once; the others wait in line. Servers of one's own draw one picture at a time. They
   * go on with a call that was abandoned, so the next one waits for as long as drawing usually takes. Calls whose time
   * is up before their turn are not sent and not booked: `BACKEND_RATE_LIMITED`, free to retry.
   * @defaultValue `1`; unbounded at Stability
   */
  readonly concurrency?: number | undefined;
}

/** Where a server is, how to speak to it and what to say to be let in. */
export interface DiffusionTarget {
  /** The root, without a slash at the end. */
  readonly url: string;
  /** How to speak to it; `auto` must be found out, and is never `stability`. */
  readonly protocol: 'auto' | DiffusionProtocol;
  /** The `authorization` header. */
  readonly authorization: string | undefined;
}

const STABILITY_URL = 'https://api.stability.ai';

/** What a value of an option must be; said when it is not. */
interface OptionRule {
  readonly legal: (value: unknown) => boolean;
  readonly must: string;
}

const TEXT: OptionRule = {
  legal: (value) => typeof value === 'string' && value !== '',
  must: 'be a string that is not empty',
};

const RULES: Readonly<Record<keyof StableDiffusionOptions, OptionRule | undefined>> = {
  name: TEXT,
  url: {
    legal: isRoot,
    must: "be the http(s) URL of the server's root, without credentials, query, fragment, /sdapi or /v1",
  },
  protocol: {
    legal: (value) => ['auto', 'sdapi', 'openai', 'stability'].some((legal) => legal === value),
    must: 'be "auto", "sdapi", "openai" or "stability"',
  },
  // A value that goes into a header: an error about an illegal one would quote it, key and all.
  apiKey: {
    legal: (value) => typeof value === 'string' && /^[\x21-\x7e]+$/.test(value),
    must: 'be printable ASCII without spaces, and not empty',
  },
  username: {
    legal: (value) => typeof value === 'string' && /^[^:]+$/.test(value),
    must: 'be a string without colons, and not empty',
  },
  password: TEXT,
  models: {
    legal: (value) => Array.isArray(value) && value.length > 0,
    must: 'be an array of at least one model',
  },
  steps: undefined,
  cfgScale: undefined,
  denoisingStrength: undefined,
  sampler: undefined,
  scheduler: undefined,
  allow: undefined,
  concurrency: {
    legal: (value) => Number.isSafeInteger(value) && Number(value) >= 1,
    must: 'be a whole number of at least 1',
  },
};

function isRoot(value: unknown): boolean {
  if (typeof value !== 'string' || !URL.canParse(value)) return false;
  const { protocol, username, password, search, hash, pathname } = new URL(value);
  const plain = /^https?:$/.test(protocol) && username + password + search + hash === '';
  return plain && !/\/(sdapi|v1)(\/|$)/.test(pathname);
}

/** Checks the options and says where the server is. Throws a `ConfigError` for a wrong one. */
export function diffusionTarget(options: StableDiffusionOptions): DiffusionTarget {
  for (const [name, value] of Object.entries(options)) {
    if (!Object.hasOwn(RULES, name)) {
      throw wrong(name, `is not an option; there are ${Object.keys(RULES).join(', ')}`);
    }
    const rule = RULES[name as keyof StableDiffusionOptions];
    if (value !== undefined && rule !== undefined && !rule.legal(value))
      throw wrong(name, `must ${rule.must}`);
  }
  const protocol = protocolOf(options);
  const url = options.url ?? (protocol === 'stability' ? STABILITY_URL : undefined);
  if (url === undefined) throw wrong('url', 'must be given: where is the server?');
  checkSettings(options, protocol === 'stability');
  return { url: url.replace(/\/+$/, ''), protocol, authorization: authorizationOf(options, protocol) };
}

function protocolOf({ protocol = 'auto', url }: StableDiffusionOptions): DiffusionTarget['protocol'] {
  if (protocol !== 'auto' || url === undefined) return protocol;
  return new URL(url).host === new URL(STABILITY_URL).host ? 'stability' : 'auto';
}

function authorizationOf(
  { apiKey, username, password }: StableDiffusionOptions,
  protocol: DiffusionTarget['protocol'],
): string | undefined {
  if ((username === undefined) !== (password === undefined)) {
    const missing = username === undefined ? 'username' : 'password';
    throw wrong(missing, 'must be given: basic auth takes both username and password');
  }
  if (apiKey !== undefined && username !== undefined) {
    throw wrong('apiKey', 'cannot go together with username and password');
  }
  if (protocol === 'stability' && apiKey === undefined) {
    throw wrong('apiKey', 'must be given; the environment is not read');
  }
  if (apiKey !== undefined) return `Bearer ${apiKey}`;
  if (username === undefined) return undefined;
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}

function wrong(name: string, message: string): ConfigError {
  return new ConfigError(`stableDiffusion.${name}`, message);
}

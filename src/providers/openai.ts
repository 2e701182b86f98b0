/**
 * OpenAI's Images API, and servers that speak it: DALL·E and the GPT Image models, through the official SDK.
 * Labels in `metadata` are not sent, because the API has nowhere to put them.
 */
import OpenAI from 'openai';
import type { GenerateCall, GenerateEvent, Provider } from '../core/provider.js';
import { ConfigError, ProviderError } from '../errors.js';
import { readImages } from './openai-answer.js';
import { type ModelAddition, openaiCatalog } from './openai-catalog.js';
import { requestId, toProviderError } from './openai-errors.js';
import { type Moderation, requestBody } from './openai-request.js';

export type { ModelAddition, Moderation };

/** Options of {@link openai}. The environment is never read. */
export interface OpenAIOptions {
  /**
   * Unique among the providers of a router.
   * @defaultValue `'openai'`
   */
  readonly name?: string | undefined;
  /** The key, required unless `client` is given. Servers that want none take any. */
  readonly apiKey?: string | undefined;
  /**
   * Where the API is, `/v1` included. Anywhere but at OpenAI's own host nothing is retired.
   * @defaultValue `'https://api.openai.com/v1'`
   */
  readonly baseURL?: string | undefined;
  /**
   * The organization billed.
   * @defaultValue the key's own
   */
  readonly organization?: string | undefined;
  /**
   * The project billed.
   * @defaultValue the key's own
   */
  readonly project?: string | undefined;
  /** A client of yours, instead of the four options above. Its own `fetch`, retries and timeout are not used. */
  readonly client?: OpenAI | undefined;
  /**
   * Models the table does not have yet, or rows to replace.
   * @defaultValue `[]`
   */
  readonly models?: readonly ModelAddition[] | undefined;
  /**
   * What becomes of a request for a model OpenAI has retired: its successor draws, or it is refused.
   * @defaultValue `'successor'`
   */
  readonly retired?: 'successor' | 'refuse' | undefined;
  /**
   * How strictly GPT Image models are moderated.
   * @defaultValue OpenAI's own, `'auto'`
   */
  readonly moderation?: Moderation | undefined;
}

/** The call's signal is the deadline; the SDK's own timer gets the longest a timer can hold. */
const NO_TIMEOUT_MS = 2 ** 31 - 1;

/**
 * Makes a provider for OpenAI, or for a server that speaks its Images API. Does no I/O. Throws a `ConfigError` for
 * a wrong option, such as a missing `apiKey`.
 */
export function openai(options: OpenAIOptions = {}): Provider {
  checkOptions(options);
  const client = options.client ?? ownClient(options);
  const headers = options.client === undefined ? pinnedHeaders(options) : {};
  const atOpenAI = isOpenAIHost(client.baseURL);
  const rows = openaiCatalog({
    additions: options.models ?? [],
    atOpenAI,
    successorServes: options.retired !== 'refuse',
  });

  async function send(call: GenerateCall): Promise<Response> {
    const row = rows.get(call.model.slug);
    if (row === undefined) throw new ProviderError('rejected', 'No such model here.', { billed: 'no' });
    const body = requestBody({ call, row, moderation: options.moderation });
    const bound = client.withOptions({ fetch: call.fetch, maxRetries: 0, timeout: NO_TIMEOUT_MS });
    return await bound.images
      .generate(body as unknown as OpenAI.ImageGenerateParamsNonStreaming, {
        signal: call.signal,
        headers: { ...headers, 'X-Client-Request-Id': call.requestId },
      })
      .asResponse();
  }

  async function* generate(call: GenerateCall): AsyncGenerator<GenerateEvent, void, undefined> {
    try {
      const response = await send(call);
      const type = `image/${call.outputFormat ?? call.model.formats[0] ?? 'png'}`;
      const usage = yield* readImages(response, { n: call.n, type });
      yield { type: 'end', usage, upstreamId: requestId(response.headers.get('x-request-id')) };
    } catch (error) {
      // Abort errors come in three forms, by the SDK's version and by where it was; the reason is always one.
      call.signal.throwIfAborted();
      throw toProviderError(error);
    }
  }

  return {
    name: options.name ?? 'openai',
    models: [...rows.values()].map(({ model }) => model),
    contentCredentials: atOpenAI,
    generate,
  };
}

/** Everything the SDK would otherwise read from the environment is said, and its logger, which prints prompts, is off. */
function ownClient({ apiKey, baseURL, organization, project }: OpenAIOptions): OpenAI {
  return new OpenAI({
    apiKey: apiKey ?? '',
    adminAPIKey: null,
    webhookSecret: null,
    baseURL: baseURL ?? OPENAI_URL,
    organization: organization ?? null,
    project: project ?? null,
    logLevel: 'off',
  });
}

const OPENAI_URL = 'https://api.openai.com/v1';

/** `OPENAI_CUSTOM_HEADERS` cannot be switched off, but headers of the request itself outrank it. */
function pinnedHeaders({ apiKey, organization, project }: OpenAIOptions): Record<string, string | null> {
  return {
    Authorization: `Bearer ${apiKey}`,
    'OpenAI-Organization': organization ?? null,
    'OpenAI-Project': project ?? null,
  };
}

function isOpenAIHost(baseURL: string): boolean {
  const { protocol, hostname } = new URL(baseURL);
  return protocol === 'https:' && (hostname === 'api.openai.com' || hostname.endsWith('.api.openai.com'));
}

/** What a value of an option must be; said when it is not. */
interface OptionRule {
  readonly legal: (value: unknown) => boolean;
  readonly must: string;
}

function oneOf(...values: readonly string[]): OptionRule {
  return { legal: (value) => values.some((legal) => legal === value), must: `be "${values.join('" or "')}"` };
}

/** A value that goes into a header: an error about an illegal one would quote it, key and all. */
const HEADER_VALUE: OptionRule = {
  legal: (value) => typeof value === 'string' && /^[\x21-\x7e]+$/.test(value),
  must: 'be printable ASCII without spaces, and not empty',
};

const RULES: Readonly<Record<keyof OpenAIOptions, OptionRule>> = {
  name: {
    legal: (value) => typeof value === 'string' && value !== '',
    must: 'be a string that is not empty',
  },
  apiKey: HEADER_VALUE,
  baseURL: { legal: isPlainURL, must: 'be an http(s) URL without credentials, query or fragment' },
  organization: HEADER_VALUE,
  project: HEADER_VALUE,
  client: { legal: isClient, must: 'be a client of the openai package that withOptions() can copy' },
  models: { legal: Array.isArray, must: 'be an array' },
  retired: oneOf('successor', 'refuse'),
  moderation: oneOf('auto', 'low'),
};

function isPlainURL(value: unknown): boolean {
  if (typeof value !== 'string' || !URL.canParse(value)) return false;
  const { protocol, username, password, search, hash } = new URL(value);
  return /^https?:$/.test(protocol) && username + password + search + hash === '';
}

/** Calls are made by copies of the client. Version 6 cannot copy a client of Azure: it forgets its API version. */
function isClient(value: unknown): boolean {
  try {
    return (value as OpenAI).withOptions({}).images !== undefined;
  } catch {
    return false;
  }
}

function checkOptions(options: OpenAIOptions): void {
  for (const [name, value] of Object.entries(options)) {
    if (!Object.hasOwn(RULES, name)) {
      throw new ConfigError(`openai.${name}`, `is not an option; there are ${Object.keys(RULES).join(', ')}`);
    }
    const rule = RULES[name as keyof OpenAIOptions];
    if (value !== undefined && !rule.legal(value))
      throw new ConfigError(`openai.${name}`, `must ${rule.must}`);
  }
  const { client, apiKey, baseURL, organization, project } = options;
  if (client === undefined && apiKey === undefined) {
    throw new ConfigError('openai.apiKey', 'must be given, or a client; the environment is not read');
  }
  if (client !== undefined && [apiKey, baseURL, organization, project].some((value) => value !== undefined)) {
    throw new ConfigError('openai.client', 'takes the place of apiKey, baseURL, organization and project');
  }
}

/**
 * OpenAI's Images API, at OpenAI, at Azure, and at servers that speak it: DALL·E and the GPT Image models, through
 * the official SDK. Labels in `metadata` are not sent, because the API has nowhere to put them.
 */
import OpenAI, { AzureOpenAI, type ClientOptions } from 'openai';
import type { GenerateCall, GenerateEvent, Provider } from '../core/provider.js';
import { unlessAborted } from '../core/wait.js';
import { ConfigError, ProviderError } from '../errors.js';
import { readImages } from './openai-answer.js';
import { type ModelAddition, openaiCatalog } from './openai-catalog.js';
import { toProviderError } from './openai-errors.js';
import type { OpenAIModel } from './openai-model-row.js';
import { type AzureOptions, checkOptions, isHeaderValue } from './openai-options.js';
import {
  type AllowedSettings,
  editForm,
  type InputFidelity,
  type Moderation,
  requestFields,
} from './openai-request.js';
import { isEventStream, readStream } from './openai-stream.js';
import { ACCOUNT, vendorId } from './verdicts.js';

export type { AllowedSettings, AzureOptions, InputFidelity, ModelAddition, Moderation };

/** Options of {@link openai}. The environment is never read. */
export interface OpenAIOptions {
  /**
   * Unique among the providers of a router.
   * @defaultValue `'openai'`
   */
  readonly name?: string | undefined;
  /** The key, required unless `client` or `azureADTokenProvider` is given. Servers that want none take any. */
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
  /**
   * Azure OpenAI instead of OpenAI, in place of `baseURL`, `organization` and `project`. Nothing is retired there.
   * @defaultValue OpenAI
   */
  readonly azure?: AzureOptions | undefined;
  /**
   * Gives the Microsoft Entra token of each request; with `azure`, in place of `apiKey`. It is asked before every
   * call, so it should remember its tokens.
   * @defaultValue `apiKey` is used
   */
  readonly azureADTokenProvider?: (() => Promise<string>) | undefined;
  /** A client of yours, instead of the six options above. Its own `fetch`, retries and timeout are not used. */
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
   * How strictly GPT Image models are moderated when they draw from words.
   * @defaultValue OpenAI's own, `'auto'`
   */
  readonly moderation?: Moderation | undefined;
  /**
   * How closely edits keep to their input pictures, at models where that is a choice.
   * @defaultValue OpenAI's own, `'low'`
   */
  readonly inputFidelity?: InputFidelity | undefined;
  /**
   * Settings clients may choose by `metadata`, each with its values. All other keys are labels, which stay here.
   * @defaultValue none
   */
  readonly allow?: AllowedSettings | undefined;
}

/**
 * Makes a provider for OpenAI, for Azure OpenAI, or for a server that speaks their Images API. Does no I/O. Throws a
 * `ConfigError` for a wrong option, such as a missing `apiKey`.
 */
export function openai(options: OpenAIOptions = {}): Provider {
  checkOptions(options);
  const client = options.client === undefined ? ownClient(options) : hostClient(options.client);
  const clientOf = options.client === undefined ? remembered(client) : copies(client);
  const atOpenAI = isOpenAIHost(client.baseURL);
  const deployment = options.azure?.deployment;
  const rows = openaiCatalog({
    additions: options.models ?? [],
    allowed: Object.keys(options.allow ?? {}),
    atOpenAI,
    successorServes: options.retired !== 'refuse',
    only: typeof deployment === 'object' ? Object.keys(deployment) : undefined,
  });

  async function* generate(call: GenerateCall): AsyncGenerator<GenerateEvent, void, undefined> {
    const { n, previews } = call;
    const type = `image/${call.outputFormat ?? call.model.formats[0] ?? 'png'}`;
    try {
      const row = rows.get(call.model.slug);
      if (row === undefined) throw new ProviderError('rejected', 'No such model here.', { billed: 'no' });
      const response = await send({ call, row, clientOf, options });
      const usage = isEventStream(response)
        ? yield* readStream(response, { previews, type })
        : yield* readImages(response, { n, type });
      yield { type: 'end', usage, upstreamId: vendorId(response.headers.get('x-request-id')) };
    } catch (error) {
      // Abort errors come in three forms, by the SDK's version and by where it was; the reason is always one.
      call.signal.throwIfAborted();
      throw toProviderError(error, call.model);
    }
  }

  return {
    name: options.name ?? 'openai',
    models: [...rows.values()].map(({ model }) => model),
    contentCredentials: atOpenAI,
    generate,
  };
}

/** What sending a call takes. */
interface Sending {
  readonly call: GenerateCall;
  readonly row: OpenAIModel;
  readonly clientOf: (deployment: string) => OpenAI;
  readonly options: OpenAIOptions;
}

async function send({ call, row, clientOf, options }: Sending): Promise<Response> {
  const { fetch, signal } = call;
  const { upstreamId } = row.model;
  const names = options.azure?.deployment;
  const deployment = (typeof names === 'object' ? names[upstreamId] : names) ?? upstreamId;
  const client = clientOf(deployment);
  const fetchOptions: CallOptions = { [FETCH_OF_CALL]: fetch };
  const headers = { ...(await ownHeaders(options, signal)), 'X-Client-Request-Id': call.requestId };
  const parts = { call, row, settings: options };
  if (call.operation === 'generate') {
    const body = requestFields(parts) as unknown as OpenAI.ImageGenerateParams;
    return await client.images.generate(body, { signal, headers, fetchOptions }).asResponse();
  }
  // Not `images.edit()`, which changes line ends and uses `fetch` for more than the request.
  const { bytes, contentType } = editForm(parts);
  const form = { body: bytes, signal, headers: { ...headers, 'Content-Type': contentType }, fetchOptions };
  return await client.post('/images/edits', form).asResponse();
}

const OPENAI_URL = 'https://api.openai.com/v1';

/** The call's signal is the deadline; the SDK's own timer gets the longest a timer can hold. */
const NO_TIMEOUT_MS = 2 ** 31 - 1;

/**
 * Everything the SDK would otherwise read from the environment is said, and its logger, which prints prompts, is off.
 */
function ownClient({ apiKey, baseURL, organization, project, azure }: OpenAIOptions): OpenAI {
  const common = { adminAPIKey: null, webhookSecret: null, logLevel: 'off' } as const;
  if (azure === undefined) {
    return new OpenAI({
      ...common,
      apiKey: apiKey ?? '',
      baseURL: baseURL ?? OPENAI_URL,
      organization: organization ?? null,
      project: project ?? null,
    });
  }
  return new AzureOpenAI({
    ...common,
    // It insists on one; where tokens are used instead, the headers of each request say so.
    apiKey: apiKey ?? 'none',
    // Not `endpoint`, which is refused where the environment has a base URL.
    baseURL: `${azure.endpoint.replace(/\/+$/, '')}/openai`,
    apiVersion: azure.apiVersion,
    organization: null,
    project: null,
  });
}

/** The key under which a request's options hold the `fetch` of its call; the SDK passes all of them on. */
const FETCH_OF_CALL = Symbol('the fetch of the call');

type CallOptions = NonNullable<ClientOptions['fetchOptions']> & {
  readonly [FETCH_OF_CALL]: GenerateCall['fetch'];
};

const BY_CALL = {
  maxRetries: 0,
  timeout: NO_TIMEOUT_MS,
  fetch: (url, init) => {
    const { [FETCH_OF_CALL]: fetch, ...rest } = init as RequestInit & CallOptions;
    return fetch(url, rest);
  },
} as const satisfies ClientOptions;

/** Copies of our own client, made once: that costs as much as a small request. */
function remembered(client: OpenAI): (deployment: string) => OpenAI {
  const known = new Map<string, OpenAI>();
  return (deployment) => {
    const found = known.get(deployment) ?? copyOf(client, deployment, BY_CALL);
    known.set(deployment, found);
    return found;
  };
}

/** Copies of the host's client, made as it is now: its host may give it another key while it runs. */
function copies(client: OpenAI): (deployment: string) => OpenAI {
  return (deployment) => copyOf(client, deployment, BY_CALL);
}

/** Copies a client. Version 6 forgets what only Azure has, and edits do not find their deployment by themselves. */
function copyOf(client: OpenAI, deployment: string, changes: ClientOptions): OpenAI {
  const { apiVersion, deploymentName } = client as OpenAI &
    Partial<Pick<AzureOpenAI, 'apiVersion' | 'deploymentName'>>;
  const azure = apiVersion === undefined ? {} : { apiVersion, deployment: deploymentName ?? deployment };
  return client.withOptions({ ...changes, ...azure });
}

/** The host's client, if calls can be made by copies of it. */
function hostClient(client: OpenAI): OpenAI {
  try {
    if (copyOf(client, 'none', {}).images !== undefined) return client;
  } catch {
    // Whatever it is, and whatever it says: it is none.
  }
  const message = 'must be a client of the openai package that withOptions() can copy';
  throw new ConfigError('openai.client', message);
}

type HeaderChanges = Readonly<Record<string, string | null>>;

/**
 * What identifies us, unless the client is the host's. `OPENAI_CUSTOM_HEADERS` cannot be switched off, but headers
 * of the request itself outrank it.
 */
async function ownHeaders(options: OpenAIOptions, signal: AbortSignal): Promise<HeaderChanges> {
  const { client, azure, apiKey, organization = null, project = null, azureADTokenProvider } = options;
  if (client !== undefined) return {};
  const billed = { 'OpenAI-Organization': organization, 'OpenAI-Project': project };
  if (azureADTokenProvider !== undefined) {
    const token = await entraToken(azureADTokenProvider, signal);
    return { ...billed, Authorization: `Bearer ${token}`, 'api-key': null };
  }
  if (azure !== undefined) return { ...billed, Authorization: null, 'api-key': apiKey ?? null };
  return { ...billed, Authorization: `Bearer ${apiKey}` };
}

/** A token, or our own account's trouble: nothing was sent, and what went wrong may quote credentials. */
async function entraToken(provide: () => Promise<string>, signal: AbortSignal): Promise<string> {
  const token = await unlessAborted(Promise.resolve().then(provide), signal).catch(() => undefined);
  if (isHeaderValue(token)) return token;
  throw new ProviderError(ACCOUNT.kind, ACCOUNT.message, { billed: ACCOUNT.billed });
}

function isOpenAIHost(baseURL: string): boolean {
  const { protocol, hostname } = new URL(baseURL);
  return protocol === 'https:' && (hostname === 'api.openai.com' || hostname.endsWith('.api.openai.com'));
}

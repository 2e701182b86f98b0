/**
 * Google's image models on Vertex AI (which Google now calls the Gemini Enterprise Agent Platform): Imagen and the
 * Gemini image models, through the official SDK, over gRPC or REST. Importing this module loads the SDK, which takes
 * a second or more. Its protocol definitions take as long again, and the process does nothing else meanwhile:
 * `warmup()` spends that time ahead of the first request.
 */
import { helpers, PredictionServiceClient } from '@google-cloud/aiplatform';
import type { GenerateCall, GenerateEvent, Provider } from '../core/provider.js';
import { ConfigError, ProviderError } from '../errors.js';
import { type Reading, readAll } from './imagen-answers.js';
import type { ServiceCall } from './imagen-call.js';
import { googleCatalog, type ModelAddition } from './imagen-catalog.js';
import { contentCall } from './imagen-content.js';
import { checkOptions, type OptionRule, oneOf, textLike } from './imagen-options.js';
import { predictCalls, type ValueHelpers } from './imagen-predict.js';
import type { PersonGeneration, SafetySetting } from './imagen-request.js';
import {
  type CreateClient,
  grpcTransport,
  restTransport,
  type SdkClient,
  type SendParts,
} from './imagen-transport.js';

export type { ModelAddition, PersonGeneration, SafetySetting };

/** What the SDK's clients take. */
export type ClientOptions = NonNullable<ConstructorParameters<typeof PredictionServiceClient>[0]>;

/** Options of {@link imagen}. */
export interface ImagenOptions {
  /**
   * Unique among the providers of a router.
   * @defaultValue `'imagen'`
   */
  readonly name?: string | undefined;
  /** The Google Cloud project that pays. */
  readonly project: string;
  /**
   * Where it draws. The newer Gemini models draw nowhere but in `global`.
   * @defaultValue `'global'`
   */
  readonly location?: string | undefined;
  /**
   * How the SDK speaks. `rest` sends by the router's `fetch`.
   * @defaultValue `'grpc'`
   */
  readonly transport?: 'grpc' | 'rest' | undefined;
  /**
   * Another server's `host` or `host:port`, where nothing is retired.
   * @defaultValue Google's own host for the location
   */
  readonly apiEndpoint?: string | undefined;
  /**
   * More for the SDK's client, above all credentials: `keyFilename`, `credentials`, `authClient`, `apiKey`.
   * @defaultValue Application Default Credentials, which the SDK looks for in environment and metadata server
   */
  readonly clientOptions?: ClientOptions | undefined;
  /**
   * Models the table does not have yet, or rows to replace.
   * @defaultValue `[]`
   */
  readonly models?: readonly ModelAddition[] | undefined;
  /**
   * What becomes of a request for a model Google has retired: its successor draws, or it is refused.
   * @defaultValue `'successor'`
   */
  readonly retired?: 'successor' | 'refuse' | undefined;
  /**
   * Whom pictures may show.
   * @defaultValue Google's own, for Imagen `'allow_adult'`
   */
  readonly personGeneration?: PersonGeneration | undefined;
  /**
   * What is filtered for safety.
   * @defaultValue Google's own, for Imagen `'block_medium_and_above'`
   */
  readonly safetySetting?: SafetySetting | undefined;
  /**
   * Most bytes of one answer over gRPC. Over REST the router's limit holds.
   * @defaultValue 64 MiB
   */
  readonly maxAnswerBytes?: number | undefined;
}

const GOOGLE = 'googleapis.com';
const MAX_ANSWER_BYTES = 64 * 1024 * 1024;

/**
 * Makes a provider for Google's image models. Does no I/O; the client is made by `warmup()` or the first call.
 * Throws a `ConfigError` for a wrong option.
 */
export function imagen(options: ImagenOptions): Provider {
  checkOptions(options, RULES);
  if (options.project === undefined) throw new ConfigError('imagen.project', 'must be given');
  const { project, location = 'global', personGeneration, safetySetting } = options;
  const overGrpc = options.transport !== 'rest';
  const transport = overGrpc ? grpcTransport(clientMaker(options)) : restTransport(clientMaker(options));
  const atGoogle = isAtGoogle(options);
  const rows = googleCatalog({
    additions: options.models ?? [],
    atGoogle,
    successorServes: options.retired !== 'refuse',
  });

  function serviceCalls(call: GenerateCall): readonly ServiceCall[] {
    const row = rows.get(call.model.slug);
    if (row === undefined) throw new ProviderError('rejected', 'No such model here.', { billed: 'no' });
    const publisher = `projects/${project}/locations/${location}/publishers/google`;
    const resource = `${publisher}/models/${row.model.upstreamId}`;
    const parts = { call, row, resource, personGeneration, safetySetting };
    return row.rpc === 'predict' ? predictCalls(parts, helpers as ValueHelpers) : [contentCall(parts)];
  }

  async function* read(call: ServiceCall, parts: SendParts): Reading {
    return yield* call.read(await transport.send(call, parts));
  }

  async function* generate(call: GenerateCall): AsyncGenerator<GenerateEvent, void, undefined> {
    call.signal.throwIfAborted();
    const left = new AbortController();
    const signal = AbortSignal.any([call.signal, left.signal]);
    try {
      const readings = serviceCalls(call).map((each) => read(each, { call, signal }));
      const ending = yield* readAll(readings, call.signal);
      yield { type: 'end', ...ending };
    } finally {
      // A reader that leaves early wants none of the other pictures.
      left.abort();
    }
  }

  return {
    name: options.name ?? 'imagen',
    models: [...rows.values()].map(({ model }) => model),
    ownTransport: overGrpc,
    contentCredentials: atGoogle,
    generate,
    warmup: () => transport.warmup(),
    close: () => transport.close(),
  };
}

/**
 * Makes clients of the SDK. gRPC's own limit counts decompressed bytes, as it should. Its retries, which wait for a
 * service config nobody sends, are off; and so is looking one up in DNS.
 */
function clientMaker(options: ImagenOptions): CreateClient {
  const { clientOptions, project, maxAnswerBytes = MAX_ANSWER_BYTES } = options;
  const [host = '', port] = (options.apiEndpoint ?? googleHost(options)).split(':');
  const shared: ClientOptions = {
    // Else the SDK reads it from the environment.
    universeDomain: GOOGLE,
    'grpc.max_receive_message_length': maxAnswerBytes,
    'grpc.enable_retries': 0,
    'grpc.service_config_disable_resolution': 1,
    ...clientOptions,
    projectId: project,
    apiEndpoint: host,
    ...(port !== undefined && { port: Number(port) }),
    fallback: options.transport === 'rest',
  };
  return (auth) => {
    const client = new PredictionServiceClient({ ...shared, ...(auth && { auth }) } as ClientOptions);
    return client as unknown as SdkClient;
  };
}

function googleHost({ location = 'global', clientOptions }: ImagenOptions): string {
  const domain = clientOptions?.universeDomain ?? GOOGLE;
  if (location === 'global') return `aiplatform.${domain}`;
  if (location === 'us' || location === 'eu') return `aiplatform.${location}.rep.${domain}`;
  return `${location}-aiplatform.${domain}`;
}

/** Options of the SDK by which its requests end up elsewhere. */
const ELSEWHERE = [
  'port',
  'protocol',
  'servicePath',
  'sslCreds',
  'universeDomain',
  'universe_domain',
] as const;

function isAtGoogle({ apiEndpoint, clientOptions = {} }: ImagenOptions): boolean {
  const isGoogle = apiEndpoint === undefined || /\.googleapis\.com(:443)?$/.test(apiEndpoint);
  return isGoogle && !ELSEWHERE.some((name) => clientOptions[name] !== undefined);
}

/** Options of the SDK that follow from ours. */
const OURS = ['apiEndpoint', 'projectId', 'fallback'] as const;

const RULES: Readonly<Record<keyof ImagenOptions, OptionRule>> = {
  name: textLike(/./, 'be a string that is not empty'),
  // Both become parts of a path.
  project: textLike(/^[a-z0-9][a-z0-9.:-]{0,99}$/, 'be the id or number of a Google Cloud project'),
  location: textLike(/^[a-z][a-z0-9-]{0,39}$/, 'be a location such as "global" or "us-central1"'),
  transport: oneOf('grpc', 'rest'),
  apiEndpoint: textLike(/^[A-Za-z0-9.-]+(:\d{1,5})?$/, 'be a host name, with or without a port'),
  clientOptions: {
    legal: (value) =>
      typeof value === 'object' && value !== null && !OURS.some((name) => Object.hasOwn(value, name)),
    must: `be options of PredictionServiceClient, without ${OURS.join(', ')}`,
  },
  models: { legal: Array.isArray, must: 'be an array' },
  retired: oneOf('successor', 'refuse'),
  personGeneration: oneOf('dont_allow', 'allow_adult', 'allow_all'),
  safetySetting: oneOf('block_low_and_above', 'block_medium_and_above', 'block_only_high', 'block_none'),
  maxAnswerBytes: {
    legal: (value) => Number.isSafeInteger(value) && Number(value) > 0,
    must: 'be a whole number above 0',
  },
};

/** The options of the router, and what becomes of them: one Config with nothing optional left. */
import type { BudgetStore } from './core/budget.js';
import type { ImagesEvent } from './core/events.js';
import type { ModelAlias, ModelSettings } from './core/model-settings.js';
import type { Provider } from './core/provider.js';
import type { MediaStorage } from './core/storage.js';
import type { UsageStore } from './core/usage.js';
import type { Transforms } from './core/variant.js';
import { ConfigError } from './errors.js';
import type { Identify } from './http/identify.js';
import { checkModels } from './model-options.js';
import { checkChoice, checkMethods, checkNames, checkWhole, withDefaults } from './option-checks.js';
import { resolveTransforms, type TransformOptions } from './transform-options.js';

/** What `createImagesRouter` takes. Every door is asked for in words: who, what may they use, who pays. */
export interface ImagesRouterOptions {
  /** Who draws, in the order in which providers of the same model are tried. At least one. */
  readonly providers: readonly Provider[];
  /** Where pictures are kept. */
  readonly storage: MediaStorage;
  /** Links to pictures, and how long they and the pictures live. */
  readonly media: MediaOptions;
  /** Who is asking. There is no default: an open door to a paid API has to be asked for, by `anyone()`. */
  readonly identify: Identify;
  /** Where money is kept. */
  readonly budget: BudgetStore;
  /** Where rows of usage are kept, one for each request that drew. @defaultValue nowhere; the endpoints fall through */
  readonly usage?: UsageStore | undefined;
  /** Aliases, prices, limits and order of backends, by slug. @defaultValue `{}` */
  readonly models?: Readonly<Record<string, ModelAlias | ModelSettings>> | undefined;
  /** How money is treated when things go wrong. */
  readonly spend?: SpendOptions | undefined;
  /** Origins (`https://app.example.com`) whose pages may post with a person's cookies. @defaultValue `[]` */
  readonly trustedOrigins?: readonly string[] | undefined;
  /** How pictures of providers are checked, and when they are encoded anew. */
  readonly pictures?: PictureOptions | undefined;
  /** Bounds of everything. */
  readonly limits?: LimitOptions | undefined;
  /** Takes a well-formed `X-Request-Id` of a request for its own. @defaultValue `false` */
  readonly trustRequestId?: boolean | undefined;
  /** Called with everything there is to tell; what it throws is ignored. @defaultValue nobody is told */
  readonly onEvent?: ((event: ImagesEvent) => void) | undefined;
}

/** Links to pictures, and how long they and the pictures live. */
export interface MediaOptions {
  /** Signs links; at least 32 bytes each. Of several the first signs and all verify, so that keys can change. */
  readonly secrets: string | readonly string[];
  /** Base of the router's URLs as clients see it, mount path included. @defaultValue taken from each request */
  readonly publicUrl?: string | undefined;
  /** How long a link lives, in seconds. @defaultValue `3600` */
  readonly ttlSeconds?: number | undefined;
  /** How long a link may live at most, in seconds. @defaultValue `86400` */
  readonly maxTtlSeconds?: number | undefined;
  /** How long a picture is kept, in seconds; at least a day, and at least `maxTtlSeconds`. @defaultValue `604800` */
  readonly retentionSeconds?: number | undefined;
  /**
   * Which smaller versions and other formats of a picture may be asked for; `false` is none.
   * @defaultValue common ones
   */
  readonly transforms?: TransformOptions | false | undefined;
  /**
   * Whether pictures go through this router, or clients are sent to where storage itself serves them. A `HEAD` and what
   * storage has no URL for go through it all the same.
   * @defaultValue `'proxy'`
   */
  readonly delivery?: 'proxy' | 'redirect' | undefined;
}

/** How money is treated when things go wrong. */
export interface SpendOptions {
  /**
   * What to book for a call that may or may not have been charged: its ceiling, or what it delivered.
   * @defaultValue `'charge'`
   */
  readonly unknownCost?: 'charge' | 'waive' | undefined;
  /**
   * When the budget store is down: refuse, or draw unmetered. A request with an `Idempotency-Key` is refused either
   * way, as nobody can tell whether it was drawn before. @defaultValue `'deny'`
   */
  readonly onStoreFailure?: 'deny' | 'allow' | undefined;
}

/** How pictures of providers are checked, and when they are encoded anew. */
export interface PictureOptions {
  /**
   * How a picture is checked whose pixels stay as they are: `'decode'` decodes or decompresses every pixel;
   * `'container'` trusts the container (checksums of PNG, lengths and ends of all), which costs a twentieth and lets
   * damage inside the pixels of JPEG and WebP through, and bytes behind those of PNG. @defaultValue `'decode'`
   */
  readonly verify?: 'decode' | 'container' | undefined;
  /**
   * `'needed'` encodes a picture anew only where the request asks for other pixels or another format than came, or
   * where viewers would show it differently, or where there is more among its pixels; `'always'` encodes every picture,
   * content credentials or not. @defaultValue `'needed'`
   */
  readonly reencode?: 'needed' | 'always' | undefined;
}

/** Bounds of everything. All are whole numbers of at least 1; times are less than 25 days. */
export interface LimitOptions {
  /** Bytes of a JSON body, after decompression. @defaultValue `262144` */
  readonly jsonBytes?: number | undefined;
  /** Bytes of an edit's body, pictures included. @defaultValue `67108864` */
  readonly editBytes?: number | undefined;
  /** Pixels of a picture a client sends to be edited. @defaultValue `50000000` */
  readonly inputPixels?: number | undefined;
  /** Bytes of a provider's answer, after decompression. @defaultValue `67108864` */
  readonly upstreamBytes?: number | undefined;
  /** Pixels of a picture a provider sends. @defaultValue `20000000` */
  readonly outputPixels?: number | undefined;
  /** Milliseconds `identify` may take. @defaultValue `5000` */
  readonly identifyMs?: number | undefined;
  /**
   * Milliseconds the providers of a request may take in all, once it is admitted; as long may it wait for that.
   * @defaultValue `180000`
   */
  readonly requestMs?: number | undefined;
  /** Milliseconds storage may take to answer, or to store a picture. @defaultValue `30000` */
  readonly storageMs?: number | undefined;
  /**
   * Bytes of paid pictures that may wait in temporary files while storage does not take them; `1` keeps none.
   * @defaultValue `268435456`
   */
  readonly spoolBytes?: number | undefined;
  /** Milliseconds the budget store may take to answer. @defaultValue `5000` */
  readonly budgetMs?: number | undefined;
  /** Milliseconds the usage store may take to answer. @defaultValue `30000` */
  readonly usageMs?: number | undefined;
  /** Rows of usage that may wait to be written; more are lost, with an event. @defaultValue `10000` */
  readonly usageRows?: number | undefined;
  /** Milliseconds `close()` waits for requests in flight before it cuts them off. @defaultValue `30000` */
  readonly drainMs?: number | undefined;
  /** Requests that may draw at once. @defaultValue `64` */
  readonly concurrency?: number | undefined;
  /** Requests that may wait to draw. @defaultValue `256` */
  readonly queue?: number | undefined;
  /** Upstream calls of one request that may run at once. @defaultValue `4` */
  readonly callsAtOnce?: number | undefined;
  /** Versions of pictures that may wait to be made. @defaultValue `64` */
  readonly transformQueue?: number | undefined;
}

type Complete<T> = { readonly [Key in keyof T]-?: Exclude<T[Key], undefined> };

/** The options with every default filled in. */
export interface Config {
  /** See {@link ImagesRouterOptions.providers}. */
  readonly providers: readonly Provider[];
  /** See {@link ImagesRouterOptions.storage}. */
  readonly storage: MediaStorage;
  /** See {@link ImagesRouterOptions.media}. */
  readonly media: Complete<Omit<MediaOptions, 'publicUrl' | 'secrets' | 'transforms'>> & {
    readonly transforms: Transforms;
    readonly secrets: readonly string[];
    readonly publicUrl: string | undefined;
  };
  /** See {@link ImagesRouterOptions.identify}. */
  readonly identify: Identify;
  /** See {@link ImagesRouterOptions.budget}. */
  readonly budget: BudgetStore;
  /** See {@link ImagesRouterOptions.usage}. */
  readonly usage: UsageStore | undefined;
  /** See {@link ImagesRouterOptions.models}. */
  readonly models: Readonly<Record<string, ModelAlias | ModelSettings>>;
  /** See {@link ImagesRouterOptions.spend}. */
  readonly spend: Complete<SpendOptions>;
  /** See {@link ImagesRouterOptions.trustedOrigins}. */
  readonly trustedOrigins: readonly string[];
  /** See {@link ImagesRouterOptions.pictures}. */
  readonly pictures: Complete<PictureOptions>;
  /** See {@link ImagesRouterOptions.limits}. */
  readonly limits: Complete<LimitOptions>;
  /** See {@link ImagesRouterOptions.trustRequestId}. */
  readonly trustRequestId: boolean;
  /** See {@link ImagesRouterOptions.onEvent}. */
  readonly onEvent: (event: ImagesEvent) => void;
}

const DAY_S = 86_400;

const DEFAULT_LIMITS: Complete<LimitOptions> = {
  jsonBytes: 256 * 1024,
  editBytes: 64 * 1024 * 1024,
  inputPixels: 50_000_000,
  upstreamBytes: 64 * 1024 * 1024,
  outputPixels: 20_000_000,
  identifyMs: 5_000,
  requestMs: 180_000,
  storageMs: 30_000,
  spoolBytes: 256 * 1024 * 1024,
  budgetMs: 5_000,
  usageMs: 30_000,
  usageRows: 10_000,
  drainMs: 30_000,
  concurrency: 64,
  queue: 256,
  callsAtOnce: 4,
  transformQueue: 64,
};

const DEFAULT_MEDIA = {
  publicUrl: undefined,
  ttlSeconds: 3600,
  maxTtlSeconds: DAY_S,
  retentionSeconds: 7 * DAY_S,
  delivery: 'proxy' as const,
};

const DEFAULT_SPEND: Complete<SpendOptions> = { unknownCost: 'charge', onStoreFailure: 'deny' };

const DEFAULT_PICTURES: Complete<PictureOptions> = { verify: 'decode', reencode: 'needed' };

const OPTION_NAMES = [
  ...['providers', 'storage', 'media', 'identify', 'budget', 'usage', 'models', 'spend', 'trustedOrigins'],
  ...['pictures', 'limits', 'trustRequestId', 'onEvent'],
];

// A longer timer would overflow and fire at once.
const MAX_TIMER_MS = 2 ** 31 - 1;

function checkSecrets(secrets: unknown): asserts secrets is string | readonly string[] {
  if (typeof secrets === 'string') return;
  if (!Array.isArray(secrets)) {
    throw new ConfigError('media.secrets', 'expected a secret of at least 32 bytes, or a list of them');
  }
  const wrong = secrets.findIndex((secret) => typeof secret !== 'string');
  if (wrong !== -1) throw new ConfigError(`media.secrets[${wrong}]`, 'expected text of at least 32 bytes');
}

function checkPublicUrl(publicUrl: string): void {
  if (!/^https?:\/\//.test(URL.canParse(publicUrl) ? publicUrl : '')) {
    throw new ConfigError('media.publicUrl', 'expected an absolute URL such as https://api.example.com');
  }
  if (/[?#]/.test(publicUrl)) {
    throw new ConfigError('media.publicUrl', 'expected a URL without query and fragment');
  }
}

function resolveMedia(options: MediaOptions): Config['media'] {
  checkNames(options, 'media', ['secrets', 'transforms', ...Object.keys(DEFAULT_MEDIA)]);
  const { secrets, transforms, ...rest } = options;
  checkSecrets(secrets);
  const media = withDefaults<Omit<Config['media'], 'secrets' | 'transforms'>>(DEFAULT_MEDIA, rest, 'media');
  const { publicUrl, ttlSeconds, maxTtlSeconds, retentionSeconds } = media;
  for (const [name, value] of Object.entries({ ttlSeconds, maxTtlSeconds, retentionSeconds })) {
    checkWhole(value, `media.${name}`);
  }
  if (ttlSeconds > maxTtlSeconds) {
    throw new ConfigError('media.ttlSeconds', `expected at most media.maxTtlSeconds (${maxTtlSeconds})`);
  }
  if (retentionSeconds < DAY_S)
    throw new ConfigError('media.retentionSeconds', `expected at least ${DAY_S}, a day`);
  if (retentionSeconds < maxTtlSeconds) {
    throw new ConfigError(
      'media.retentionSeconds',
      'expected at least media.maxTtlSeconds: links outlive the picture',
    );
  }
  checkChoice(media.delivery, 'media.delivery', ['proxy', 'redirect']);
  if (publicUrl !== undefined) checkPublicUrl(publicUrl);
  return {
    ...media,
    secrets: typeof secrets === 'string' ? [secrets] : secrets,
    transforms: resolveTransforms(transforms, 'media.transforms'),
  };
}

function checkProviders(providers: unknown): asserts providers is readonly Provider[] {
  if (!Array.isArray(providers) || providers.length === 0) {
    throw new ConfigError('providers', 'expected at least one provider, such as openai({ apiKey })');
  }
  const names = new Set<string>();
  providers.forEach((provider: Partial<Provider> | undefined, place) => {
    const path = `providers[${place}]`;
    checkMethods(provider, path, ['generate']);
    const { name, models } = provider ?? {};
    if (typeof name !== 'string' || name === '') throw new ConfigError(`${path}.name`, 'expected a name');
    if (names.has(name)) {
      throw new ConfigError(`${path}.name`, `another provider is named ${name} too; give one another name`);
    }
    names.add(name);
    if (!Array.isArray(models)) throw new ConfigError(`${path}.models`, 'expected a list of models');
  });
}

function checkOrigins(origins: unknown): void {
  if (!Array.isArray(origins)) throw new ConfigError('trustedOrigins', 'expected a list of origins');
  origins.forEach((origin, place) => {
    if (URL.canParse(origin) && new URL(origin).origin === origin) return;
    throw new ConfigError(`trustedOrigins[${place}]`, 'expected an origin such as https://app.example.com');
  });
}

/** Checks the options and fills in the defaults. Throws `ConfigError` with the path of what is wrong. */
export function resolveOptions(options: ImagesRouterOptions): Config {
  checkNames(options, '', OPTION_NAMES);
  const { providers, storage, budget, usage, identify, models = {}, trustedOrigins = [] } = options;
  const { trustRequestId = false, onEvent } = options;
  checkProviders(providers);
  checkMethods(storage, 'storage', ['put', 'get', 'stat', 'delete']);
  const media = resolveMedia(options.media);
  if (media.delivery === 'redirect' && typeof storage.directUrl !== 'function') {
    throw new ConfigError('media.delivery', "'redirect' needs a storage with directUrl(), such as s3()");
  }
  checkMethods(budget, 'budget', ['reserve', 'recall', 'commit', 'release', 'read']);
  if (usage !== undefined) checkMethods(usage, 'usage', ['append', 'query', 'summarize', 'export']);
  if (typeof identify !== 'function') {
    throw new ConfigError('identify', 'expected a function of the request, such as bearerKeys() or anyone()');
  }
  checkModels(models, providers);
  const spend = withDefaults(DEFAULT_SPEND, options.spend, 'spend');
  checkChoice(spend.unknownCost, 'spend.unknownCost', ['charge', 'waive']);
  checkChoice(spend.onStoreFailure, 'spend.onStoreFailure', ['deny', 'allow']);
  const pictures = withDefaults(DEFAULT_PICTURES, options.pictures, 'pictures');
  checkChoice(pictures.verify, 'pictures.verify', ['decode', 'container']);
  checkChoice(pictures.reencode, 'pictures.reencode', ['needed', 'always']);
  const limits = withDefaults(DEFAULT_LIMITS, options.limits, 'limits');
  for (const [name, value] of Object.entries(limits)) {
    checkWhole(value, `limits.${name}`, name.endsWith('Ms') ? MAX_TIMER_MS : undefined);
  }
  checkOrigins(trustedOrigins);
  if (onEvent !== undefined && typeof onEvent !== 'function') {
    throw new ConfigError('onEvent', 'expected a function of the event');
  }
  checkChoice(trustRequestId, 'trustRequestId', [true, false]);
  return {
    providers,
    storage,
    budget,
    usage,
    identify,
    models,
    spend,
    trustedOrigins,
    pictures,
    limits,
    media,
    trustRequestId,
    onEvent: onEvent ?? (() => undefined),
  };
}

/** The catalog: from the slug a client wrote to the model that draws, its backends and prices, and who may use it. */
import { ConfigError, ImagesError } from '../errors.js';
import { mayUse } from './access.js';
import type { Caller } from './caller.js';
import { type ModelStatus, modelStatus } from './lifecycle.js';
import { ceiling, isWholePrice } from './prices.js';
import type { Model, Price, Provider, Successor } from './provider.js';
import { sizeName } from './sizes.js';

/** What the host says of a slug of its own that stands for another. */
export interface ModelAlias {
  /** The slug it stands for: a provider's model, not another alias. */
  readonly aliasOf: string;
}

/** What the host says of a provider's model. */
export interface ModelSettings {
  /** Another slug that draws in its place, whatever its life at the vendor. @defaultValue the vendor's successor once it is retired */
  readonly servedBy?: string | undefined;
  /** How qualities translate when another slug draws. @defaultValue the vendor's table */
  readonly qualities?: Readonly<Record<string, string>> | undefined;
  /** Price per picture or by token; trumps the table and what the vendor reports. @defaultValue the model's own */
  readonly price?: Price | undefined;
  /** Bounds below the vendor's. @defaultValue the vendor's */
  readonly limits?: ModelLimits | undefined;
  /** Order or weights of the providers that offer it. @defaultValue the order of `providers` */
  readonly backends?: readonly BackendSettings[] | undefined;
}

/** Bounds a host sets for one model. */
export interface ModelLimits {
  /** Pictures per request, 1 to 10. @defaultValue 10 */
  readonly maxImages?: number | undefined;
  /** Code points of a prompt. @defaultValue the model's own */
  readonly maxPromptLength?: number | undefined;
}

/** Where a provider stands among those that offer a model. */
export interface BackendSettings {
  /** The provider's name. */
  readonly provider: string;
  /** Lower goes first. @defaultValue its place in the list */
  readonly priority?: number | undefined;
  /** Share of the requests among backends of the same priority. @defaultValue 1 */
  readonly weight?: number | undefined;
}

/** One provider's offer of a model. */
export interface Backend {
  /** Who draws. */
  readonly provider: Provider;
  /** Its data of the model. */
  readonly model: Model;
  /** The host's price, else the model's. */
  readonly price: Price;
  /** True when the host set the price. */
  readonly hostPriced: boolean;
  /** Lower goes first. */
  readonly priority: number;
  /** Share among backends of the same priority. */
  readonly weight: number;
}

/** A model and everyone who offers it. */
export interface CatalogEntry {
  /** Its slug. */
  readonly slug: string;
  /** Its data, as the first backend gives it. */
  readonly model: Model;
  /** Who offers it, in order; never empty. */
  readonly backends: readonly [Backend, ...Backend[]];
  /** What the host says of it. */
  readonly settings: ModelSettings;
}

/** What a slug leads to for a caller. */
export interface Target {
  /** The slug asked for: the host's alias, or that of {@link Target.asked}. */
  readonly name: string;
  /** The model asked for: its rules are the client's. */
  readonly asked: CatalogEntry;
  /** The model that draws; the same unless another serves it. */
  readonly serving: CatalogEntry;
  /** How settings translate on the way from one to the other, in order; empty when they are the same. */
  readonly successors: readonly Successor[];
  /** The asked model's status today. */
  readonly status: ModelStatus;
}

/** Looks models up. */
export interface Catalog {
  /**
   * Finds what a slug leads to. `bare` also accepts a name without its vendor where it is unambiguous. Throws
   * `MODEL_NOT_FOUND`, `MODEL_ACCESS_DENIED`, or `MODEL_UNAVAILABLE` for a retired model nobody serves.
   */
  resolve(slug: string, options: { readonly caller: Caller; readonly bare: boolean }): Target;
  /** The model of a slug, whoever draws it. Throws `MODEL_NOT_FOUND` or `MODEL_ACCESS_DENIED`. */
  find(slug: string, options: { readonly caller: Caller; readonly bare: boolean }): CatalogEntry;
  /** Every model the caller may use, by slug. */
  list(caller: Caller): readonly CatalogEntry[];
}

/** What a catalog is made of. */
export interface CatalogOptions {
  /** In the order in which they are tried. */
  readonly providers: readonly Provider[];
  /** The host's word on slugs. */
  readonly models: Readonly<Record<string, ModelAlias | ModelSettings>>;
}

/** True for a slug of the host's own. */
export function isAlias(settings: ModelAlias | ModelSettings): settings is ModelAlias {
  return 'aliasOf' in settings;
}

function backendsOf(entries: Map<string, Backend[]>, options: CatalogOptions): void {
  for (const provider of options.providers) {
    for (const model of provider.models) {
      const settings = Object.hasOwn(options.models, model.slug) ? options.models[model.slug] : undefined;
      const hostPrice = settings !== undefined && !isAlias(settings) ? settings.price : undefined;
      const price = hostPrice ?? model.price;
      if (price === undefined) {
        throw new ConfigError(
          `models['${model.slug}'].price`,
          `${provider.name} offers this model without a known price; say what a picture costs (usd(0.04)), or 0`,
        );
      }
      checkPriced(model, price);
      if (!(Number.isSafeInteger(model.maxImages) && model.maxImages >= 1)) {
        throw new ConfigError(
          `${provider.name}: ${model.slug}.maxImages`,
          `expected a whole number of at least 1, got ${model.maxImages}`,
        );
      }
      const backends = entries.get(model.slug) ?? [];
      backends.push({
        ...{ provider, model, price, hostPriced: hostPrice !== undefined },
        ...{ priority: backends.length, weight: 1 },
      });
      entries.set(model.slug, backends);
    }
  }
}

/** A size or quality without a price would be refused on every request; better to hear of it now. */
function checkPriced(model: Model, price: Price): void {
  if (!isWholePrice(price)) {
    throw new ConfigError(
      `models['${model.slug}'].price`,
      'expected amounts made by usd(), such as usd(0.04)',
    );
  }
  if (model.sizes.kind !== 'list') return;
  for (const size of model.sizes.values) {
    for (const quality of model.qualities.length === 0 ? [undefined] : model.qualities) {
      const call = { prompt: '', negativePrompt: undefined, n: 1, size, quality, inputs: 0, previews: 0 };
      if (ceiling(price, call) !== undefined) continue;
      const what = quality === undefined ? sizeName(size) : `${sizeName(size)} in quality ${quality}`;
      throw new ConfigError(`models['${model.slug}'].price`, `has no price for ${what}; add one, or '*'`);
    }
  }
}

/** Backends as the host orders and weights them; those it does not name come last. */
function ordered(backends: readonly Backend[], settings: ModelSettings, path: string): readonly Backend[] {
  const named = settings.backends ?? [];
  const places = new Map(named.map((backend, place) => [backend.provider, { ...backend, place }]));
  named.forEach(({ provider, priority = 0, weight = 1 }, place) => {
    if (!backends.some((backend) => backend.provider.name === provider)) {
      throw new ConfigError(
        `${path}.backends[${place}].provider`,
        `no provider ${provider} offers this model`,
      );
    }
    if (!Number.isFinite(priority))
      throw new ConfigError(`${path}.backends[${place}].priority`, 'expected a number');
    if (!(weight > 0))
      throw new ConfigError(`${path}.backends[${place}].weight`, 'expected a number above 0');
  });
  const last = Math.max(0, ...named.map(({ priority }, place) => priority ?? place)) + 1;
  return backends
    .map((backend): Backend => {
      const found = places.get(backend.provider.name);
      if (found === undefined) return { ...backend, priority: last + backend.priority };
      return { ...backend, priority: found.priority ?? found.place, weight: found.weight ?? 1 };
    })
    .sort((a, b) => a.priority - b.priority);
}

function createEntries(options: CatalogOptions): Map<string, CatalogEntry> {
  const offers = new Map<string, Backend[]>();
  backendsOf(offers, options);
  const entries = new Map<string, CatalogEntry>();
  for (const [slug, offered] of offers) {
    const found = Object.hasOwn(options.models, slug) ? options.models[slug] : undefined;
    if (found !== undefined && isAlias(found)) {
      throw new ConfigError(
        `models['${slug}'].aliasOf`,
        'a provider offers a model of this name; choose another',
      );
    }
    const settings = found ?? {};
    const [first, ...rest] = ordered(offered, settings, `models['${slug}']`);
    if (first === undefined) continue;
    entries.set(slug, { slug, model: first.model, backends: [first, ...rest], settings });
  }
  return entries;
}

/** Makes a catalog. Throws `ConfigError` for unpriced models, aliases of nothing and backends nobody offers. */
export function createCatalog(options: CatalogOptions): Catalog {
  const entries = createEntries(options);
  const bareNames = new Map<string, string | undefined>();
  for (const slug of entries.keys()) {
    const bare = slug.slice(slug.indexOf('/') + 1);
    bareNames.set(bare, bareNames.has(bare) ? undefined : slug);
  }

  function canonical(name: string, bare: boolean): string {
    const settings = Object.hasOwn(options.models, name) ? options.models[name] : undefined;
    if (settings !== undefined && isAlias(settings)) return settings.aliasOf;
    return (bare && !entries.has(name) ? bareNames.get(name) : undefined) ?? name;
  }

  function successorOf(entry: CatalogEntry): Successor | undefined {
    const { servedBy, qualities } = entry.settings;
    const vendors = entry.model.lifecycle?.successor;
    if (servedBy !== undefined) {
      const known = vendors?.slug === servedBy ? vendors : undefined;
      return { ...known, slug: servedBy, serves: true, qualities: qualities ?? known?.qualities };
    }
    if (vendors === undefined || modelStatus(entry.model, Date.now()) !== 'retired') return undefined;
    return qualities === undefined ? vendors : { ...vendors, qualities };
  }

  /** A model with the backends that still serve it: what one vendor retired may live on elsewhere. */
  function entryOf(slug: string): CatalogEntry | undefined {
    const entry = entries.get(slug);
    if (entry === undefined) return undefined;
    const [first, ...others] = entry.backends.filter(
      ({ model }) => modelStatus(model, Date.now()) !== 'retired',
    );
    if (first === undefined || others.length + 1 === entry.backends.length) return entry;
    return { ...entry, model: first.model, backends: [first, ...others] };
  }

  /** Follows successors to the model that draws; `undefined` when the trail ends at a retired one. */
  function served(asked: CatalogEntry): Pick<Target, 'serving' | 'successors'> | undefined {
    const successors: Successor[] = [];
    let serving = asked;
    for (let next = successorOf(asked); next !== undefined; next = successorOf(serving)) {
      const entry = entryOf(next.slug);
      // A trail longer than the catalog goes in circles.
      if (!next.serves || entry === undefined || successors.length > entries.size) return undefined;
      successors.push(next);
      serving = entry;
    }
    return modelStatus(serving.model, Date.now()) === 'retired' ? undefined : { serving, successors };
  }

  /** Every slug on the way from a model to the one that draws. */
  function trail(entry: CatalogEntry): readonly string[] {
    return [entry.slug, ...(served(entry)?.successors ?? []).map(({ slug }) => slug)];
  }

  function find(name: string, { caller, bare }: { caller: Caller; bare: boolean }): CatalogEntry {
    const slug = canonical(name, bare);
    const entry = entryOf(slug);
    if (entry === undefined) throw notFound();
    const barred = trail(entry).find((hop) => !mayUse(caller, hop));
    if (barred !== undefined) throw denied(barred);
    return entry;
  }

  return {
    find,
    resolve(name, asker) {
      const asked = find(name, asker);
      const drawn = served(asked);
      if (drawn === undefined) throw retired(asked);
      const settings = Object.hasOwn(options.models, name) ? options.models[name] : undefined;
      const written = settings !== undefined && isAlias(settings) ? name : asked.slug;
      return { name: written, asked, ...drawn, status: modelStatus(asked.model, Date.now()) };
    },
    list: (caller) =>
      [...entries.keys()]
        .flatMap((slug) => entryOf(slug) ?? [])
        .filter((entry) => trail(entry).every((slug) => mayUse(caller, slug)))
        .sort((a, b) => (a.slug < b.slug ? -1 : 1)),
  };
}

function notFound(): ImagesError {
  // The name is not repeated: it is the client's text, and may be anything.
  const message = 'There is no such model here. GET /v1/models?modality=image lists those you may use.';
  return new ImagesError('MODEL_NOT_FOUND', message, { details: [{ field: 'model', message }] });
}

function denied(slug: string): ImagesError {
  const message = `The model ${slug} is not enabled for you. GET /v1/models?modality=image lists those that are.`;
  return new ImagesError('MODEL_ACCESS_DENIED', message, { details: [{ field: 'model', message }] });
}

function retired({ slug, model }: CatalogEntry): ImagesError {
  const { shutdownAt, successor } = model.lifecycle ?? {};
  const since = shutdownAt === undefined ? '' : ` on ${shutdownAt}`;
  const instead = successor === undefined ? '' : `; use ${successor.slug}`;
  const message = `The model ${slug} was retired by its vendor${since}${instead}.`;
  return new ImagesError('MODEL_UNAVAILABLE', message, {
    reason: 'retired',
    details: [{ field: 'model', message }],
  });
}

/** The catalog: from the slug a client wrote to the model that draws, its backends and prices, and who may use it. */
import { ImagesError } from '../errors.js';
import { mayUse } from './access.js';
import { type CatalogEntry, type CatalogOptions, createEntries } from './backends.js';
import type { Caller } from './caller.js';
import { type ModelStatus, modelStatus } from './lifecycle.js';
import { isAlias } from './model-settings.js';
import type { Successor } from './provider.js';

/** What a slug stands for in listings. */
export interface Listing {
  /** The slug: the host's alias, or that of {@link Listing.asked}. */
  readonly name: string;
  /** The model of that slug: its rules are the client's. */
  readonly asked: CatalogEntry;
  /** The model that draws; `undefined` for a retired one nobody serves. */
  readonly serving: CatalogEntry | undefined;
}

/** What a slug leads to for a caller. */
export interface Target extends Listing {
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
  find(slug: string, options: { readonly caller: Caller; readonly bare: boolean }): Listing;
  /**
   * Every model the caller may use, and every alias of one, by slug; those after `after` only. They are looked up as
   * they are asked for: a page of many costs what is on it.
   */
  list(caller: Caller, after?: string | undefined): Iterable<Listing>;
}

/** Makes a catalog. Throws `ConfigError` for unpriced models, aliases of nothing and backends nobody offers. */
export function createCatalog(options: CatalogOptions): Catalog {
  const entries = createEntries(options);
  const bareNames = new Map<string, string | undefined>();
  for (const slug of entries.keys()) {
    const bare = slug.slice(slug.indexOf('/') + 1);
    bareNames.set(bare, bareNames.has(bare) ? undefined : slug);
  }

  const aliases = new Map(
    Object.entries(options.models).flatMap(([name, settings]) =>
      isAlias(settings) ? [[name, settings.aliasOf] as const] : [],
    ),
  );

  function canonical(name: string, bare: boolean): string {
    const own = aliases.get(name) ?? (entries.has(name) ? name : undefined);
    return own ?? (bare ? bareNames.get(name) : undefined) ?? name;
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

  const names = [...entries.keys(), ...aliases.keys()].sort();

  const mayRetire = new Set(
    [...entries].flatMap(([slug, { backends }]) =>
      backends.some(({ model }) => model.lifecycle?.shutdownAt !== undefined) ? [slug] : [],
    ),
  );

  /** A model with the backends that still serve it: what one vendor retired may live on elsewhere. */
  function entryOf(slug: string): CatalogEntry | undefined {
    const entry = entries.get(slug);
    if (entry === undefined || !mayRetire.has(slug)) return entry;
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

  /** The first slug the caller may not use on the way from a model to the one that draws. */
  function barredOn(asked: CatalogEntry, way: ReturnType<typeof served>, caller: Caller): string | undefined {
    const slugs = [asked.slug, ...(way?.successors ?? []).map(({ slug }) => slug)];
    return slugs.find((slug) => !mayUse(caller, slug));
  }

  function find(name: string, { caller, bare }: { caller: Caller; bare: boolean }): Listing {
    const asked = entryOf(canonical(name, bare));
    if (asked === undefined) throw notFound();
    const way = served(asked);
    const barred = barredOn(asked, way, caller);
    if (barred !== undefined) throw denied(barred);
    return { name: aliases.has(name) ? name : asked.slug, asked, serving: way?.serving };
  }

  function* list(caller: Caller, after?: string): Generator<Listing, void> {
    for (const name of names) {
      const asked = after === undefined || name > after ? entryOf(aliases.get(name) ?? name) : undefined;
      if (asked === undefined) continue;
      const way = served(asked);
      if (barredOn(asked, way, caller) === undefined) yield { name, asked, serving: way?.serving };
    }
  }

  return {
    find,
    list,
    resolve(slug, asker) {
      const { name, asked } = find(slug, asker);
      const drawn = served(asked);
      if (drawn === undefined) throw retired(asked);
      return { name, asked, ...drawn, status: modelStatus(asked.model, Date.now()) };
    },
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

/**
 * The models of all providers by slug, each with everyone who offers it, in the host's order and at the host's price.
 */
import { ConfigError } from '../errors.js';
import { isAlias, type ModelAlias, type ModelSettings } from './model-settings.js';
import { ceiling, isWholePrice } from './prices.js';
import type { Model, Price, Provider } from './provider.js';
import { sizeName } from './sizes.js';

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

/** What a catalog is made of. */
export interface CatalogOptions {
  /** In the order in which they are tried. */
  readonly providers: readonly Provider[];
  /** The host's word on slugs. */
  readonly models: Readonly<Record<string, ModelAlias | ModelSettings>>;
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
      checkPerCall(provider, model);
      const backends = entries.get(model.slug) ?? [];
      backends.push({
        provider,
        model,
        price,
        hostPriced: hostPrice !== undefined,
        priority: backends.length,
        weight: 1,
      });
      entries.set(model.slug, backends);
    }
  }
}

/** Requests are split by these: anything but a count would split them without end. */
function checkPerCall(provider: Provider, model: Model): void {
  for (const name of ['maxImages', 'maxImagesWithPreviews'] as const) {
    const most = name === 'maxImages' ? model.maxImages : (model.maxImagesWithPreviews ?? model.maxImages);
    if (Number.isSafeInteger(most) && most >= 1) continue;
    throw new ConfigError(
      `${provider.name}: ${model.slug}.${name}`,
      `expected a whole number of at least 1, got ${most}`,
    );
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

/** Makes the entries of a catalog. Throws `ConfigError` for unpriced models and backends nobody offers. */
export function createEntries(options: CatalogOptions): Map<string, CatalogEntry> {
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

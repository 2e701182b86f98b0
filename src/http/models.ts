/** Model listings on both surfaces, made of the same data that validates requests. */
import type { CatalogEntry } from '../core/backends.js';
import type { Catalog, Listing } from '../core/catalog.js';
import { type ModelStatus, modelStatus } from '../core/lifecycle.js';
import { formatUsd, isTokenPrice } from '../core/prices.js';
import type { Model, Price, PriceTable } from '../core/provider.js';
import type { Routing } from '../core/routing.js';
import { sizeName } from '../core/sizes.js';
import { invalid } from '../core/validation.js';
import { type Exchange, sendJson } from './exchange.js';
import type { Handler } from './handle.js';
import type { Intake } from './intake.js';
import { cursorAfter, pageOf } from './page.js';
import { queryOf } from './query.js';

/** What model listings take. */
export interface ModelsOptions {
  /** The steps before. */
  readonly intake: Intake;
  /** Knows the models. */
  readonly catalog: Catalog;
  /** Knows how their backends are. */
  readonly routing: Routing;
}

function sizesOf({ sizes }: Model): object {
  if (sizes.kind === 'list') {
    return { values: sizes.values.map(sizeName), default: sizeName(sizes.default) };
  }
  return {
    multiple: sizes.multiple,
    min_edge: sizes.minEdge,
    max_edge: sizes.maxEdge,
    min_pixels: sizes.minPixels,
    max_pixels: sizes.maxPixels,
    max_ratio: sizes.maxRatio,
    default: sizeName(sizes.default),
  };
}

function capabilitiesOf({ model, settings: { limits = {} } }: CatalogEntry): object {
  return {
    sizes: sizesOf(model),
    qualities: model.qualities,
    styles: model.styles,
    output_formats: ['png', 'jpeg', 'webp', 'avif'],
    max_images: Math.min(10, limits.maxImages ?? 10),
    edit: model.operations.includes('edit'),
    mask: model.features.includes('mask'),
    stream: model.maxPreviews > 0,
    seed: model.features.includes('seed'),
    negative_prompt: model.features.includes('negative_prompt'),
    background: model.backgrounds,
    max_prompt_length: Math.min(model.maxPromptLength, limits.maxPromptLength ?? model.maxPromptLength),
  };
}

function amounts(price: 0 | number | PriceTable): string | object {
  if (typeof price === 'number') return formatUsd(price);
  return Object.fromEntries(
    Object.entries(price).map(([size, row]) => [
      size,
      Object.fromEntries(Object.entries(row).map(([quality, amount]) => [quality, formatUsd(amount)])),
    ]),
  );
}

function pricingOf(price: Price): object {
  if (!isTokenPrice(price)) return { currency: 'USD', per_image: amounts(price) };
  const { textIn, imageIn, imageOut, textOut = imageOut } = price.tokens;
  return {
    currency: 'USD',
    per_million_tokens: {
      text_in: formatUsd(textIn),
      image_in: formatUsd(imageIn),
      image_out: formatUsd(imageOut),
      text_out: formatUsd(textOut),
    },
    max_per_image: amounts(price.ceiling),
  };
}

/** What the model can do is its own; what it costs and how it is are those of whoever draws for it. */
function nativeModel({ name, asked, serving }: Listing, routing: Routing): object {
  const { model } = asked;
  const { shutdownAt } = model.lifecycle ?? {};
  const { backends } = serving ?? asked;
  const successor = successorOf(asked, serving);
  return {
    slug: name,
    display_name: model.displayName,
    modality: 'image',
    status: modelStatus(model, Date.now()),
    health_status: serving === undefined ? 'unavailable' : routing.health(backends),
    active_backend_count: serving === undefined ? 0 : backends.filter(routing.isAvailable).length,
    total_backend_count: backends.length,
    capabilities: capabilitiesOf(asked),
    pricing: pricingOf(backends[0].price),
    ...(shutdownAt !== undefined && { shutdown_date: shutdownAt }),
    ...(successor !== undefined && { successor }),
  };
}

/** Who draws in a model's place, or will once it is retired. */
function successorOf({ slug, model }: CatalogEntry, serving: CatalogEntry | undefined): string | undefined {
  return serving !== undefined && serving.slug !== slug ? serving.slug : model.lifecycle?.successor?.slug;
}

function openaiModel({ name, asked: { slug, model } }: Listing): object {
  const { shutdownAt } = model.lifecycle ?? {};
  return {
    id: name,
    object: 'model',
    created: 0,
    owned_by: slug.split('/')[0],
    ...(shutdownAt !== undefined && { shutdown_date: shutdownAt }),
  };
}

const STATUSES: readonly string[] = ['active', 'deprecated', 'retired'] satisfies readonly ModelStatus[];

/** Whether a model is one a query asks for. Throws `VALIDATION_ERROR` for a status there is none of. */
function matching(query: URLSearchParams): (listing: Listing) => boolean {
  const status = query.get('status');
  if (status !== null && !STATUSES.includes(status)) {
    throw invalid([{ field: 'status', message: 'expected active, deprecated or retired' }]);
  }
  if ((query.get('modality') ?? 'image') !== 'image') return () => false;
  return ({ asked }) => status === null || modelStatus(asked.model, Date.now()) === status;
}

/** The first so many for which something holds. */
function first(listings: Iterable<Listing>, count: number, holds: (listing: Listing) => boolean): Listing[] {
  const found: Listing[] = [];
  for (const listing of listings) {
    if (found.length === count) break;
    if (holds(listing)) found.push(listing);
  }
  return found;
}

/** The slug of a path such as `/v1/models/openai/dall-e-3` or `/v1/models/openai%2Fdall-e-3`. */
function slugOf({ req }: Exchange): string {
  const path = req.path.slice(req.path.indexOf('/models/') + '/models/'.length);
  try {
    return decodeURIComponent(path);
  } catch {
    throw invalid([{ field: 'slug', message: 'expected a model slug such as openai/gpt-image-2' }]);
  }
}

/** `GET /v1/models`: the models the caller may use, a page at a time. */
export function nativeModelsHandler({ intake, catalog, routing }: ModelsOptions): Handler {
  return async (exchange) => {
    const { req, res, requestId } = exchange;
    const caller = await intake.caller(exchange, 'viewer');
    const query = queryOf(req);
    const { limit, after } = pageOf(query);
    // One more than are shown tells whether there are more.
    const found = first(catalog.list(caller, after), limit + 1, matching(query));
    const items = found.slice(0, limit);
    const last = items.at(-1);
    const hasMore = found.length > items.length;
    const nextCursor = hasMore && last !== undefined ? cursorAfter(last.name) : null;
    sendJson(res, 200, {
      status: 'ok',
      data: { items: items.map((listing) => nativeModel(listing, routing)) },
      pagination: { has_more: hasMore, next_cursor: nextCursor },
      meta: { request_id: requestId },
    });
  };
}

/** `GET /v1/models/{slug}`. */
export function nativeModelHandler({ intake, catalog, routing }: ModelsOptions): Handler {
  return async (exchange) => {
    const { res, requestId } = exchange;
    const caller = await intake.caller(exchange, 'viewer');
    const data = nativeModel(catalog.find(slugOf(exchange), { caller, bare: false }), routing);
    sendJson(res, 200, { status: 'ok', data, meta: { request_id: requestId } });
  };
}

/** `GET /oai/v1/models`. */
export function openaiModelsHandler({ intake, catalog }: ModelsOptions): Handler {
  return async (exchange) => {
    const caller = await intake.caller(exchange, 'viewer');
    sendJson(exchange.res, 200, { object: 'list', data: Array.from(catalog.list(caller), openaiModel) });
  };
}

/** `GET /oai/v1/models/{slug}`. */
export function openaiModelHandler({ intake, catalog }: ModelsOptions): Handler {
  return async (exchange) => {
    const caller = await intake.caller(exchange, 'viewer');
    sendJson(exchange.res, 200, openaiModel(catalog.find(slugOf(exchange), { caller, bare: true })));
  };
}

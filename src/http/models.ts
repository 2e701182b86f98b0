/** Model listings on both surfaces, made of the same data that validates requests. */
import type { Caller } from '../core/caller.js';
import type { Catalog, CatalogEntry } from '../core/catalog.js';
import { modelStatus } from '../core/lifecycle.js';
import { formatUsd, isTokenPrice, sizeName } from '../core/prices.js';
import type { Model, Price, PriceTable } from '../core/provider.js';
import { invalid } from '../core/rules.js';
import { type Exchange, sendJson } from './exchange.js';
import type { Handler } from './handle.js';
import type { Intake } from './intake.js';

/** What model listings take. */
export interface ModelsOptions {
  /** The steps before. */
  readonly intake: Intake;
  /** Knows the models. */
  readonly catalog: Catalog;
}

const DEFAULT_LIMIT = 100;
const MAX_LIMIT = 1000;

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

function capabilitiesOf(model: Model): object {
  return {
    sizes: sizesOf(model),
    qualities: model.qualities,
    styles: model.styles,
    output_formats: ['png', 'jpeg', 'webp', 'avif'],
    max_images: 10,
    edit: model.operations.includes('edit'),
    mask: model.features.includes('mask'),
    stream: model.maxPreviews > 0,
    seed: model.features.includes('seed'),
    negative_prompt: model.features.includes('negative_prompt'),
    background: model.backgrounds,
    max_prompt_length: model.maxPromptLength,
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

function nativeModel({ slug, model, backends }: CatalogEntry): object {
  const { shutdownAt, successor } = model.lifecycle ?? {};
  const status = modelStatus(model, Date.now());
  return {
    slug,
    display_name: model.displayName,
    modality: 'image',
    status,
    health_status: 'healthy',
    active_backend_count: backends.length,
    total_backend_count: backends.length,
    capabilities: capabilitiesOf(model),
    pricing: pricingOf(backends[0].price),
    ...(shutdownAt !== undefined && { shutdown_date: shutdownAt }),
    ...(successor !== undefined && { successor: successor.slug }),
  };
}

function openaiModel({ slug, model }: CatalogEntry): object {
  const { shutdownAt } = model.lifecycle ?? {};
  return {
    id: slug,
    object: 'model',
    created: 0,
    owned_by: slug.split('/')[0],
    ...(shutdownAt !== undefined && { shutdown_date: shutdownAt }),
  };
}

interface Page {
  readonly limit: number;
  readonly after: string | undefined;
}

function pageOf({ req }: Exchange): Page {
  const { limit, cursor } = req.query;
  const wanted = limit === undefined ? DEFAULT_LIMIT : Number(limit);
  if (!Number.isInteger(wanted) || wanted < 1 || wanted > MAX_LIMIT) {
    throw invalid([{ field: 'limit', message: `expected a whole number from 1 to ${MAX_LIMIT}` }]);
  }
  if (cursor !== undefined && typeof cursor !== 'string') {
    throw invalid([{ field: 'cursor', message: 'expected the next_cursor of the page before' }]);
  }
  return { limit: wanted, after: cursor && Buffer.from(cursor, 'base64url').toString() };
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
export function nativeModelsHandler({ intake, catalog }: ModelsOptions): Handler {
  const matching = (caller: Caller, { req }: Exchange) => {
    const { modality, status } = req.query;
    if (modality !== undefined && modality !== 'image') return [];
    return catalog
      .list(caller)
      .filter(({ model }) => status === undefined || modelStatus(model, Date.now()) === status);
  };
  return async (exchange) => {
    const { res, requestId } = exchange;
    const caller = await intake.caller(exchange, 'viewer');
    const { limit, after } = pageOf(exchange);
    const rest = matching(caller, exchange).filter(({ slug }) => after === undefined || slug > after);
    const items = rest.slice(0, limit);
    const last = items.at(-1);
    const hasMore = rest.length > items.length;
    const nextCursor = hasMore && last !== undefined ? Buffer.from(last.slug).toString('base64url') : null;
    sendJson(res, 200, {
      status: 'ok',
      data: { items: items.map(nativeModel) },
      pagination: { has_more: hasMore, next_cursor: nextCursor },
      meta: { request_id: requestId },
    });
  };
}

/** `GET /v1/models/{slug}`. */
export function nativeModelHandler({ intake, catalog }: ModelsOptions): Handler {
  return async (exchange) => {
    const { res, requestId } = exchange;
    const caller = await intake.caller(exchange, 'viewer');
    const data = nativeModel(catalog.find(slugOf(exchange), { caller, bare: false }));
    sendJson(res, 200, { status: 'ok', data, meta: { request_id: requestId } });
  };
}

/** `GET /oai/v1/models`. */
export function openaiModelsHandler({ intake, catalog }: ModelsOptions): Handler {
  return async (exchange) => {
    const caller = await intake.caller(exchange, 'viewer');
    sendJson(exchange.res, 200, { object: 'list', data: catalog.list(caller).map(openaiModel) });
  };
}

/** `GET /oai/v1/models/{slug}`. */
export function openaiModelHandler({ intake, catalog }: ModelsOptions): Handler {
  return async (exchange) => {
    const caller = await intake.caller(exchange, 'viewer');
    sendJson(exchange.res, 200, openaiModel(catalog.find(slugOf(exchange), { caller, bare: true })));
  };
}

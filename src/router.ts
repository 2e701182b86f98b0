/** The router: the only place that wires parts together. */
import { Router } from 'express';
import { createControls, type ImagesRouterControls } from './controls.js';
import { type Accounting, createAccounting, NO_ACCOUNTING } from './core/accounting.js';
import { createCatalog } from './core/catalog.js';
import { createDeadlines, type Deadlines } from './core/deadline.js';
import type { Emit, ImagesEvent } from './core/events.js';
import { createGate } from './core/gate.js';
import { createImages, overloaded } from './core/generate.js';
import { createLedger } from './core/ledger.js';
import { createRouting } from './core/routing.js';
import { createSpool } from './core/spool.js';
import { createTwins } from './core/twins.js';
import { createCalendar } from './core/windows.js';
import { budgetsHandler } from './http/budgets.js';
import { untilCutOff } from './http/disconnect.js';
import { editReader } from './http/edit.js';
import type { Surface } from './http/errors.js';
import { sendJson } from './http/exchange.js';
import { generateReader } from './http/generate.js';
import { type Handler, handle, type Methods } from './http/handle.js';
import { createIntake } from './http/intake.js';
import { createLinks } from './http/links.js';
import { mediaHandler } from './http/media.js';
import {
  nativeModelHandler,
  nativeModelsHandler,
  openaiModelHandler,
  openaiModelsHandler,
} from './http/models.js';
import { nativeDialect } from './http/native.js';
import { openaiDialect } from './http/openai.js';
import { createOpenApi } from './http/openapi.js';
import type { OperationReader } from './http/operation.js';
import { picturesHandler } from './http/pictures.js';
import { quoteHandler } from './http/quote.js';
import { signHandler } from './http/sign.js';
import { type UsageOptions, usageHandler, usageSummaryHandler } from './http/usage.js';
import { usageExportHandler } from './http/usage-export.js';
import { SAFE_HEADERS } from './media/delivery.js';
import { rememberFacts } from './media/known-facts.js';
import { createLinkSigner } from './media/link.js';
import { createKeptCheck, createLookup } from './media/lookup.js';
import { ATTEMPTS, createPictureReader, createPictureStore } from './media/picture-store.js';
import { createVariantStore } from './media/variant-store.js';
import { type Config, type ImagesRouterOptions, resolveOptions } from './options.js';
import { encoderId } from './pipeline/encode.js';
import { createFinisher } from './pipeline/finish.js';
import { imageJobs } from './pipeline/gate.js';
import { createInputChecker, createInputConverter } from './pipeline/input.js';
import { createTransformer } from './pipeline/transform.js';
import { createReadingLine } from './providers/reading-line.js';
import { createUpstreamFetch } from './providers/upstream.js';
import { createUpstreamAgents } from './providers/upstream-request.js';

/** An Express router with image generation, and what it can do beside. */
export type ImagesRouter = Router & ImagesRouterControls;

// Beyond the longest request with its pauses, and storing what came last: time to finish and settle before a hold
// counts as lost.
const LEASE_SLACK_MS = 120_000;

function createEmit({ onEvent }: Config): Emit {
  return (event) => {
    // A listener's fault must not become a request's, whether it throws or returns a promise that is rejected.
    const told = async () => onEvent({ ...event, at: Date.now() } as ImagesEvent);
    told().catch(() => undefined);
  };
}

function createRowWriter({ usage: store, limits }: Config, emit: Emit): Accounting {
  if (store === undefined) return NO_ACCOUNTING;
  return createAccounting({ store, timeoutMs: limits.usageMs, maxWaiting: limits.usageRows, emit });
}

/** Makes everything a request passes through. */
function createParts(config: Config) {
  const { limits, media, providers, spend } = config;
  const { storageMs } = limits;
  const emit = createEmit(config);
  const spool = createSpool({ storage: config.storage, maxBytes: limits.spoolBytes, storageMs, emit });
  // From here on nobody asks the host's storage itself: what waits for it counts as stored.
  const facts = rememberFacts(spool.storage);
  const { storage } = facts;
  const catalog = createCatalog({ providers, models: config.models });
  // What storage may take for one picture: should it take longer, the provider's time runs.
  const storingMs = ATTEMPTS * limits.storageMs;
  const deadlines = createDeadlines({ requestMs: limits.requestMs, maxPausedMs: storingMs });
  const signer = createLinkSigner({ secrets: media.secrets });
  const ledger = createLedger({
    store: config.budget,
    calendar: createCalendar(),
    leaseMs: limits.requestMs + 2 * storingMs + LEASE_SLACK_MS,
    timeoutMs: limits.budgetMs,
    onStoreFailure: spend.onStoreFailure,
    emit,
  });
  const accounting = createRowWriter(config, emit);
  const routing = createRouting();
  const agents = createUpstreamAgents();
  const line = createReadingLine();
  const images = createImages({
    catalog,
    ledger,
    accounting,
    routing,
    emit,
    finish: createFinisher({ maxPixels: limits.outputPixels, ...config.pictures }),
    store: createPictureStore({
      storage,
      spool,
      storageMs,
      emit,
      retentionSeconds: media.retentionSeconds,
    }),
    convertInput: createInputConverter({ maxPixels: limits.inputPixels }),
    admission: createGate({ limit: limits.concurrency, queue: limits.queue, full: overloaded }),
    callsAtOnce: limits.callsAtOnce,
    unknownCost: spend.unknownCost,
    upstreamFetch: (signal) => createUpstreamFetch({ maxBytes: limits.upstreamBytes, signal, agents, line }),
  });
  const intake = createIntake({
    identify: config.identify,
    identifyMs: limits.identifyMs,
    trustedOrigins: config.trustedOrigins,
    jsonBytes: limits.jsonBytes,
    deadlines,
  });
  const readPicture = createPictureReader({ storage, storageMs, emit });
  const lookup = createLookup({ facts, storageMs, emit });
  const isKept = createKeptCheck(lookup);
  const links = createLinks({ signer, ttlSeconds: media.ttlSeconds, publicUrl: media.publicUrl });
  return {
    emit,
    catalog,
    routing,
    deadlines,
    signer,
    ledger,
    accounting,
    images,
    twins: createTwins(ledger),
    intake,
    links,
    readPicture,
    isKept,
    lookup,
    storage,
    spool,
    agents,
  };
}

type Parts = ReturnType<typeof createParts>;

function createVariants({ limits }: Config, { storage, lookup, readPicture, emit }: Parts) {
  const { storageMs, transformQueue, outputPixels } = limits;
  return createVariantStore({
    storage,
    storageMs,
    lookup,
    readPicture,
    emit,
    makeVariant: createTransformer({ maxPixels: outputPixels }),
    // As many as image jobs run at once, so that pictures somebody paid for wait behind few of them.
    gate: createGate({ limit: imageJobs.limit, queue: transformQueue, full: overloaded }),
  });
}

// No error is remembered either, whatever the host says of its own answers.
const MEDIA_HEADERS = { ...SAFE_HEADERS, 'Cache-Control': 'no-store' };

type Route = readonly [path: string | RegExp, surface: Surface, methods: Methods];

function routesOf(config: Config, parts: Parts, openapi: object): readonly Route[] {
  const { intake, deadlines } = parts;
  const { media, usage } = config;
  const { storageMs, usageMs, editBytes, inputPixels } = config.limits;
  const checkInput = createInputChecker({ maxPixels: inputPixels });
  const generate = generateReader(intake);
  const edit = editReader({ intake, editBytes, checkInput });
  const native = (reader: OperationReader) => ({ POST: picturesHandler(parts, nativeDialect, reader) });
  const openai = (reader: OperationReader) => ({ POST: picturesHandler(parts, openaiDialect, reader) });
  const variants = createVariants(config, parts);
  const redirects = media.delivery === 'redirect';
  const versions = { variants, transforms: media.transforms, encoderId };
  const stored = { ...parts, storageMs, maxTtlSeconds: media.maxTtlSeconds };
  return [
    // Pictures come first: they are asked for far more often than made, and each route that is tried costs.
    ['/v1/media/sign', 'native', { POST: signHandler(stored) }],
    [
      /^\/v1\/media\/[^/]+$/,
      'native',
      { GET: mediaHandler({ ...parts, ...versions, redirects }), headers: MEDIA_HEADERS },
    ],
    ['/v1/inference/images/generate', 'native', native(generate)],
    ['/v1/inference/images/edit', 'native', native(edit)],
    ['/v1/inference/images/quote', 'native', { POST: quoteHandler(parts, generate) }],
    ['/oai/v1/images/generations', 'openai', openai(generate)],
    ['/oai/v1/images/edits', 'openai', openai(edit)],
    ['/v1/models', 'native', { GET: nativeModelsHandler(parts) }],
    [/^\/v1\/models\/.+/, 'native', { GET: nativeModelHandler(parts) }],
    ['/oai/v1/models', 'openai', { GET: openaiModelsHandler(parts) }],
    [/^\/oai\/v1\/models\/.+/, 'openai', { GET: openaiModelHandler(parts) }],
    ['/v1/accounting/budgets', 'native', counted(deadlines, budgetsHandler(parts))],
    ...(usage === undefined ? [] : accountingRoutes({ intake, deadlines, usage, usageMs })),
    [
      '/v1/images/openapi.json',
      'native',
      {
        GET: ({ req, res }) => sendJson(res, 200, { ...openapi, servers: [{ url: parts.links.base(req) }] }),
      },
    ],
  ];
}

/** A GET that shutdown waits for, so that no store is closed while it is asked. */
function counted(deadlines: Deadlines, handler: Handler): Methods {
  return { GET: (exchange) => untilCutOff(deadlines, async () => handler(exchange)) };
}

function accountingRoutes(options: UsageOptions): readonly Route[] {
  const { deadlines } = options;
  return [
    ['/v1/accounting/usage', 'native', counted(deadlines, usageHandler(options))],
    ['/v1/accounting/usage/summary', 'native', counted(deadlines, usageSummaryHandler(options))],
    ['/v1/accounting/export', 'native', { GET: usageExportHandler(options) }],
  ];
}

/**
 * Makes an Express router with image generation, model listings and the media proxy. Throws `ConfigError` for wrong
 * options; does no I/O.
 */
export function createImagesRouter(options: ImagesRouterOptions): ImagesRouter {
  const config = resolveOptions(options);
  const parts = createParts(config);
  const openapi = createOpenApi({ ...config.media, usage: config.usage !== undefined });
  const router = Router({ caseSensitive: true });
  const { emit } = parts;
  const { trustRequestId } = config;
  // No middleware for the whole router: mounted at the root it would touch the host's own routes.
  for (const [path, surface, methods] of routesOf(config, parts, openapi)) {
    router.all(path, handle({ surface, trustRequestId, emit }, methods));
  }
  return Object.assign(router, createControls(config, parts), { openapi });
}

/**
 * One call of a request: from the backends that may serve it to delivered pictures, and what is booked for it. A
 * backend that failed without a bill makes room for the next one.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { ImagesError, isImagesError, isProviderError, ProviderError } from '../errors.js';
import type { Backend } from './catalog.js';
import {
  type DeliveredPicture,
  type DeliveryOrder,
  type DeliveryTools,
  deliverPicture,
  finishPreview,
} from './delivery.js';
import type { Emit } from './events.js';
import { abortable } from './iterate.js';
import type { PictureFacts } from './outcome.js';
import type { FinishedPicture } from './picture.js';
import { ceiling, type PricedCall } from './prices.js';
import type { EndEvent, GenerateCall, GenerateEvent, TokenUsage } from './provider.js';
import { mayFailOver, type Routing } from './routing.js';
import { type Booking, type CallOutcome, settle } from './spend.js';

/** What a call tells the request it belongs to. `index` counts through the whole request. */
export type CallEvent =
  | {
      readonly type: 'preview';
      readonly index: number;
      readonly step: number;
      readonly picture: FinishedPicture;
    }
  | { readonly type: 'picture'; readonly picture: DeliveredPicture }
  | { readonly type: 'failed'; readonly index: number; readonly error: ImagesError };

/** What a call needs of the router. */
export interface CallTools extends DeliveryTools {
  /** Chooses backends. */
  readonly routing: Routing;
  /** Makes the outbound fetch of one call. */
  readonly upstreamFetch: (signal: AbortSignal) => typeof globalThis.fetch;
  /** What to book when nobody knows whether the vendor charged. */
  readonly unknownCost: 'charge' | 'waive';
  /** Raises events. */
  readonly emit: Emit;
}

/** One call of a request. */
export interface CallOrder extends DeliveryOrder {
  /** Who may draw. */
  readonly backends: readonly Backend[];
  /** The index of its first picture in the request. */
  readonly offset: number;
  /** What it asks, as prices see it. */
  readonly priced: PricedCall;
}

/** How a call stands, kept up to date while it runs: settlement reads it however the call ends. */
export interface CallRecord {
  /** How its last attempt ended. */
  outcome: CallOutcome;
  /** What is booked for it. */
  booking: Booking;
  /** Pictures that arrived from the provider. */
  arrived: number;
  /** Pictures that were finished and delivered. */
  readonly pictures: PictureFacts[];
  /** Pictures that were not, with the reason, by index in the request. */
  readonly failures: Map<number, ImagesError>;
}

/** The record of a call that has not begun. */
export function newCallRecord(): CallRecord {
  return {
    outcome: { type: 'unsent' },
    booking: { microUsd: 0, images: 0 },
    arrived: 0,
    pictures: [],
    failures: new Map(),
  };
}

/** What the vendor counted, once a call ended well. */
export function usageOf({ outcome }: CallRecord): TokenUsage | undefined {
  return outcome.type === 'ended' ? outcome.end.usage : undefined;
}

interface Attempt {
  readonly order: CallOrder;
  readonly record: CallRecord;
  readonly tools: CallTools;
  readonly backend: Backend;
  /** Indexes within the call that have their picture or their refusal. */
  readonly answered: Set<number>;
}

const PAUSE_MS = 250;

/** Runs a call and keeps its record. Never throws: what went wrong is in the record and in `failed` events. */
export async function* runCall(
  order: CallOrder,
  record: CallRecord,
  tools: CallTools,
): AsyncGenerator<CallEvent, void> {
  const { offset, priced, deadline } = order;
  const answered = new Set<number>();
  let firstError: unknown;
  let previous: Backend | undefined;
  for (const backend of route(order, tools)) {
    if (backend === previous && !(await pausedFor(record.outcome, deadline.upstream))) break;
    // What was never sent is not charged.
    if (deadline.upstream.aborted) break;
    const turn = tools.routing.begin(backend);
    if (turn === undefined) continue;
    previous = backend;
    yield* attempt({ order, record, tools, backend, answered }, turn.end);
    if (record.outcome.type !== 'failed') break;
    firstError ??= record.outcome.error;
    if (answered.size > 0 || !mayFailOver(record.outcome.error)) break;
  }
  const missing = missingError(record.outcome, { firstError, order, tools });
  for (let index = 0; index < priced.n; index += 1) {
    if (!answered.has(index)) yield fail(record, offset + index, missing);
  }
}

/** The backends in the order in which they are tried. A lone one gets a second chance. */
function route({ backends }: CallOrder, { routing }: CallTools): readonly Backend[] {
  const [only, ...others] = routing.order(backends);
  if (only === undefined) return [];
  return others.length === 0 ? [only, only] : [only, ...others];
}

/** Waits a moment before the same backend is tried again; false when that would be pointless. */
async function pausedFor(outcome: CallOutcome, signal: AbortSignal): Promise<boolean> {
  if (outcome.type !== 'failed' || !isProviderError(outcome.error)) return false;
  if (outcome.error.kind !== 'unavailable') return false;
  const waited = sleep(PAUSE_MS * (0.5 + Math.random()), true, { signal });
  return waited.catch(() => false);
}

/** One backend's turn, settled and reported however it ends. */
async function* attempt(turn: Attempt, report: (error: unknown) => void): AsyncGenerator<CallEvent, void> {
  const { record } = turn;
  const startedAt = performance.now();
  try {
    yield* drive(turn);
  } finally {
    report(record.outcome.type === 'failed' ? record.outcome.error : undefined);
    close(turn, performance.now() - startedAt);
  }
}

/** Reads the provider's events to their end. */
async function* drive(turn: Attempt): AsyncGenerator<CallEvent, void> {
  const { order, record, tools, backend } = turn;
  const { upstream } = order.deadline;
  let end: EndEvent | undefined;
  try {
    record.outcome = { type: 'failed', error: new Error('the call was left before it ended') };
    const events = backend.provider.generate(providerCall(order, backend, tools));
    for await (const event of abortable(events, upstream)) {
      if (event.type === 'end') {
        end = event;
        break;
      }
      const told = await tell(event, turn);
      if (told !== undefined) yield told;
    }
    record.outcome = end === undefined ? { type: 'failed', error: unfinished() } : { type: 'ended', end };
  } catch (error) {
    record.outcome = { type: 'failed', error: upstream.aborted ? upstream.reason : error };
  }
}

/** True for a whole number from 0 to `count` − 1. */
function isPlace(value: number, count: number): boolean {
  return Number.isInteger(value) && value >= 0 && value < count;
}

/** What becomes of one event of the provider; nothing for what nobody asked for. */
async function tell(event: Exclude<GenerateEvent, EndEvent>, turn: Attempt): Promise<CallEvent | undefined> {
  const { order, record, tools, backend, answered } = turn;
  // Surplus pictures, previews and second answers are dropped: nobody asked for them, nobody pays for them.
  if (!isPlace(event.index, order.priced.n) || answered.has(event.index)) return undefined;
  const index = order.offset + event.index;
  if (event.type === 'preview') {
    if (!isPlace(event.step, order.priced.previews)) return undefined;
    const picture = await finishPreview(event.image, order, tools);
    return picture === undefined ? undefined : { type: 'preview', index, step: event.step, picture };
  }
  answered.add(event.index);
  if (event.type === 'blocked') return fail(record, index, withheld(event.reason));
  record.arrived += 1;
  try {
    const picture = await deliverPicture(event, { ...order, model: backend.model.slug, index }, tools);
    const { bytes: _, ...facts } = picture;
    record.pictures.push(facts);
    return { type: 'picture', picture };
  } catch (error) {
    // A picture's failure is its own: the others of the call go on.
    if (isImagesError(error) && !order.deadline.signal.aborted) return fail(record, index, error);
    answered.delete(event.index);
    throw error;
  }
}

function providerCall(order: CallOrder, backend: Backend, tools: CallTools): GenerateCall {
  const { offset, priced, plan, requestId, deadline } = order;
  const { settings, format, compression } = plan;
  const { model } = backend;
  const { seed } = settings;
  const native = format !== undefined && model.formats.includes(format);
  return {
    ...settings,
    requestId,
    model,
    n: priced.n,
    previews: Math.min(settings.previews, model.maxPreviews),
    outputFormat: native ? format : undefined,
    outputCompression: native ? compression : undefined,
    seed: seed === undefined ? undefined : (seed + offset) % 2 ** 32,
    signal: deadline.upstream,
    fetch: tools.upstreamFetch(deadline.upstream),
  };
}

function fail(record: CallRecord, index: number, error: ImagesError): CallEvent {
  record.failures.set(index, error);
  return { type: 'failed', index, error };
}

interface Missing {
  readonly firstError: unknown;
  readonly order: CallOrder;
  readonly tools: CallTools;
}

/** What the client is told of the pictures a call never answered for: where all backends failed, what the first said. */
function missingError(outcome: CallOutcome, { firstError, order, tools }: Missing): ImagesError {
  if (outcome.type === 'ended') {
    return new ProviderError('shape', 'The provider sent fewer pictures than asked.', { billed: 'unknown' });
  }
  const { reason } = order.deadline.upstream;
  if (outcome.type === 'unsent') {
    return isImagesError(reason) ? reason : unavailable(tools.routing.retryAfter(order.backends));
  }
  const error = mayFailOver(outcome.error) ? firstError : outcome.error;
  if (isProviderError(error)) return error;
  // The deadline's and the shutdown's own words.
  if (isImagesError(error) && error === reason) return error;
  return new ProviderError('unavailable', 'The provider failed.', { billed: 'unknown', cause: error });
}

function unavailable(retryAfter: number): ImagesError {
  const message = 'The model is not available at the moment: every backend of it has failed lately.';
  return new ImagesError('MODEL_UNAVAILABLE', message, { retryAfter });
}

function withheld(reason: string): ImagesError {
  const category = /^[\w ,/-]{1,64}$/.test(reason) ? ` (${reason})` : '';
  const message = `The provider's safety system withheld this picture${category}.`;
  return new ProviderError('content_filtered', message, { billed: 'unknown' });
}

function unfinished(): ProviderError {
  const message = 'The provider broke off in the middle of its answer.';
  return new ProviderError('shape', message, { billed: 'unknown' });
}

/** Settles an attempt and tells the host about it. Attempts before it were not billed. */
function close({ order, record, backend, tools }: Attempt, latencyMs: number): void {
  const { priced, requestId } = order;
  const { emit, unknownCost } = tools;
  const { outcome, arrived } = record;
  // The ceiling of the one that was called: dearer ones only had to be held for.
  const share = ceiling(backend.price, priced) ?? 0;
  record.booking = settle({
    ...{ call: priced, price: backend.price, hostPriced: backend.hostPriced, share, unknownCost },
    ...{ delivered: arrived, outcome },
  });
  const { microUsd: costMicroUsd, oddity } = record.booking;
  const model = backend.model.slug;
  const about = { requestId, model, costMicroUsd };
  if (oddity === 'ceiling_exceeded') {
    emit({ type: 'price.ceiling_exceeded', level: 'warn', ...about, ceilingMicroUsd: share });
  }
  if (oddity === 'usage_implausible') {
    emit({ type: 'usage.implausible', level: 'warn', ...about, usage: usageOf(record) });
  }
  // A call that ended well may still have brought pictures nobody can deliver: the event says why.
  const [undelivered] = record.failures.values();
  const error = outcome.type === 'failed' ? outcome.error : undelivered;
  emit({
    ...{ type: 'upstream.call', level: error === undefined ? 'info' : 'warn', ...about, error, latencyMs },
    ...{ provider: backend.provider.name, asked: priced.n, images: arrived },
    upstreamId: outcome.type === 'ended' ? outcome.end.upstreamId : upstreamIdOf(error),
  });
}

function upstreamIdOf(error: unknown): string | undefined {
  return isProviderError(error) ? error.upstreamId : undefined;
}

/** One upstream call: from the provider's events to finished, stored pictures, and what is booked for it. */
import { ImagesError, isProviderError, ProviderError } from '../errors.js';
import type { Backend } from './catalog.js';
import type { Deadline } from './deadline.js';
import type { Emit } from './events.js';
import type { ImageContentType, Size } from './image.js';
import { abortable } from './iterate.js';
import type { FinishedPicture, FinishPicture, StoredPicture, StorePicture } from './picture.js';
import type { PricedCall } from './prices.js';
import type { EndEvent, GenerateCall, ImageEvent, PreviewEvent, TokenUsage } from './provider.js';
import type { Plan } from './rules.js';
import { type Booking, type CallOutcome, settle } from './spend.js';

/** What a call tells the request it belongs to. `index` counts through the whole request. */
export type CallEvent =
  | {
      readonly type: 'preview';
      readonly index: number;
      readonly step: number;
      readonly picture: FinishedPicture;
    }
  | { readonly type: 'picture'; readonly index: number; readonly picture: DeliveredPicture }
  | { readonly type: 'failed'; readonly index: number; readonly error: ImagesError };

/** A picture on its way to the client. */
export interface DeliveredPicture {
  /** Where it is kept, if it is. */
  readonly stored: StoredPicture | undefined;
  /** Its bytes, where they are wanted; else they are let go, so that a request holds one picture at a time. */
  readonly bytes: Uint8Array | undefined;
  /** How many bytes it has. */
  readonly byteLength: number;
  /** Its type. */
  readonly contentType: ImageContentType;
  /** Its pixels. */
  readonly size: Size;
  /** The prompt as the vendor rewrote it. */
  readonly revisedPrompt: string | undefined;
  /** The seed it was drawn from. */
  readonly seed: number | undefined;
}

/** What a call needs of the router. */
export interface CallTools {
  /** Checks and finishes pictures. */
  readonly finish: FinishPicture;
  /** Keeps pictures. */
  readonly store: StorePicture;
  /** Makes the outbound fetch of one call. */
  readonly upstreamFetch: (signal: AbortSignal) => typeof globalThis.fetch;
  /** What to book when nobody knows whether the vendor charged. */
  readonly unknownCost: 'charge' | 'waive';
  /** Raises events. */
  readonly emit: Emit;
}

/** One call of a request. */
export interface CallOrder {
  /** Who draws. */
  readonly backend: Backend;
  /** The index of its first picture in the request. */
  readonly offset: number;
  /** What it asks, as prices see it. */
  readonly priced: PricedCall;
  /** Its part of the hold, in micro-dollars. */
  readonly share: number;
  /** What was agreed with the client. */
  readonly plan: Plan;
  /** Whose pictures these become. */
  readonly tenant: string;
  /** The request's id. */
  readonly requestId: string;
  /** When to stop. */
  readonly deadline: Deadline;
  /** What becomes of pictures. */
  readonly delivery: Delivery;
}

/** What becomes of finished pictures. */
export interface Delivery {
  /** Stores them. */
  readonly stored: boolean;
  /** Hands their bytes over. */
  readonly bytes: boolean;
}

/** How a call stands, kept up to date while it runs: settlement reads it however the call ends. */
export interface CallRecord {
  /** How it ended. */
  outcome: CallOutcome;
  /** What is booked for it. */
  booking: Booking;
  /** Pictures that arrived from the provider. */
  arrived: number;
  /** Pictures that were finished and delivered. */
  delivered: number;
  /** Pictures that were not, with the reason, by index in the request. */
  readonly failures: Map<number, ImagesError>;
}

/** The record of a call that has not begun. */
export function newCallRecord(): CallRecord {
  return {
    outcome: { type: 'unsent' },
    booking: { microUsd: 0, images: 0 },
    arrived: 0,
    delivered: 0,
    failures: new Map(),
  };
}

/** What the vendor counted, once a call ended well. */
export function usageOf(record: CallRecord): TokenUsage | undefined {
  return record.outcome.type === 'ended' ? record.outcome.end.usage : undefined;
}

/** Runs a call and keeps its record. Never throws: what went wrong is in the record and in `failed` events. */
export async function* runCall(
  order: CallOrder,
  record: CallRecord,
  tools: CallTools,
): AsyncGenerator<CallEvent, void> {
  const startedAt = performance.now();
  const { offset, priced } = order;
  const answered = new Set<number>();
  try {
    yield* drive(order, record, { answered, tools });
  } catch (cause) {
    // Only a fault of ours ends here; the vendor's are in the record already.
    record.outcome = { type: 'failed', error: cause };
  } finally {
    close(order, record, { latencyMs: performance.now() - startedAt, tools });
  }
  const missing = missingError(record.outcome);
  for (let index = 0; index < priced.n; index += 1) {
    if (!answered.has(index)) yield fail(record, offset + index, missing);
  }
}

interface Progress {
  readonly answered: Set<number>;
  readonly tools: CallTools;
}

/** Reads the provider's events to their end. */
async function* drive(
  order: CallOrder,
  record: CallRecord,
  progress: Progress,
): AsyncGenerator<CallEvent, void> {
  const { backend, offset, priced, deadline } = order;
  const { answered, tools } = progress;
  const call = providerCall(order, tools);
  let end: EndEvent | undefined;
  try {
    deadline.upstream.throwIfAborted();
    record.outcome = { type: 'failed', error: new Error('the call was left before it ended') };
    for await (const event of abortable(backend.provider.generate(call), deadline.upstream)) {
      if (event.type === 'end') {
        end = event;
        break;
      }
      // Surplus pictures and second answers are dropped: nobody asked for them, nobody pays for them.
      if (!Number.isInteger(event.index) || event.index < 0 || event.index >= priced.n) continue;
      const index = offset + event.index;
      if (event.type === 'preview') {
        const picture = await preview(event, order, tools);
        if (picture !== undefined) yield { type: 'preview', index, step: event.step, picture };
        continue;
      }
      if (answered.has(event.index)) continue;
      answered.add(event.index);
      if (event.type === 'blocked') {
        yield fail(record, index, withheld(event.reason));
        continue;
      }
      record.arrived += 1;
      yield await deliver(event, index, { order, record, tools });
    }
    record.outcome = end === undefined ? { type: 'failed', error: unfinished() } : { type: 'ended', end };
  } catch (error) {
    record.outcome = { type: 'failed', error: deadline.upstream.aborted ? deadline.upstream.reason : error };
  }
}

function providerCall(order: CallOrder, tools: CallTools): GenerateCall {
  const { backend, offset, priced, plan, requestId, deadline } = order;
  const { seed } = plan.settings;
  return {
    ...plan.settings,
    requestId,
    model: backend.model,
    n: priced.n,
    seed: seed === undefined ? undefined : (seed + offset) % 2 ** 32,
    signal: deadline.upstream,
    fetch: tools.upstreamFetch(deadline.upstream),
  };
}

/** A preview, cleaned like any picture. One that cannot be is left out: it is a courtesy. */
async function preview(
  event: PreviewEvent,
  order: CallOrder,
  tools: CallTools,
): Promise<FinishedPicture | undefined> {
  const { format, compression } = order.plan;
  const { signal } = order.deadline;
  try {
    return await tools.finish({ bytes: event.image.bytes, size: undefined, format, compression, signal });
  } catch {
    signal.throwIfAborted();
    return undefined;
  }
}

interface Arrival {
  readonly order: CallOrder;
  readonly record: CallRecord;
  readonly tools: CallTools;
}

/** Finishes and stores one picture. Its failure is its own: the others of the call go on. */
async function deliver(event: ImageEvent, index: number, arrival: Arrival): Promise<CallEvent> {
  const { order, record, tools } = arrival;
  const { plan, deadline, tenant, requestId, backend } = order;
  // Pictures that came in time are finished even when the time for providers is up meanwhile: they are paid for.
  const { signal } = deadline;
  try {
    const { size, format, compression } = plan;
    const picture = await tools.finish({ bytes: event.image.bytes, size, format, compression, signal });
    const owner = { tenant, requestId, model: backend.model.slug, signal };
    const stored = order.delivery.stored ? await tools.store(picture, owner) : undefined;
    record.delivered += 1;
    const bytes = order.delivery.bytes ? picture.bytes : undefined;
    return { type: 'picture', index, picture: delivered(event, picture, { stored, bytes }) };
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    return fail(record, index, ours(error));
  }
}

function delivered(
  event: ImageEvent,
  picture: FinishedPicture,
  kept: Pick<DeliveredPicture, 'stored' | 'bytes'>,
): DeliveredPicture {
  const { contentType, size } = picture;
  return {
    ...kept,
    byteLength: picture.bytes.byteLength,
    contentType,
    size,
    revisedPrompt: event.revisedPrompt,
    seed: event.seed,
  };
}

function fail(record: CallRecord, index: number, error: ImagesError): CallEvent {
  record.failures.set(index, error);
  return { type: 'failed', index, error };
}

/** What the client is told of the pictures a call never answered for. */
function missingError(outcome: CallOutcome): ImagesError {
  if (outcome.type === 'ended') {
    return new ProviderError('shape', 'The provider sent fewer pictures than asked.', { billed: 'unknown' });
  }
  return outcome.type === 'unsent' ? ours(undefined) : upstream(outcome.error);
}

function withheld(reason: string): ImagesError {
  const category = /^[\w ,/-]{1,64}$/.test(reason) ? ` (${reason})` : '';
  const message = `The provider's safety system withheld this picture${category}.`;
  return new ProviderError('content_filtered', message, { billed: 'unknown' });
}

function unfinished(): ProviderError {
  return new ProviderError('shape', 'The provider broke off in the middle of its answer.', {
    billed: 'unknown',
  });
}

/** An error of a provider as a client may see it: the adapter's own sentence, or ours. */
function upstream(error: unknown): ImagesError {
  if (isProviderError(error) || (error instanceof ImagesError && error.code === 'BACKEND_TIMEOUT'))
    return error;
  if (error instanceof ImagesError && error.code === 'OVERLOADED') return error;
  return new ProviderError('unavailable', 'The provider failed.', { billed: 'unknown', cause: error });
}

function ours(error: unknown): ImagesError {
  if (error instanceof ImagesError) return error;
  const message = 'The picture could not be finished because of a fault on our side.';
  return new ImagesError('INTERNAL_ERROR', message, { cause: error });
}

/** Settles the call and tells the host about it. */
function close(order: CallOrder, record: CallRecord, end: { latencyMs: number; tools: CallTools }): void {
  const { backend, priced, share, requestId } = order;
  const { emit, unknownCost } = end.tools;
  const { outcome, arrived } = record;
  record.booking = settle({
    ...{ call: priced, price: backend.price, hostPriced: backend.hostPriced, share, unknownCost },
    ...{ delivered: arrived, outcome },
  });
  const costMicroUsd = record.booking.microUsd;
  const model = backend.model.slug;
  if (record.booking.oddity === 'ceiling_exceeded') {
    const type = 'price.ceiling_exceeded';
    emit({ type, level: 'warn', requestId, model, ceilingMicroUsd: share, costMicroUsd });
  }
  if (record.booking.oddity === 'usage_implausible') {
    emit({
      type: 'usage.implausible',
      level: 'warn',
      requestId,
      model,
      usage: usageOf(record),
      costMicroUsd,
    });
  }
  if (outcome.type === 'unsent') return;
  const error = outcome.type === 'failed' ? outcome.error : undefined;
  emit({
    type: 'upstream.call',
    level: error === undefined ? 'info' : 'warn',
    requestId,
    provider: backend.provider.name,
    model,
    asked: priced.n,
    images: arrived,
    costMicroUsd,
    latencyMs: end.latencyMs,
    upstreamId: outcome.type === 'ended' ? outcome.end.upstreamId : upstreamIdOf(error),
    error,
  });
}

function upstreamIdOf(error: unknown): string | undefined {
  return isProviderError(error) ? error.upstreamId : undefined;
}

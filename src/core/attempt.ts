/** One backend's turn at a call: its events become delivered pictures, and it is settled however it ends. */
import { ImagesError, isImagesError, isProviderError, ProviderError } from '../errors.js';
import type { Backend } from './backends.js';
import {
  type CallEvent,
  type CallOrder,
  type CallRecord,
  type CallTools,
  recordFailure,
  usageOf,
} from './call-record.js';
import { deliverPicture, finishPreview } from './delivery.js';
import { abortable } from './iterate.js';
import { ceiling } from './prices.js';
import type { EndEvent, GenerateCall, GenerateEvent } from './provider.js';
import { readableInputs } from './readable.js';
import { NOTHING_LEARNED } from './routing.js';
import { billedOf, type SettledCall, settle } from './spend.js';

/** What one backend's turn at a call takes. */
export interface Attempt {
  /** The call. */
  readonly order: CallOrder;
  /** Its record. */
  readonly record: CallRecord;
  /** What the router gives it. */
  readonly tools: CallTools;
  /** Whose turn it is. */
  readonly backend: Backend;
  /** Indexes within the call that have their picture or their refusal. */
  readonly answered: Set<number>;
}

/** One backend's turn, settled and reported however it ends. */
export async function* runAttempt(
  turn: Attempt,
  report: (error: unknown) => void,
): AsyncGenerator<CallEvent, void> {
  const startedAt = performance.now();
  try {
    yield* drive(turn);
  } finally {
    report(lessonOf(turn));
    close(turn, performance.now() - startedAt);
  }
}

/** Why a call failed that nobody waited for. */
const LEFT: Error = new Error('the call was left before it ended');

/** Reads the provider's events to their end. */
async function* drive(turn: Attempt): AsyncGenerator<CallEvent, void> {
  const { order, record, tools, backend } = turn;
  const { upstream } = order.deadline;
  let end: EndEvent | undefined;
  try {
    record.outcome = { type: 'failed', error: LEFT };
    const events = backend.provider.generate(await providerCall(order, backend, tools));
    for await (const event of abortable(events, upstream)) {
      if (event.type === 'end') {
        end = event;
        break;
      }
      const resume = order.deadline.pause();
      const told = await tell(event, turn).finally(resume);
      if (told !== undefined) yield told;
    }
    record.outcome = end === undefined ? { type: 'failed', error: unfinished() } : { type: 'ended', end };
  } catch (error) {
    // A provider that knows of no bill knows more than we do: a call may be given up before it was sent.
    const isOurs = upstream.aborted && billedOf(error) !== 'no';
    record.outcome = { type: 'failed', error: isOurs ? upstream.reason : error };
  }
}

/** What a backend's circuit is told of a turn. */
function lessonOf({ record: { outcome }, order }: Attempt): unknown {
  if (outcome.type !== 'failed') return undefined;
  const isUnsent = order.deadline.upstream.aborted && billedOf(outcome.error) === 'no';
  return isUnsent ? NOTHING_LEARNED : outcome.error;
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
    const picture = await finishPreview(event, order, tools);
    return picture === undefined ? undefined : { type: 'preview', index, step: event.step, picture };
  }
  answered.add(event.index);
  if (event.type === 'blocked') return recordFailure(record, index, withheld(event.reason));
  record.arrived += 1;
  try {
    const { model, provider } = backend;
    const { contentCredentials = false } = provider;
    const drawn = { ...order, model: model.slug, index, contentCredentials };
    const picture = await deliverPicture(event, drawn, tools);
    const { bytes, release: _, ...facts } = picture;
    if (bytes === undefined && facts.stored?.waiting) {
      record.waiting.push(facts);
      return recordFailure(record, index, notYetStored());
    }
    record.pictures.push(facts);
    return { type: 'picture', picture };
  } catch (error) {
    // A picture's failure is its own: the others of the call go on.
    if (isImagesError(error) && !order.deadline.signal.aborted) return recordFailure(record, index, error);
    answered.delete(event.index);
    throw error;
  }
}

async function providerCall(order: CallOrder, backend: Backend, tools: CallTools): Promise<GenerateCall> {
  const { offset, priced, plan, requestId, deadline } = order;
  const { settings, format, compression } = plan;
  const { model } = backend;
  const { seed } = settings;
  const native = format !== undefined && model.formats.includes(format);
  return {
    ...settings,
    ...(await readableInputs(settings, { model, convert: tools.convertInput, signal: deadline.upstream })),
    requestId,
    model,
    n: priced.n,
    previews: Math.min(settings.previews, model.maxPreviews),
    outputFormat: native ? format : undefined,
    outputCompression: native ? compression : undefined,
    seed: seed === undefined ? undefined : (seed + offset) % 2 ** 32,
    signal: deadline.upstream,
    sendBy: deadline.sendBy,
    fetch: tools.upstreamFetch(deadline.upstream),
  };
}

function withheld(reason: string): ImagesError {
  const category = /^[\w ,/-]{1,64}$/.test(reason) ? ` (${reason})` : '';
  const message = `The provider's safety system withheld this picture${category}.`;
  return new ProviderError('content_filtered', message, { billed: 'unknown' });
}

function notYetStored(): ImagesError {
  const message =
    'Storage is not available. The picture is kept for now: ask again with the same Idempotency-Key to get it.';
  return new ImagesError('STORAGE_ERROR', message, { reason: 'waiting', billed: 'unknown' });
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
  const settled = {
    call: priced,
    price: backend.price,
    hostPriced: backend.hostPriced,
    share,
    unknownCost,
    delivered: arrived,
    outcome,
  };
  record.booking = settle(settled);
  record.backend = backend.provider.name;
  record.backendCostMicroUsd = vendorCost(settled, backend);
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
    type: 'upstream.call',
    level: error === undefined ? 'info' : 'warn',
    ...about,
    provider: backend.provider.name,
    asked: priced.n,
    images: arrived,
    error,
    latencyMs,
    upstreamId: outcome.type === 'ended' ? outcome.end.upstreamId : upstreamIdOf(error),
  });
}

/**
 * What the vendor takes where the host has a price of its own: by the vendor's figures or its table, where there is
 * one.
 */
function vendorCost(settled: SettledCall, { hostPriced, model }: Backend): number {
  if (!hostPriced || model.price === undefined) return settle(settled).microUsd;
  const share = ceiling(model.price, settled.call) ?? settled.share;
  return settle({ ...settled, price: model.price, hostPriced: false, share }).microUsd;
}

function upstreamIdOf(error: unknown): string | undefined {
  return isProviderError(error) ? error.upstreamId : undefined;
}

/**
 * One call of a request: from the backends that may serve it to delivered pictures, and what is booked for it. A
 * backend that failed without a bill makes room for the next one.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { ImagesError, isImagesError, isProviderError, ProviderError } from '../errors.js';
import { runAttempt } from './attempt.js';
import type { Backend } from './backends.js';
import {
  type CallEvent,
  type CallOrder,
  type CallRecord,
  type CallTools,
  recordFailure,
} from './call-record.js';
import { outOfTime } from './deadline.js';
import { mayFailOver } from './routing.js';
import type { CallOutcome } from './spend.js';

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
    if (deadline.upstream.aborted || Date.now() > deadline.sendBy) break;
    const turn = tools.routing.begin(backend);
    if (turn === undefined) continue;
    previous = backend;
    yield* runAttempt({ order, record, tools, backend, answered }, turn.end);
    if (record.outcome.type !== 'failed') break;
    firstError ??= record.outcome.error;
    if (answered.size > 0 || !mayFailOver(record.outcome.error)) break;
  }
  // Errors know where they were made, which costs more than all else here: none is made for nothing.
  if (answered.size === priced.n) return;
  const missing = missingError(record.outcome, { firstError, order, tools });
  for (let index = 0; index < priced.n; index += 1) {
    if (!answered.has(index)) yield recordFailure(record, offset + index, missing);
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
interface Missing {
  readonly firstError: unknown;
  readonly order: CallOrder;
  readonly tools: CallTools;
}

/**
 * What the client is told of the pictures a call never answered for: where all backends failed, what the first said.
 */
function missingError(outcome: CallOutcome, { firstError, order, tools }: Missing): ImagesError {
  if (outcome.type === 'ended') {
    return new ProviderError('shape', 'The provider sent fewer pictures than asked.', { billed: 'unknown' });
  }
  const { upstream, sendBy } = order.deadline;
  const { reason } = upstream;
  if (outcome.type === 'unsent') {
    if (isImagesError(reason)) return reason;
    return Date.now() > sendBy ? outOfTime() : unavailable(tools.routing.retryAfter(order.backends));
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

/** What calls are made of: what one takes, what it tells while it runs, and the record it leaves. */
import type { ImagesError } from '../errors.js';
import type { Backend } from './backends.js';
import type { DeliveredPicture, DeliveryOrder, DeliveryTools } from './delivery.js';
import type { Emit } from './events.js';
import type { PictureFacts } from './outcome.js';
import type { ConvertInput, FinishedPicture } from './picture.js';
import type { PricedCall } from './prices.js';
import type { TokenUsage } from './provider.js';
import type { Routing } from './routing.js';
import type { Booking, CallOutcome } from './spend.js';

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
  /** Makes PNGs of pictures that a model does not read. */
  readonly convertInput: ConvertInput;
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
  /** The provider that was called last; `undefined` before any was. */
  backend: string | undefined;
  /** What the vendor takes for it, in micro-dollars. */
  backendCostMicroUsd: number;
  /** Pictures that arrived from the provider. */
  arrived: number;
  /** Pictures that were finished and delivered. */
  readonly pictures: PictureFacts[];
  /** Pictures that were finished and wait for storage: not delivered now, but to whoever asks again. */
  readonly waiting: PictureFacts[];
  /** Pictures that were not delivered, with the reason, by index in the request. */
  readonly failures: Map<number, ImagesError>;
}

/** The record of a call that has not begun. */
export function newCallRecord(): CallRecord {
  return {
    outcome: { type: 'unsent' },
    booking: { microUsd: 0, images: 0 },
    backend: undefined,
    backendCostMicroUsd: 0,
    arrived: 0,
    pictures: [],
    waiting: [],
    failures: new Map(),
  };
}

/** What the vendor counted, once a call ended well. */
export function usageOf({ outcome }: CallRecord): TokenUsage | undefined {
  return outcome.type === 'ended' ? outcome.end.usage : undefined;
}

/** Notes that a picture of the request was not delivered, and why. */
export function recordFailure(record: CallRecord, index: number, error: ImagesError): CallEvent {
  record.failures.set(index, error);
  return { type: 'failed', index, error };
}

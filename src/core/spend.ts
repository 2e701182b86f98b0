/**
 * Settlement: what is booked for an upstream call once it is over. This table is the only place that decides it.
 * A failure to store or send a picture afterwards changes nothing here.
 */
import { type Billed, isProviderError } from '../errors.js';
import { isTokenPrice, type PricedCall, tokenCost, unitPrice } from './prices.js';
import type { EndEvent, Price } from './provider.js';

/** An upstream call that is over, and what was agreed about its price before it began. */
export interface SettledCall {
  /** What was asked. */
  readonly call: PricedCall;
  /** The price that applies: the host's, else the model table's. */
  readonly price: Price;
  /** True when the host set the price, which trumps what the vendor says it charges. */
  readonly hostPriced: boolean;
  /** The call's part of the hold: its ceiling, in micro-dollars. */
  readonly share: number;
  /** Pictures that arrived, surplus ones not counted. */
  readonly delivered: number;
  /** How it ended. */
  readonly outcome: CallOutcome;
  /** What to book when the vendor may or may not have charged. */
  readonly unknownCost: 'charge' | 'waive';
}

/** How an upstream call ended: with its `end` event, by an error, or without ever having been started. */
export type CallOutcome =
  | { readonly type: 'ended'; readonly end: EndEvent }
  | { readonly type: 'failed'; readonly error: unknown }
  | { readonly type: 'unsent' };

/** What is booked for a call. */
export interface Booking {
  /** Micro-dollars. */
  readonly microUsd: number;
  /** For image-count budgets. */
  readonly images: number;
  /** Raised as an event when the vendor's figures were odd. */
  readonly oddity?: 'ceiling_exceeded' | 'usage_implausible' | undefined;
}

// Beyond this many times the ceiling a figure is a fault of the vendor's rather than a price.
const PLAUSIBLE_FACTOR = 4;

/** What to book for a call that is over. */
export function settle(settled: SettledCall): Booking {
  const { outcome } = settled;
  if (outcome.type === 'unsent') return { microUsd: 0, images: 0 };
  if (outcome.type === 'failed') return settleFailure(settled, billedOf(outcome.error));
  const reported = reportedCost(settled, outcome.end);
  if (reported === 'implausible') {
    if (isTokenPrice(settled.price)) return { ...bookShare(settled), oddity: 'usage_implausible' };
    return { ...bookDelivered(settled), oddity: 'usage_implausible' };
  }
  if (reported === undefined) {
    if (isTokenPrice(settled.price)) return { ...bookShare(settled), oddity: 'usage_implausible' };
    return bookDelivered(settled);
  }
  const booking = { microUsd: reported, images: settled.delivered };
  return reported > settled.share ? { ...booking, oddity: 'ceiling_exceeded' } : booking;
}

function settleFailure(settled: SettledCall, billed: Billed): Booking {
  if (billed === 'no' || (billed === 'unknown' && settled.unknownCost === 'waive'))
    return bookDelivered(settled);
  return bookShare(settled);
}

/** Whether a failed call may have been charged for. An error nobody classified may come from anywhere. */
export function billedOf(error: unknown): Billed {
  return isProviderError(error) ? error.billed : 'unknown';
}

/** What the vendor's own figures say the call cost; `undefined` where it gave none that count. */
function reportedCost(settled: SettledCall, end: EndEvent): number | 'implausible' | undefined {
  const { price, hostPriced, share } = settled;
  const fromUsage = isTokenPrice(price) ? tokenCost(price, end.usage) : undefined;
  const told = (hostPriced ? [fromUsage] : [end.cost, fromUsage]).filter((cost) => cost != null);
  if (told.length === 0) return undefined;
  const plausible = (cost: number) =>
    Number.isSafeInteger(cost) && cost >= 0 && cost <= share * PLAUSIBLE_FACTOR;
  return told.find(plausible) ?? 'implausible';
}

function bookShare({ share, call }: SettledCall): Booking {
  return { microUsd: share, images: call.n };
}

/** The price of the pictures that arrived. */
function bookDelivered({ price, call, share, delivered }: SettledCall): Booking {
  const unit = unitPrice(price, call);
  const microUsd = unit === undefined ? Math.ceil((share * delivered) / call.n) : unit * delivered;
  return { microUsd, images: delivered };
}

/** What the calls of a request come to: what is booked, and what was delivered or the failure it is answered with. */
import { type Billed, ImagesError, isProviderError, ProviderError } from '../errors.js';
import { type CallRecord, usageOf } from './call-record.js';
import type { Amounts } from './ledger.js';
import {
  type FailureFacts,
  NO_TOKENS,
  type RequestHead,
  type RequestOutcome,
  type TokenTotals,
} from './outcome.js';
import type { TokenUsage } from './provider.js';
import { billedOf } from './spend.js';

/** Adds amounts of money or pictures. Throws `INTERNAL_ERROR` beyond what can be counted. */
export function sum(amounts: readonly number[]): number {
  const total = amounts.reduce((a, b) => a + b, 0);
  if (!Number.isSafeInteger(total)) throw new ImagesError('INTERNAL_ERROR', 'A price is out of bounds.');
  return total;
}

/** What is booked for the calls of a request. */
export function booked(records: readonly CallRecord[]): Amounts {
  return {
    microUsd: sum(records.map(({ booking }) => booking.microUsd)),
    images: sum(records.map(({ booking }) => booking.images)),
  };
}

/** Whether a vendor may have charged for any of the calls of a request, whatever is booked for them. */
export function mayBeCharged(records: readonly CallRecord[]): boolean {
  return records.some(({ booking, outcome }) => {
    if (booking.microUsd > 0 || outcome.type === 'ended') return true;
    return outcome.type === 'failed' && billedOf(outcome.error) !== 'no';
  });
}

/** How a request ended whose calls are over: with pictures, or with the failure of its first picture. */
export function endOf(records: readonly CallRecord[], head: RequestHead): RequestOutcome | ImagesError {
  const pictures = records.flatMap((record) => record.pictures).sort((a, b) => a.index - b.index);
  if (pictures.length === 0) return firstFailure(records);
  const failures = records
    .flatMap((record) => [...record.failures])
    .map(([index, { code, reason, message }]): FailureFacts => ({ index, code, reason, message }))
    .sort((a, b) => a.index - b.index);
  const costMicroUsd = booked(records).microUsd;
  return { head, pictures, failures, costMicroUsd, tokens: tokensOf(records) };
}

/** What the vendors counted for the calls of a request. */
export function tokensOf(records: readonly CallRecord[]): TokenTotals {
  return records.reduce((total, record) => addTokens(total, believable(record)), NO_TOKENS);
}

/** What the vendor counted, unless settlement took it for a fault. */
function believable(record: CallRecord): TokenUsage | undefined {
  return record.booking.oddity === 'usage_implausible' ? undefined : usageOf(record);
}

/** How a request looks to whoever asks again: pictures that wait for storage are handed over too. */
export function endForReplay(
  records: readonly CallRecord[],
  head: RequestHead,
): RequestOutcome | ImagesError {
  return endOf(records.map(withWaiting), head);
}

function withWaiting(record: CallRecord): CallRecord {
  const failures = new Map(record.failures);
  for (const { index } of record.waiting) failures.delete(index);
  return { ...record, pictures: [...record.pictures, ...record.waiting], failures };
}

// More than any call of any vendor comes to, and few enough that sums over years stay exact.
const MAX_TOKENS = 1_000_000_000;

function addTokens(total: TokenTotals, usage: TokenUsage | undefined): TokenTotals {
  const count = (tokens: number | undefined) =>
    tokens !== undefined && Number.isSafeInteger(tokens) && tokens > 0 && tokens <= MAX_TOKENS ? tokens : 0;
  return {
    textIn: total.textIn + count(usage?.textIn),
    imageIn: total.imageIn + count(usage?.imageIn),
    imageOut: total.imageOut + count(usage?.imageOut),
    textOut: total.textOut + count(usage?.textOut),
  };
}

/** Where any call may have been charged, so may a retry, and the error must say so. */
function firstFailure(records: readonly CallRecord[]): ImagesError {
  const failures = new Map(records.flatMap((record) => [...record.failures]));
  const first = failures.get(Math.min(...failures.keys()));
  if (first === undefined) return new ImagesError('INTERNAL_ERROR', 'Nothing was drawn.');
  return mayBeCharged(records) && (first.billed ?? 'no') === 'no' ? withBilled(first, 'unknown') : first;
}

function withBilled(error: ImagesError, billed: Billed): ImagesError {
  const { code, message, details, retryAfter, reason, cause } = error;
  const options = { details, retryAfter, reason, cause, billed };
  if (!isProviderError(error)) return new ImagesError(code, message, options);
  const { kind, status, upstreamId } = error;
  return new ProviderError(kind, message, { ...options, status, upstreamId });
}

/** Requests that mean the same: the second gets the outcome of the first, and waits for it where it still runs. */
import { setTimeout as sleep } from 'node:timers/promises';
import { ImagesError, isImagesError } from '../errors.js';
import type { Once } from './budget.js';
import type { RequestEvent } from './generate.js';
import type { Ledger } from './ledger.js';
import {
  type FailureFacts,
  type PictureFacts,
  type RequestHead,
  type RequestOutcome,
  readOutcome,
} from './outcome.js';
import type { ReadPicture } from './picture.js';

const FIRST_LOOK_MS = 50;
const LAST_LOOK_MS = 1000;

/**
 * What came of an earlier request with this `once` key; `undefined` when there was none, or none that cost anything.
 * Waits for one that still runs, until `signal` aborts. Throws its error where it ended in one, and
 * `IDEMPOTENCY_CONFLICT` where it meant something else, was lost in a crash, or outlasts the waiting.
 */
export async function earlierOutcome(
  ledger: Ledger,
  once: Once,
  signal: AbortSignal,
): Promise<RequestOutcome | undefined> {
  for (let waitMs = FIRST_LOOK_MS; ; waitMs = Math.min(waitMs * 2, LAST_LOOK_MS)) {
    const seen = await ledger.recall(once);
    if (seen === undefined) return undefined;
    if (seen.state === 'conflict') throw otherBody();
    if (seen.state === 'lapsed') throw outcomeUnknown();
    if (seen.state === 'settled') {
      if (seen.outcome === undefined) throw outcomeUnknown();
      return readOutcome(seen.outcome);
    }
    const waited = await sleep(waitMs * (0.5 + Math.random() / 2), true, { signal }).catch(() => false);
    if (!waited) throw isTimeUp(signal.reason) ? stillRunning() : signal.reason;
  }
}

/** True for the end of a request's time, rather than of its connection or of the router. */
function isTimeUp(reason: unknown): boolean {
  return isImagesError(reason) && reason.code === 'BACKEND_TIMEOUT';
}

/**
 * The events of an earlier request, once more: pictures by their bytes where they are handed over so. Those that
 * storage had not taken may be lost by now, which is a failure of theirs; where none is left, it is thrown.
 */
export async function* replay(
  outcome: RequestOutcome,
  read: ReadPicture,
  signal: AbortSignal,
): AsyncGenerator<RequestEvent, void> {
  const { head } = outcome;
  const pictures: PictureFacts[] = [];
  const lost: FailureFacts[] = [];
  yield { type: 'started', head, replayed: true };
  for (const picture of outcome.pictures) {
    const bytes = await bytesOf(picture, { head, read, signal });
    if (bytes === 'lost') {
      const { code, reason, message } = notStored();
      lost.push({ index: picture.index, code, reason, message });
      continue;
    }
    pictures.push(picture);
    yield { type: 'picture', picture: { ...picture, bytes } };
  }
  if (pictures.length === 0) throw notStored();
  const failures = [...outcome.failures, ...lost].sort((a, b) => a.index - b.index);
  yield { type: 'finished', outcome: { ...outcome, pictures, failures } };
}

interface Replaying {
  readonly head: RequestHead;
  readonly read: ReadPicture;
  readonly signal: AbortSignal;
}

/**
 * The bytes of a picture where they are handed over. What may be lost is read in any case, because a link would lead
 * nowhere.
 */
async function bytesOf(
  { stored }: PictureFacts,
  { head, read, signal }: Replaying,
): Promise<Uint8Array | undefined | 'lost'> {
  const asBytes = head.format === 'b64_json';
  if (stored === undefined) return 'lost';
  if (!asBytes && !stored.waiting) return undefined;
  try {
    const bytes = await read(stored, signal);
    return asBytes ? bytes : undefined;
  } catch (error) {
    if (stored.waiting && isImagesError(error)) return 'lost';
    throw error;
  }
}

/** A picture that storage never took. It is paid for all the same. */
function notStored(): ImagesError {
  return new ImagesError('STORAGE_ERROR', 'This picture was not stored.', { billed: 'yes' });
}

function otherBody(): ImagesError {
  const message = 'This Idempotency-Key was used for another request. Use a new key for each request.';
  return new ImagesError('IDEMPOTENCY_CONFLICT', message, { reason: 'other_body' });
}

function outcomeUnknown(): ImagesError {
  const message =
    'What came of the request with this Idempotency-Key is not known: it was broken off and has been booked. ' +
    'Use a new key to draw again.';
  return new ImagesError('IDEMPOTENCY_CONFLICT', message, { reason: 'outcome_unknown' });
}

function stillRunning(): ImagesError {
  const message = 'The request with this Idempotency-Key is still running. Ask again with the same key.';
  return new ImagesError('IDEMPOTENCY_CONFLICT', message, { reason: 'in_progress', retryAfter: 5 });
}

/** Requests that mean the same: the second gets the outcome of the first, and waits for it where it still runs. */
import { setTimeout as sleep } from 'node:timers/promises';
import { ImagesError, isImagesError } from '../errors.js';
import type { Once } from './budget.js';
import type { RequestEvent } from './generate.js';
import type { Ledger } from './ledger.js';
import { type PictureFacts, type RequestOutcome, readOutcome } from './outcome.js';
import type { ReadPicture, StoredPicture } from './picture.js';

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

/** The events of an earlier request, once more: pictures by their bytes where they are handed over so. */
export async function* replay(
  outcome: RequestOutcome,
  read: ReadPicture,
  signal: AbortSignal,
): AsyncGenerator<RequestEvent, void> {
  const { head, pictures } = outcome;
  yield { type: 'started', head, replayed: true };
  for (const picture of pictures) {
    const bytes =
      head.format === 'b64_json' ? await bytesOf(picture, (stored) => read(stored, signal)) : undefined;
    yield { type: 'picture', picture: { ...picture, bytes } };
  }
  yield { type: 'finished', outcome };
}

/** The bytes of a picture that was handed over as such. Storage may have refused it then; it is paid for all the same. */
async function bytesOf(
  { stored }: PictureFacts,
  read: (stored: StoredPicture) => Promise<Uint8Array>,
): Promise<Uint8Array> {
  if (stored !== undefined) return read(stored);
  throw new ImagesError('STORAGE_ERROR', 'This picture was not stored.', { billed: 'yes' });
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

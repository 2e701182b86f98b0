/** Requests that mean the same: the second gets the outcome of the first, and waits for it where it still runs. */
import { setTimeout as sleep } from 'node:timers/promises';
import { ImagesError, isImagesError } from '../errors.js';
import type { Once } from './budget.js';
import { type RequestEvent, TWIN } from './generate.js';
import type { Ledger } from './ledger.js';
import { type FailureFacts, type PictureFacts, type RequestOutcome, readOutcome } from './outcome.js';
import type { ReadPicture, StoredPicture } from './picture.js';

const FIRST_LOOK_MS = 50;
const LAST_LOOK_MS = 1000;

/** Requests that mean the same, in this process and, by the ledger, in others. */
export interface Twins {
  /**
   * The events of a request: of `draw`, unless one that means the same came first; then its own again, by `replay`.
   * One of a process at a time gets as far as drawing, and those that waited for it share a failure that nobody
   * charged for, which the ledger forgets. Rejects with the error of an earlier request that ended in one, and with
   * `IDEMPOTENCY_CONFLICT` where it meant something else, was lost in a crash, or outlasts the waiting.
   */
  run(work: TwinWork): AsyncGenerator<RequestEvent, void>;
}

/** A request that may have been made before. */
export interface TwinWork {
  /** What it is known by. */
  readonly once: Once;
  /** Ends the waiting. */
  readonly signal: AbortSignal;
  /** Draws; throws {@link TWIN} where another process came first. */
  draw(): AsyncIterable<RequestEvent>;
  /** The events of the earlier one, once more. */
  replay(earlier: RequestOutcome): AsyncIterable<RequestEvent>;
}

/** The one request of those that mean the same which may draw, in this process. */
interface Leader {
  /** Resolves when it has ended, whichever way. */
  readonly ended: Promise<void>;
  /** What it ended in, when nobody charged for that. */
  failure: ImagesError | undefined;
  end(): void;
}

/** Makes the meeting place of twins. */
export function createTwins(ledger: Ledger): Twins {
  const leaders = new Map<string, Leader>();

  function lead(name: string): Leader {
    let resolve: () => void = () => undefined;
    const ended = new Promise<void>((resolved) => {
      resolve = resolved;
    });
    const end = () => {
      leaders.delete(name);
      resolve();
    };
    const leader = { ended, failure: undefined, end };
    leaders.set(name, leader);
    return leader;
  }

  async function* drawAs(leader: Leader, { draw }: TwinWork): AsyncGenerator<RequestEvent, void> {
    try {
      yield* draw();
    } catch (error) {
      if (isImagesError(error) && error.billed === 'no') leader.failure = error;
      throw error;
    }
  }

  return {
    async *run(work) {
      const { once, signal } = work;
      const name = JSON.stringify([once.key, once.fingerprint]);
      for (;;) {
        const first = leaders.get(name);
        const own = first === undefined ? lead(name) : undefined;
        try {
          const earlier = await earlierOutcome({ ledger, once, signal, first });
          if (earlier !== undefined) {
            own?.end();
            return yield* work.replay(earlier);
          }
          if (own !== undefined) return yield* drawAs(own, work);
        } catch (error) {
          if (error !== TWIN) throw error;
        } finally {
          own?.end();
        }
      }
    },
  };
}

interface Waiting {
  readonly ledger: Ledger;
  readonly once: Once;
  readonly signal: AbortSignal;
  /** Another request of this process that leads. */
  readonly first: Leader | undefined;
}

/**
 * What came of an earlier request; `undefined` when there was none, or none that cost anything. Waits for one that
 * still runs, here or elsewhere, until `signal` aborts.
 */
async function earlierOutcome({ ledger, once, signal, first }: Waiting): Promise<RequestOutcome | undefined> {
  let runsHere = first !== undefined;
  const ended = first?.ended.then(() => {
    runsHere = false;
  });
  for (let waitMs = FIRST_LOOK_MS; ; waitMs = Math.min(waitMs * 2, LAST_LOOK_MS)) {
    const seen = await ledger.recall(once);
    if (seen?.state === 'conflict') throw otherBody();
    if (seen?.state === 'lapsed') throw outcomeUnknown();
    if (seen?.state === 'settled') {
      if (seen.outcome === undefined) throw outcomeUnknown();
      return readOutcome(seen.outcome);
    }
    if (first?.failure !== undefined) throw first.failure;
    if (seen === undefined && !runsHere) return undefined;
    const pause = sleep(waitMs * (0.5 + Math.random() / 2), true, { signal }).catch(() => false);
    const waited = await (runsHere ? Promise.race([pause, ended]) : pause);
    if (waited === false) throw isTimeUp(signal.reason) ? stillRunning() : signal.reason;
  }
}

/** True for the end of a request's time, rather than of its connection or of the router. */
function isTimeUp(reason: unknown): boolean {
  return isImagesError(reason) && reason.code === 'BACKEND_TIMEOUT';
}

/** What replaying takes. */
export interface ReplayTools {
  /** Reads a picture. */
  readonly read: ReadPicture;
  /** False for a picture that is surely gone. */
  readonly isKept: (picture: StoredPicture) => Promise<boolean>;
  /** Gives up when aborted. */
  readonly signal: AbortSignal;
}

/**
 * The events of an earlier request, once more: pictures by their bytes where they are handed over so. Those that were
 * deleted or damaged since, and those that storage never took and that are lost by now, are failures of theirs; where
 * none is left, the first is thrown. So is `STORAGE_ERROR` where storage fails: asking again is free.
 */
export async function* replay(
  outcome: RequestOutcome,
  tools: ReplayTools,
): AsyncGenerator<RequestEvent, void> {
  const { head } = outcome;
  const pictures: PictureFacts[] = [];
  const lost: FailureFacts[] = [];
  let firstLoss: ImagesError | undefined;
  yield { type: 'started', head, replayed: true };
  for (const picture of outcome.pictures) {
    const found = await find(picture, { asBytes: head.format === 'b64_json', ...tools });
    if (isImagesError(found)) {
      const { code, reason, message } = found;
      lost.push({ index: picture.index, code, reason, message });
      firstLoss ??= found;
      continue;
    }
    pictures.push(picture);
    yield { type: 'picture', picture: { ...picture, bytes: found.bytes } };
  }
  if (pictures.length === 0) throw firstLoss ?? notStored();
  const failures = [...outcome.failures, ...lost].sort((a, b) => a.index - b.index);
  yield { type: 'finished', outcome: { ...outcome, pictures, failures } };
}

interface Finding extends ReplayTools {
  /** Whether pictures are handed over as bytes. */
  readonly asBytes: boolean;
}

/**
 * A picture, with its bytes where they are handed over, or what became of it. What may be lost is read in any case,
 * because a link would lead nowhere.
 */
async function find(
  { stored }: PictureFacts,
  { asBytes, read, isKept, signal }: Finding,
): Promise<{ readonly bytes: Uint8Array | undefined } | ImagesError> {
  if (stored === undefined) return notStored();
  if (!asBytes && !stored.waiting) return (await isKept(stored)) ? { bytes: undefined } : gone();
  try {
    const bytes = await read(stored, signal);
    return { bytes: asBytes ? bytes : undefined };
  } catch (error) {
    if (!isImagesError(error)) throw error;
    if (stored.waiting) return notStored();
    // Neither comes back, however often it is asked for.
    if (error.code === 'MEDIA_NOT_FOUND' || error.reason === 'damaged') return error;
    throw new ImagesError(error.code, error.message, { billed: 'no', retryAfter: 5, cause: error });
  }
}

/** A picture that storage never took. It is paid for all the same. */
function notStored(): ImagesError {
  return new ImagesError('STORAGE_ERROR', 'This picture was not stored.', { billed: 'yes' });
}

function gone(): ImagesError {
  return new ImagesError('MEDIA_NOT_FOUND', 'This picture is no longer kept here.');
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

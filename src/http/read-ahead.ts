/** A slow client must not keep a provider waiting, whose time is paid for, nor the ledger, which books at the end. */
import type { RequestEvent } from '../core/generate.js';
import { createShelf, type Shelf } from './shelf.js';

// Longer than anybody takes to receive a picture who is not slow, and nothing of a provider's time.
const PATIENCE_MS = 1_000;

/** Where the next event is had; `undefined` after the last. */
type Next = () => Promise<RequestEvent | undefined>;

/**
 * The same events at the client's pace, as long as it keeps up: then nothing is held for it. Once it has taken longer
 * than `patienceMs` over one of them, the others are read to their end meanwhile; pictures wait in files, previews are
 * left out, and nobody is served any more once `signal` has aborted.
 */
export async function* readAhead(
  events: AsyncGenerator<RequestEvent, void>,
  signal: AbortSignal,
  patienceMs: number = PATIENCE_MS,
): AsyncGenerator<RequestEvent, void> {
  const shelf = createShelf(0);
  let ahead: Next | undefined;
  let isTaking = false;
  // One timer for all events: to make one for each costs more than anything else here.
  const patience = setTimeout(() => {
    if (isTaking && ahead === undefined) ahead = readToEnd(events, { shelf, signal });
  }, patienceMs);
  try {
    for (;;) {
      const event = ahead === undefined ? (await events.next()).value : await ahead();
      if (event === undefined) return;
      isTaking = true;
      patience.refresh();
      yield event;
      isTaking = false;
    }
  } finally {
    clearTimeout(patience);
    await events.return();
    await shelf.clear();
  }
}

interface ReadToEndOptions {
  readonly shelf: Shelf;
  readonly signal: AbortSignal;
}

/** Reads on at once, however late what comes is asked for. */
function readToEnd(events: AsyncGenerator<RequestEvent, void>, { shelf, signal }: ReadToEndOptions): Next {
  const turns: Promise<Next | undefined>[] = [];
  const fromShelf =
    (index: number): Next =>
    () =>
      shelf.take(index);

  /** How to get what comes next; nothing at the end. */
  async function turn(): Promise<Next | undefined> {
    for (;;) {
      const { done, value } = await events.next();
      if (done === true) return undefined;
      if (value.type === 'preview') {
        value.picture.release?.();
        continue;
      }
      if (value.type !== 'picture') return async () => value;
      await shelf.put(value);
      return fromShelf(value.picture.index);
    }
  }

  function read(): void {
    const next = turn();
    turns.push(next);
    // Said first, so that whoever waits for this one finds the one behind it.
    next.then(
      (event) => event && read(),
      () => undefined,
    );
  }

  read();
  return async () => {
    const event = await turns.shift();
    signal.throwIfAborted();
    return event?.();
  };
}

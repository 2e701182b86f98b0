/**
 * Waiting: for promises that may never settle, because plugins hang and must not take a request with them; and for a
 * turn.
 */

/** A promise's value, or a rejection with `signal.reason` as soon as the signal aborts. */
export async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  let abort: () => void = () => undefined;
  const aborted = new Promise<never>((_, reject) => {
    abort = () => reject(signal.reason);
    if (signal.aborted) abort();
    else signal.addEventListener('abort', abort, { once: true });
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

/** A promise's value, or a rejection with `late()` after `milliseconds`. */
export function within<T>(promise: Promise<T>, milliseconds: number, late: () => Error): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(late()), milliseconds);
    // A plugin without types may answer with no promise at all.
    Promise.resolve(promise).then(
      (value) => {
        clearTimeout(timer);
        resolve(value);
      },
      (error: unknown) => {
        clearTimeout(timer);
        reject(error);
      },
    );
  });
}

// What a crowd of requests has at once of each round of the event loop, so that no other connection waits much longer.
const ROUND_MS = 3;

/** When this round began. There is one event loop in a process, whoever asks. */
let roundBegan: number | undefined;

/**
 * Resolves at once, and in a later round of the event loop where this one was given out: to be awaited between pieces
 * of work of up to a millisecond, which would otherwise all be done before anybody else is served.
 */
export async function takeTurn(): Promise<void> {
  while (performance.now() - beginRound() > ROUND_MS) await nextRound();
}

function beginRound(): number {
  if (roundBegan === undefined) {
    roundBegan = performance.now();
    // Before whoever waits for the next round by then.
    setImmediate(() => {
      roundBegan = undefined;
    });
  }
  return roundBegan;
}

function nextRound(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

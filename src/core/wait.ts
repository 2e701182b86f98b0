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

/** How long to wait for work that can be aborted. */
export interface Bound {
  /** Ends it when it aborts. */
  readonly signal: AbortSignal;
  /** Ends it after so many milliseconds. */
  readonly milliseconds: number;
}

/**
 * The value of `work`, or a rejection as soon as the signal it is given aborts: with that of `bound`, for its reason, or
 * once its time is up, with a `TimeoutError`. Unlike `AbortSignal.any()` and `AbortSignal.timeout()`, which keep what
 * they hold until the time is up, and cost four times as much, it leaves nothing behind.
 */
export async function whileInTime<T>(
  work: (signal: AbortSignal) => Promise<T>,
  { signal, milliseconds }: Bound,
): Promise<T> {
  const either = new AbortController();
  const abort = () => either.abort(signal.reason);
  const timer = setTimeout(() => either.abort(timedOut()), milliseconds);
  timer.unref();
  if (signal.aborted) abort();
  else signal.addEventListener('abort', abort, { once: true });
  try {
    return await unlessAborted(work(either.signal), either.signal);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', abort);
  }
}

function timedOut(): DOMException {
  return new DOMException('The operation was aborted due to timeout', 'TimeoutError');
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

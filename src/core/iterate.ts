/** Helpers for async iterables: one that cannot hang, and one out of many. */
import { unlessAborted } from './wait.js';

// A request has at most ten pictures; previews come with them.
const MAX_AFTER_ABORT = 40;

/**
 * The values of an iterable, until `signal` aborts: then it throws `signal.reason` at once, even when the iterable
 * ignores the signal and never answers again. What was there already when it aborted, or is there at once, a failure
 * of the iterable's own included, still counts.
 */
export async function* abortable<T>(source: AsyncIterable<T>, signal: AbortSignal): AsyncGenerator<T, void> {
  signal.throwIfAborted();
  const iterator = source[Symbol.asyncIterator]();
  let grace = MAX_AFTER_ABORT;
  try {
    for (;;) {
      const next = iterator.next();
      // When the signal wins, what this comes to must not become an unhandled rejection.
      next.catch(() => undefined);
      const result = await unlessAborted(next, signal).catch(() => atOnce(next, signal));
      // A source that yields for ever must not outlive its signal for ever.
      if (signal.aborted) grace -= 1;
      if (grace < 0) throw signal.reason;
      if (result.done === true) return;
      yield result.value;
    }
  } finally {
    // Not awaited: a source that hangs would hang us here as well.
    iterator.return?.()?.catch(() => undefined);
  }
}

/** What is there by the time everything that heard the abort has answered it. */
function atOnce<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const passed = new Promise<never>((_, reject) => {
    setImmediate(() => reject(signal.reason));
  });
  return Promise.race([promise, passed]);
}

/** What {@link merge} yields: a value of a source, or the value a source returned. */
export type Merged<T, R> = { readonly value: T } | { readonly returned: R };

/**
 * Runs generators side by side, at most `limit` at once, and yields what they yield as it comes. A source waits until
 * its value is taken, so nothing piles up. The first error ends it; leaving early ends all sources.
 */
export async function* merge<T, R>(
  sources: readonly (() => AsyncGenerator<T, R>)[],
  limit: number,
): AsyncGenerator<Merged<T, R>, void> {
  const waiting = [...sources];
  const running = new Set<AsyncGenerator<T, R>>();
  const pending = new Map<AsyncGenerator<T, R>, Promise<Turn<T, R>>>();
  const advance = (source: AsyncGenerator<T, R>) => {
    const turn = source.next().then((result) => ({ source, result }));
    turn.catch(() => undefined);
    running.add(source);
    pending.set(source, turn);
  };
  try {
    for (;;) {
      while (running.size < limit && waiting.length > 0) {
        const start = waiting.shift();
        if (start !== undefined) advance(start());
      }
      if (running.size === 0) return;
      const { source, result } = await Promise.race(pending.values());
      pending.delete(source);
      if (result.done === true) {
        running.delete(source);
        yield { returned: result.value };
      } else {
        yield { value: result.value };
        advance(source);
      }
    }
  } finally {
    await Promise.allSettled([...running].map((source) => source.return(undefined as R)));
  }
}

interface Turn<T, R> {
  readonly source: AsyncGenerator<T, R>;
  readonly result: IteratorResult<T, R>;
}

/**
 * One abort signal for a request out of disconnect, time limit and shutdown, and the counting of requests that shutdown
 * waits for.
 */
import { setMaxListeners } from 'node:events';
import { ImagesError } from '../errors.js';
import { type Clock, startClock } from './clock.js';

/** Why a request stopped when its client left: nobody is there to be told. */
export const CLIENT_LEFT: Error = new Error('the client closed the connection');

/** The signals of one request. */
export interface Deadline extends Pick<Clock, 'restart' | 'pause'> {
  /** Aborts when the client left or the router shuts down: nothing more is worth doing. */
  readonly signal: AbortSignal;
  /** Also aborts when the time for providers is up; pictures that came by then are still finished and stored. */
  readonly upstream: AbortSignal;
  /** Epoch milliseconds after which nothing more is sent to providers: it would be paid for and cut off. */
  readonly sendBy: number;
  /** To be called when the client's connection closes early. */
  disconnect(): void;
  /** Frees the timer. */
  end(): void;
}

/** Starts deadlines, and ends them all when the router closes. */
export interface Deadlines {
  /** True once {@link Deadlines.close} was called: new requests are refused. */
  readonly draining: boolean;
  /** Starts a request. It counts as in flight until `end()`. */
  start(): Deadline;
  /**
   * Counts an answer without a time limit as in flight until the function it returns is called. `cutOff` is told why
   * when shutdown waits no longer.
   */
  hold(cutOff: (reason: Error) => void): () => void;
  /**
   * Refuses new requests, waits for those in flight for `drainMs`, then aborts what is left and waits for it to end;
   * at most a few seconds, because a request that hears nothing must not keep a process from ending.
   */
  close(drainMs: number): Promise<void>;
}

function timedOut(requestMs: number): ImagesError {
  const message = `The provider did not answer within ${requestMs / 1000} seconds.`;
  return new ImagesError('BACKEND_TIMEOUT', message, { billed: 'unknown' });
}

/** What is told of calls that were not sent because their time was nearly up. */
export function outOfTime(): ImagesError {
  const message = 'Too little time was left to ask the provider. Try again shortly.';
  return new ImagesError('BACKEND_TIMEOUT', message, { billed: 'no' });
}

/** What requests are told that come while the router shuts down, and those that shutdown cut off. */
export function shuttingDown(): ImagesError {
  return new ImagesError('OVERLOADED', 'The server is shutting down. Try again shortly.', { retryAfter: 5 });
}

/** How long deadlines are. */
export interface DeadlinesOptions {
  /** Milliseconds the providers of a request may take. */
  readonly requestMs: number;
  /** Milliseconds a request may be paused in all. @defaultValue `0` */
  readonly maxPausedMs?: number | undefined;
  /** Milliseconds what was aborted may take to end. @defaultValue `10000` */
  readonly graceMs?: number | undefined;
}

// No picture comes sooner; of short limits the last tenth.
const LEAST_MS = 1_000;

/** Waits for work for so long; true when it was over by then. */
function settledWithin(work: Promise<void>, ms: number): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms, false);
    void work.then(() => {
      clearTimeout(timer);
      resolve(true);
    });
  });
}

/** Makes deadlines. */
export function createDeadlines(options: DeadlinesOptions): Deadlines {
  const { requestMs, maxPausedMs = 0, graceMs = 10_000 } = options;
  const running = new Set<(reason: Error) => void>();
  let draining = false;
  let idle: (() => void) | undefined;

  function hold(cutOff: (reason: Error) => void): () => void {
    running.add(cutOff);
    return () => {
      running.delete(cutOff);
      if (running.size === 0) idle?.();
    };
  }

  function start(): Deadline {
    const client = new AbortController();
    // Not by `AbortSignal.any()`, whose signals cost more than the rest of a deadline.
    const upstream = new AbortController();
    // Each call of a request listens in several places, and hosts would be warned of more than ten listeners.
    setMaxListeners(0, client.signal, upstream.signal);
    client.signal.addEventListener('abort', () => upstream.abort(client.signal.reason), { once: true });
    const ring = () => upstream.abort(timedOut(requestMs));
    const clock = startClock({ ms: requestMs, maxPausedMs, ring });
    const release = hold((reason) => client.abort(reason));
    return {
      signal: client.signal,
      upstream: upstream.signal,
      get sendBy() {
        return clock.ringsAt - Math.min(LEAST_MS, requestMs / 10);
      },
      restart: clock.restart,
      pause: clock.pause,
      disconnect: () => client.abort(CLIENT_LEFT),
      end() {
        clock.stop();
        release();
      },
    };
  }

  async function close(drainMs: number): Promise<void> {
    draining = true;
    if (running.size === 0) return;
    const ended = new Promise<void>((resolve) => {
      idle = resolve;
    });
    const drained = await settledWithin(ended, drainMs);
    if (drained) return;
    for (const cutOff of running) cutOff(shuttingDown());
    await settledWithin(ended, graceMs);
  }

  return {
    get draining() {
      return draining;
    },
    start,
    hold,
    close,
  };
}

/** One abort signal for a request out of disconnect, time limit and shutdown, and the counting of requests that shutdown waits for. */
import { ImagesError } from '../errors.js';

/** Why a request stopped when its client left: nobody is there to be told. */
export const CLIENT_LEFT: Error = new Error('the client closed the connection');

/** The signals of one request. */
export interface Deadline {
  /** Aborts when the client left or the router shuts down: nothing more is worth doing. */
  readonly signal: AbortSignal;
  /** Also aborts when the time for providers is up; pictures that came by then are still finished and stored. */
  readonly upstream: AbortSignal;
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
  /** Refuses new requests, waits for those in flight for `drainMs`, then aborts what is left and waits for it to end. */
  close(drainMs: number): Promise<void>;
}

function timedOut(requestMs: number): ImagesError {
  const message = `The provider did not answer within ${requestMs / 1000} seconds.`;
  return new ImagesError('BACKEND_TIMEOUT', message, { billed: 'unknown' });
}

/** What requests are told that come while the router shuts down, and those that shutdown cut off. */
export function shuttingDown(): ImagesError {
  return new ImagesError('OVERLOADED', 'The server is shutting down. Try again shortly.', { retryAfter: 5 });
}

/** Makes deadlines of `requestMs`. */
export function createDeadlines({ requestMs }: { readonly requestMs: number }): Deadlines {
  const running = new Set<AbortController>();
  let draining = false;
  let idle: (() => void) | undefined;

  function start(): Deadline {
    const client = new AbortController();
    const time = new AbortController();
    const timer = setTimeout(() => time.abort(timedOut(requestMs)), requestMs);
    running.add(client);
    return {
      signal: client.signal,
      upstream: AbortSignal.any([client.signal, time.signal]),
      disconnect: () => client.abort(CLIENT_LEFT),
      end() {
        clearTimeout(timer);
        running.delete(client);
        if (running.size === 0) idle?.();
      },
    };
  }

  async function close(drainMs: number): Promise<void> {
    draining = true;
    if (running.size === 0) return;
    const ended = new Promise<void>((resolve) => {
      idle = resolve;
    });
    const timer = setTimeout(() => {
      for (const controller of running) controller.abort(shuttingDown());
    }, drainMs);
    await ended;
    clearTimeout(timer);
  }

  return {
    get draining() {
      return draining;
    },
    start,
    close,
  };
}

/**
 * The line in front of a server of one's own: it draws so many calls at once, and goes on with those given up. A call
 * leaves it when its answer begins: what was drawn may take long to receive, and the card is free.
 */
import { createGate } from '../core/gate.js';
import type { GenerateCall } from '../core/provider.js';
import { ProviderError } from '../errors.js';

/** A line. */
export interface Line {
  /**
   * Runs a job when its turn comes. Aborted before that, or past `sendBy` by then, it throws a `ProviderError` that
   * says so, billed `no`: nothing was sent.
   */
  run<T>(job: () => Promise<T>, until: Pick<GenerateCall, 'signal' | 'sendBy'>): Promise<T>;
}

// For at least so long nobody follows a call that was given up: those behind it often have no more time than it had.
const LEAST_MS = 1_000;

/** Makes a line that lets `limit` jobs run at once, in the order they came. */
export function createLine(limit: number): Line {
  const places = createGate({ limit });
  let usualMs = 0;

  return {
    async run(job, { signal, sendBy }) {
      const leave = await places.enter(signal).catch(() => {
        throw neverSent();
      });
      if (Date.now() > sendBy) {
        leave();
        throw neverSent();
      }
      const startedAt = performance.now();
      const passedMs = () => performance.now() - startedAt;
      try {
        const result = await job();
        usualMs = passedMs();
        return result;
      } finally {
        // The server draws an abandoned call to its end and does not say when; most likely as soon as the last one.
        if (signal.aborted) setTimeout(leave, Math.max(LEAST_MS, usualMs - passedMs())).unref();
        else leave();
      }
    },
  };
}

function neverSent(): ProviderError {
  const message = 'The provider was busy with other pictures until the time was up. Try again shortly.';
  return new ProviderError('rate_limited', message, { billed: 'no', retryAfter: 5 });
}

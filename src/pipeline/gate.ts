/**
 * The one gate in front of every sharp job. sharp works on libuv's pool, which file reads share: four jobs at once
 * on a pool of four take a 50 KB read from under a millisecond to hundreds. So jobs never take the last thread.
 * The gate is process-wide, because the pool is.
 */
import { availableParallelism } from 'node:os';

/** Lets at most `limit` jobs run at once; the others wait in the order they came. */
export interface Gate {
  /** Runs a job when there is room. Rejects with `signal.reason` when aborted while waiting; a job that runs is not interrupted. */
  run<T>(job: () => Promise<T>, signal?: AbortSignal): Promise<T>;
  /** Jobs that may run at once. */
  readonly limit: number;
}

/** Makes a gate for `limit` jobs at once. */
export function createGate(limit: number): Gate {
  const waiting = new Set<() => void>();
  let running = 0;

  async function enter(signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted();
    if (running < limit) {
      running += 1;
      return;
    }
    await new Promise<void>((resolve, reject) => {
      const admit = () => {
        signal?.removeEventListener('abort', giveUp);
        resolve();
      };
      const giveUp = () => {
        waiting.delete(admit);
        reject(signal?.reason);
      };
      signal?.addEventListener('abort', giveUp, { once: true });
      waiting.add(admit);
    });
  }

  function leave(): void {
    const next = waiting.values().next().value;
    if (next === undefined) {
      running -= 1;
      return;
    }
    // The place passes on directly, so that nobody slips in between.
    waiting.delete(next);
    next();
  }

  return {
    limit,
    async run(job, signal) {
      await enter(signal);
      try {
        return await job();
      } finally {
        leave();
      }
    },
  };
}

const poolThreads = Number(process.env.UV_THREADPOOL_SIZE) || 4;

/** The process's gate for sharp jobs: `max(1, min(cores, pool − 1))` at once. */
export const imageJobs: Gate = createGate(Math.max(1, Math.min(availableParallelism(), poolThreads - 1)));

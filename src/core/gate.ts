/** A gate bounds how much of something runs at once: sharp jobs, upstream calls, requests in flight. */

/** Lets at most `limit` jobs run at once; the others wait in the order they came. */
export interface Gate {
  /**
   * Takes a place, waiting for one when there is none, and answers the function that gives it back (more than one
   * call of it is harmless). Rejects with `signal.reason` when aborted while waiting, and with `full()` when
   * `queue` others wait already.
   */
  enter(signal?: AbortSignal): Promise<() => void>;
  /** Runs a job in a place of its own. A job that runs is not interrupted by `signal`. */
  run<T>(job: () => Promise<T>, signal?: AbortSignal): Promise<T>;
  /** Places. */
  readonly limit: number;
}

/** How wide a gate is. */
export interface GateOptions {
  /** Places, at least 1. */
  readonly limit: number;
  /** How many may wait; more are turned away. @defaultValue unbounded */
  readonly queue?: number | undefined;
  /** What those turned away are told. */
  readonly full?: (() => Error) | undefined;
}

/** Makes a gate. */
export function createGate(options: GateOptions): Gate {
  const { limit, queue = Number.POSITIVE_INFINITY, full = () => new Error('the queue is full') } = options;
  const waiting = new Set<() => void>();
  let running = 0;

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

  function place(): () => void {
    let held = true;
    return () => {
      if (held) leave();
      held = false;
    };
  }

  async function enter(signal?: AbortSignal): Promise<() => void> {
    signal?.throwIfAborted();
    if (running < limit) {
      running += 1;
      return place();
    }
    if (waiting.size >= queue) throw full();
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
    return place();
  }

  return {
    limit,
    enter,
    async run(job, signal) {
      const exit = await enter(signal);
      try {
        return await job();
      } finally {
        exit();
      }
    },
  };
}

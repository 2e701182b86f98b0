/** A timer that can stand still. */
export interface Clock {
  /** When it will ring, in epoch milliseconds. */
  readonly ringsAt: number;
  /** Gives the whole time from now on, unless it is up already. */
  restart(): void;
  /**
   * Stops the time while it is others who are to be waited for, until as many `resume` were called, each once, as were
   * handed out. It never stands still for longer than `maxPausedMs` in all.
   */
  pause(): () => void;
  /** Ends it without a ring. */
  stop(): void;
}

/** How long a clock runs. */
export interface ClockOptions {
  /** Milliseconds until it rings. */
  readonly ms: number;
  /** Milliseconds it may stand still in all. */
  readonly maxPausedMs: number;
  /** Called when the time is up. */
  readonly ring: () => void;
}

/** Starts a clock. */
export function startClock({ ms, maxPausedMs, ring }: ClockOptions): Clock {
  let left = ms;
  let pauseLeft = maxPausedMs;
  let pauses = 0;
  let since = performance.now();
  let ringsAt = Date.now() + ms;
  let stopped = false;
  let timer = setTimeout(ring, ms);

  /** Takes what passed from what is left, and sets the timer anew. */
  function turn(wasPaused: boolean): void {
    const now = performance.now();
    const passed = now - since;
    const paused = wasPaused ? Math.min(passed, pauseLeft) : 0;
    pauseLeft -= paused;
    left -= passed - paused;
    ringsAt += paused;
    since = now;
    clearTimeout(timer);
    if (!stopped) timer = setTimeout(ring, Math.max(0, pauses > 0 ? left + pauseLeft : left));
  }

  return {
    get ringsAt() {
      return ringsAt;
    },
    restart() {
      turn(pauses > 0);
      left = ms;
      ringsAt = Date.now() + ms;
      turn(pauses > 0);
    },
    pause() {
      pauses += 1;
      if (pauses === 1) turn(false);
      return () => {
        pauses -= 1;
        if (pauses === 0) turn(true);
      };
    },
    stop() {
      stopped = true;
      clearTimeout(timer);
    },
  };
}

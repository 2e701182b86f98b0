/** Going on with a store that is down: pauses that grow, and the wait for what still goes on when the router closes. */
import { setTimeout as sleep } from 'node:timers/promises';

/** Pauses between attempts at a store. */
export interface BackOff {
  /** Waits a while. */
  pause(): Promise<void>;
  /** Doubles the next pause: the store took nothing. */
  grow(): void;
  /** Makes the next pause short again: the store took something. */
  reset(): void;
  /** Ends a pause under way and keeps the next ones short: little time is left. */
  hurry(): void;
}

const FIRST_MS = 50;
const LAST_MS = 5_000;
const LONGEST_HURRIED_MS = 500;

/** Makes pauses, the first of them short. */
export function createBackOff(): BackOff {
  const hurried = new AbortController();
  let waitMs = FIRST_MS;

  return {
    async pause() {
      // Jitter, so that a store that comes back is not met by everybody at once.
      const jittered = waitMs * (0.5 + Math.random() / 2);
      const { signal } = hurried;
      // Unreferenced, so that a process that has nothing else to do may end.
      if (signal.aborted) await sleep(Math.min(jittered, LONGEST_HURRIED_MS), undefined, { ref: false });
      else await sleep(jittered, undefined, { ref: false, signal }).catch(() => undefined);
    },
    grow: () => {
      waitMs = Math.min(waitMs * 2, LAST_MS);
    },
    reset: () => {
      waitMs = FIRST_MS;
    },
    hurry: () => hurried.abort(),
  };
}

/** Waits as long as there is work, until `signal` aborts; keeps the process meanwhile. */
export async function untilIdle(work: () => Promise<void> | undefined, signal: AbortSignal): Promise<void> {
  const aborted = new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
  // Pauses wait on timers that let a process end; whoever drains wants it to stay.
  const stay = setInterval(() => undefined, 1_000);
  while (work() !== undefined && !signal.aborted) await Promise.race([work(), aborted]);
  clearInterval(stay);
}

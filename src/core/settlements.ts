/** Settling holds with a store that may be down: tried once before the answer, then in the background until it lands. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Emit } from './events.js';
import { within } from './wait.js';

/** Something a budget store has to be told. */
export interface Settlement {
  /** What it is. */
  readonly action: 'commit' | 'release';
  /** The hold. */
  readonly holdId: string;
  /** The request the hold is for. */
  readonly requestId: string;
  /** Tells the store. Repeating it is harmless. */
  readonly attempt: () => Promise<unknown>;
}

/** Tells budget stores what they have to know, whatever it takes. */
export interface Settlements {
  /** Tries once; what fails goes on in the background. Never throws. */
  settle(settlement: Settlement): Promise<void>;
  /** Does all of it in the background. */
  settleLater(settlement: Settlement): void;
  /** Waits for what goes on in the background, until `signal` aborts. */
  drain(signal: AbortSignal): Promise<void>;
}

const FIRST_RETRY_MS = 50;
const LAST_RETRY_MS = 30_000;

/** The result of an operation of the budget store, or a rejection after `timeoutMs`: a store that hangs is down. */
export function answered<T>(operation: Promise<T>, timeoutMs: number): Promise<T> {
  const late = () => new Error(`the budget store did not answer within ${timeoutMs} ms`);
  return within(operation, timeoutMs, late);
}

/** Makes the teller of settlements. */
export function createSettlements(options: { readonly timeoutMs: number; readonly emit: Emit }): Settlements {
  const { timeoutMs, emit } = options;
  const background = new Set<Promise<void>>();

  async function attempt(settlement: Settlement, attempts: number): Promise<boolean> {
    const { action, holdId, requestId } = settlement;
    try {
      await answered(settlement.attempt(), timeoutMs);
      if (attempts > 1) {
        emit({ type: 'hold.settled', level: 'info', requestId, holdId, action, attempts });
      }
      return true;
    } catch (cause) {
      emit({ type: 'hold.unsettled', level: 'error', requestId, holdId, action, attempts, cause });
      return false;
    }
  }

  async function untilItLands(settlement: Settlement, tried: number): Promise<void> {
    let waitMs = FIRST_RETRY_MS;
    for (let attempts = tried + 1; !(await attempt(settlement, attempts)); attempts += 1) {
      // Jitter, so that a store that comes back is not met by everybody at once; unreferenced, so that a process
      // that has nothing else to do may end.
      await sleep(waitMs * (0.5 + Math.random() / 2), undefined, { ref: false });
      waitMs = Math.min(waitMs * 2, LAST_RETRY_MS);
    }
  }

  function goOn(settlement: Settlement, tried: number): void {
    const task = untilItLands(settlement, tried).finally(() => background.delete(task));
    background.add(task);
  }

  return {
    async settle(settlement) {
      if (!(await attempt(settlement, 1))) goOn(settlement, 1);
    },
    settleLater: (settlement) => goOn(settlement, 0),
    async drain(signal) {
      const aborted = new Promise<void>((resolve) => {
        if (signal.aborted) resolve();
        else signal.addEventListener('abort', () => resolve(), { once: true });
      });
      // Retries wait on timers that let a process end; whoever drains wants it to stay.
      const stay = setInterval(() => undefined, 1000);
      while (background.size > 0 && !signal.aborted) {
        await Promise.race([Promise.allSettled(background), aborted]);
      }
      clearInterval(stay);
    },
  };
}

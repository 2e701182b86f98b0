/**
 * Settling holds with a store that may be down: tried once before the answer, then from one queue until it lands. The
 * queue asks for one at a time until one lands, so that a store in trouble has few of them to bear.
 */
import { createBackOff, untilIdle } from './back-off.js';
import type { Emit } from './events.js';
import type { Amounts } from './ledger.js';
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
  /** What a commit books. */
  readonly amounts?: Amounts | undefined;
}

/** Tells budget stores what they have to know, whatever it takes. */
export interface Settlements {
  /** True while so many wait that nothing should begin that has to be settled: so their number stays bounded. */
  readonly full: boolean;
  /** Tries once; what fails goes on in the background. Never throws. */
  settle(settlement: Settlement): Promise<void>;
  /** Does all of it in the background. */
  settleLater(settlement: Settlement): void;
  /** Waits for what goes on in the background, until `signal` aborts; what is left then is told, and given up. */
  drain(signal: AbortSignal): Promise<void>;
}

const MAX_WAITING = 1_000;
const MAX_AT_ONCE = 16;

/** The result of an operation of the budget store, or a rejection after `timeoutMs`: a store that hangs is down. */
export function answered<T>(operation: Promise<T>, timeoutMs: number): Promise<T> {
  const late = () => new Error(`the budget store did not answer within ${timeoutMs} ms`);
  return within(operation, timeoutMs, late);
}

/** Makes the teller of settlements. */
export function createSettlements(options: { readonly timeoutMs: number; readonly emit: Emit }): Settlements {
  const { timeoutMs, emit } = options;
  const waiting: Settlement[] = [];
  const failures = new WeakMap<Settlement, number>();
  const backOff = createBackOff();
  let working: Promise<void> | undefined;
  let ended = false;

  function fail(settlement: Settlement, cause: unknown): void {
    const { action, holdId, requestId } = settlement;
    const before = failures.get(settlement) ?? 0;
    failures.set(settlement, before + 1);
    if (before === 0) emit({ type: 'hold.unsettled', level: 'error', requestId, holdId, action, cause });
  }

  /** Tells of a commit that the store answered without booking it. After a failure, `already` is its own work. */
  function checkBooked({ holdId, requestId, amounts }: Settlement, answer: unknown, attempts: number): void {
    if (amounts === undefined) return;
    if (answer !== 'unknown' && (answer !== 'already' || attempts > 1)) return;
    const { microUsd: costMicroUsd, images } = amounts;
    emit({ type: 'hold.lost', level: 'error', requestId, holdId, answer, costMicroUsd, images });
  }

  async function lands(settlement: Settlement): Promise<boolean> {
    const { action, holdId, requestId } = settlement;
    let answer: unknown;
    try {
      answer = await answered(settlement.attempt(), timeoutMs);
    } catch (cause) {
      fail(settlement, cause);
      return false;
    }
    const attempts = (failures.get(settlement) ?? 0) + 1;
    checkBooked(settlement, answer, attempts);
    if (attempts > 1) emit({ type: 'hold.settled', level: 'info', requestId, holdId, action, attempts });
    return true;
  }

  /** Tells the store until nothing waits. What it refuses goes last, and keeps no other from it. */
  async function work(): Promise<void> {
    let atOnce = 1;
    while (waiting.length > 0 && !ended) {
      const batch = waiting.slice(0, atOnce);
      const landed = await Promise.all(batch.map(lands));
      if (ended) return;
      const refused = batch.filter((_, place) => !landed[place]);
      // Not before: until they have landed they count among those that wait.
      waiting.splice(0, batch.length);
      waiting.push(...refused);
      if (refused.length < batch.length) {
        atOnce = Math.min(atOnce * 2, MAX_AT_ONCE);
        backOff.reset();
        continue;
      }
      atOnce = 1;
      await backOff.pause();
      backOff.grow();
    }
  }

  function wake(): void {
    working ??= work().finally(() => {
      working = undefined;
      if (waiting.length > 0 && !ended) wake();
    });
  }

  function settleLater(settlement: Settlement): void {
    if (ended) giveUp([settlement]);
    else {
      waiting.push(settlement);
      wake();
    }
  }

  /** Tells of those that were not told of yet: their holds will lapse. */
  function giveUp(settlements: readonly Settlement[]): void {
    for (const settlement of settlements) {
      if (!failures.has(settlement)) fail(settlement, new Error('the router closed before it was tried'));
    }
  }

  return {
    get full() {
      return waiting.length >= MAX_WAITING;
    },
    async settle(settlement) {
      if (!(await lands(settlement))) settleLater(settlement);
    },
    settleLater,
    async drain(signal) {
      backOff.hurry();
      await untilIdle(() => working, signal);
      ended = true;
      giveUp(waiting.splice(0));
    },
  };
}

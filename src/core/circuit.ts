/** A circuit breaker: who fails again and again is left alone for a while, and then tried by one call. */

/** Closed: all calls are let through. Open: none. Half-open: one is, and decides. */
export type CircuitState = 'closed' | 'open' | 'half-open';

/** What a call says of whom it was sent to; one that was given up says nothing. */
export type Verdict = 'well' | 'unwell' | 'nothing';

/** Watches the calls to one backend. */
export interface Circuit {
  /** Where it stands. */
  state(): CircuitState;
  /** Whether a call would be let through now. */
  isPassable(): boolean;
  /** Lets a call through and returns what it is to be ended with, exactly once; `undefined` where none may pass. */
  begin(): ((verdict: Verdict) => void) | undefined;
  /** Milliseconds until another call may be let through, as far as that can be told. */
  waitMs(): number;
}

// So many failures in a row open a circuit, for so long.
const FAILURES = 5;
const OPEN_MS = 10_000;
// What others are told to wait while a trial runs, however long it takes.
const TRIAL_MS = 5_000;

/** Makes a circuit that is closed. */
export function createCircuit(): Circuit {
  let failures = 0;
  let openUntil: number | undefined;
  let isTried = false;

  function isPassable(): boolean {
    // A trial takes nobody else with it: waiting for its end would take as long as a picture.
    return openUntil === undefined || (!isTried && Date.now() >= openUntil);
  }

  function count(verdict: Verdict): void {
    if (verdict === 'well') failures = 0;
    if (verdict === 'unwell') failures += 1;
    // Calls from before it opened open it no longer.
    if (failures >= FAILURES && openUntil === undefined) openUntil = Date.now() + OPEN_MS;
  }

  function endTrial(verdict: Verdict): void {
    isTried = false;
    if (verdict === 'unwell') openUntil = Date.now() + OPEN_MS;
    if (verdict !== 'well') return;
    openUntil = undefined;
    failures = 0;
  }

  return {
    state() {
      if (openUntil === undefined) return 'closed';
      return isTried ? 'half-open' : 'open';
    },
    isPassable,
    begin() {
      if (!isPassable()) return undefined;
      if (openUntil === undefined) return count;
      isTried = true;
      return endTrial;
    },
    waitMs() {
      if (isTried) return TRIAL_MS;
      return openUntil === undefined ? 0 : openUntil - Date.now();
    },
  };
}

/** Work that several requests want at once is done once. */
import { unlessAborted } from '../core/wait.js';

/**
 * Joins a flight, or starts it. Rejects with `signal.reason` when aborted; the flight goes on while anybody waits for
 * it.
 */
export type Share<T> = (
  key: string,
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
) => Promise<T>;

interface Flight<T> {
  readonly landing: Promise<T>;
  readonly controller: AbortController;
  waiting: number;
}

/** Makes the function that shares work by key. The signal that work gets aborts once nobody waits any more. */
export function createFlights<T>(): Share<T> {
  const flights = new Map<string, Flight<T>>();

  function start(key: string, work: (signal: AbortSignal) => Promise<T>): Flight<T> {
    const controller = new AbortController();
    const forget = () => {
      if (flights.get(key) === flight) flights.delete(key);
    };
    // Nobody joins what was given up.
    controller.signal.addEventListener('abort', forget, { once: true });
    const landing = work(controller.signal).finally(forget);
    const flight: Flight<T> = { landing, controller, waiting: 0 };
    flights.set(key, flight);
    return flight;
  }

  return async (key, signal, work) => {
    signal.throwIfAborted();
    const flight = flights.get(key) ?? start(key, work);
    flight.waiting += 1;
    try {
      return await unlessAborted(flight.landing, signal);
    } finally {
      flight.waiting -= 1;
      if (flight.waiting === 0) flight.controller.abort(signal.reason);
    }
  };
}

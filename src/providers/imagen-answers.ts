/** The answers to the requests of one call, read side by side. */
import type { GenerateEvent } from '../core/provider.js';
import type { ProviderError } from '../errors.js';
import type { Ending } from './imagen-call.js';
import { toProviderError } from './imagen-errors.js';

/** An answer being read. */
export type Reading = AsyncGenerator<GenerateEvent, Ending, undefined>;

interface Step {
  readonly reading: Reading;
  readonly result: IteratorResult<GenerateEvent, Ending> | undefined;
  readonly failure?: unknown;
}

/**
 * Yields what any of the answers holds as soon as it is there, and reads each of them to its end, also after one that
 * failed: pictures are paid for. Then throws what failed, or at once the signal's reason.
 */
export async function* readAll(readings: readonly Reading[], signal: AbortSignal): Reading {
  const steps = new Map(readings.map((reading) => [reading, nextOf(reading)]));
  const failures: ProviderError[] = [];
  let ending: Ending = {};
  try {
    while (steps.size > 0) {
      const { reading, result, failure } = await Promise.race(steps.values());
      steps.delete(reading);
      if (result === undefined) {
        signal.throwIfAborted();
        failures.push(toProviderError(failure));
      } else if (result.done === true) ending = result.value;
      else {
        yield result.value;
        steps.set(reading, nextOf(reading));
      }
    }
  } finally {
    for (const reading of readings) reading.return({}).catch(() => undefined);
  }
  // What one request may have been billed, the call may have been.
  const failure = failures.find(({ billed }) => billed !== 'no') ?? failures[0];
  if (failure !== undefined) throw failure;
  return ending;
}

/** Never rejects: one that fails while another is dealt with is not unhandled. */
async function nextOf(reading: Reading): Promise<Step> {
  try {
    return { reading, result: await reading.next() };
  } catch (failure) {
    return { reading, result: undefined, failure };
  }
}

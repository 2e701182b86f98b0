import { randomInt } from 'node:crypto';

/** How many cases a property is tried with: few in `npm test`, `SOAK` times as many in `npm run soak`. */
export function runs(count: number): { readonly numRuns: number } {
  return { numRuns: count * Math.max(1, Number(process.env.SOAK) || 1) };
}

/** The same with a seed, which is printed, so that a run can be had again. */
export function seededRuns(
  t: { diagnostic(message: string): void },
  count: number,
): { readonly numRuns: number; readonly seed: number } {
  const seeded = { ...runs(count), seed: randomInt(2 ** 31) };
  t.diagnostic(`${seeded.numRuns} runs from seed ${seeded.seed}`);
  return seeded;
}

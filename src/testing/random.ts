/** Random numbers that come again from the same seed, so that a failure can be seen twice. */

/** Answers a whole number from 0 to below `bound`. */
export type Random = (bound: number) => number;

/** Makes a generator (the public-domain mulberry32) from a 32-bit seed. */
export function seededRandom(seed: number): Random {
  let state = seed;
  return (bound) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * bound);
  };
}

/** How many cases a property is tried with: few in `npm test`, `SOAK` times as many in `npm run soak`. */
export function runs(count: number): { readonly numRuns: number } {
  return { numRuns: count * Math.max(1, Number(process.env.SOAK) || 1) };
}

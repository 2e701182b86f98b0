/** How servers are warmed up before they are measured: all alike. */
import type { Round } from './bench.js';
import type { Until } from './load.js';
import type { Photograph } from './photographs.js';

/** Answers after which V8 has compiled what they take. Those of large pictures have more of the same work in each. */
const ANSWERS = { photo: 300, middle: 6_000, small: 6_000 } as const satisfies Record<Photograph, number>;
/** What the short form has time for. */
const QUICK_SHARE = 1 / 16;
/** By then whoever is not warm works on something that is compiled already, such as an encoder. */
const MOST_SECONDS = 6;

/** Until when a server is warmed up with pictures of a kind. */
export function warmth({ quick }: Round, photograph: Photograph): Until {
  return { answers: ANSWERS[photograph] * (quick ? QUICK_SHARE : 1), mostSeconds: quick ? 1 : MOST_SECONDS };
}

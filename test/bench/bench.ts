/** What suites are made of: samples are taken in rounds, rows are read off them, and medians are what counts. */

/** Figures of one round, by name. A figure that could not be had is left out. */
export type Samples = Readonly<Record<string, number>>;

/** Reads a figure off the samples of a round. */
export type Reading = (samples: Samples) => number | undefined;

/** What a figure has to be. */
export type Target = { readonly atMost: number } | { readonly atLeast: number };

/** One line of a table. */
export interface Row {
  /** What is measured, and in what unit or against what. */
  readonly what: string;
  /** What `ours` has to be. */
  readonly target?: Target | undefined;
  /** By column; several figures stand beside one another, such as those of growing loads. */
  readonly readings: Readonly<Record<string, Reading | readonly Reading[]>>;
}

/** One table of the report. */
export interface Suite {
  /** What `--only` calls it. */
  readonly name: string;
  /** Its heading. */
  readonly title: string;
  /** Columns in order; that of `ours` is held against the targets. */
  readonly columns: readonly string[];
  /** Its lines. */
  readonly rows: readonly Row[];
  /** Takes the samples of one round. */
  run(round: Round): Promise<Samples>;
}

/** What a round is run with. */
export interface Round {
  /** Whether this is the short form. */
  readonly quick: boolean;
  /** How long each load lasts, in seconds. */
  readonly seconds: number;
  /** Origin of the upstream. */
  readonly upstream: string;
  /** Where the photographs lie, as `<name>.png`. */
  readonly photographs: string;
  /** Where a server may store pictures; each takes a folder of its own. */
  readonly scratch: string;
}

/** The column that is held against targets. */
export const OURS = 'ours';

/** Reads one figure. */
export function figure(name: string): Reading {
  return (samples) => samples[name];
}

/** Divides one reading by the sum of others of the same round. */
export function ratio(dividend: Reading, ...divisors: readonly Reading[]): Reading {
  return (samples) => {
    const above = dividend(samples);
    const below = divisors.map((divisor) => divisor(samples));
    if (above === undefined || below.includes(undefined)) return undefined;
    return above / below.reduce<number>((sum, one) => sum + (one ?? 0), 0);
  };
}

/** The middle of what the rounds say; `undefined` when none says anything. */
export function medianOf(reading: Reading, rounds: readonly Samples[]): number | undefined {
  const values = rounds.map(reading).filter((value) => value !== undefined && !Number.isNaN(value));
  const ascending = (values as number[]).sort((one, other) => one - other);
  const middle = (ascending.length - 1) / 2;
  const [low, high] = [ascending[Math.floor(middle)], ascending[Math.ceil(middle)]];
  return low === undefined || high === undefined ? undefined : (low + high) / 2;
}

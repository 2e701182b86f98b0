/** Work on many things, some of which may fail: the others are done all the same. */

/** Keeps going. */
export interface Attempts {
  /** Runs `work`. Where that fails it answers `undefined`; once the signal is aborted it throws its reason. */
  run<T>(work: () => Promise<T>): Promise<T | undefined>;
  /** Takes note of a failure. Throws the signal's reason instead where it is aborted. */
  note(failure: unknown): void;
  /** Throws the first failure, if there was one. */
  end(): void;
  /** Ends it all. */
  readonly signal: AbortSignal | undefined;
}

/** Makes the keeper of one piece of work. */
export function createAttempts(signal: AbortSignal | undefined): Attempts {
  let first: { readonly failure: unknown } | undefined;

  function note(failure: unknown): void {
    signal?.throwIfAborted();
    first ??= { failure };
  }

  return {
    signal,
    async run(work) {
      signal?.throwIfAborted();
      try {
        return await work();
      } catch (failure) {
        note(failure);
        return undefined;
      }
    },
    note,
    end() {
      if (first !== undefined) throw first.failure;
    },
  };
}

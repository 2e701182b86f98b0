/** What every conformance check is. */

/** How binding a check is, in the words of RFC 2119. */
export type CheckLevel = 'MUST' | 'SHOULD' | 'MAY';

/** Why a check had nothing to check: the subject lacks an optional part. A runner shows it as skipped. */
export interface NotApplicable {
  /** A few words for people. */
  readonly notApplicable: string;
}

/** One check of a contract. Runs under any test runner, or none. */
export interface Check<Create> {
  /** Stable and unique within its list, such as `put.range-last-byte`. */
  readonly id: string;
  /** The promise as a sentence. */
  readonly title: string;
  /** How binding it is. */
  readonly level: CheckLevel;
  /** Throws when the promise is broken. Makes its own subject by `create` and closes it. */
  run(create: Create): Promise<undefined | NotApplicable>;
}

/**
 * The budget contract: a ledger of integers and leases. It knows no money, users or calendars; the router computes
 * keys and amounts. Each operation is one atomic step. What is normal is returned; only faults are thrown. Types only.
 */

/** A ledger that cannot be overdrawn. */
export interface BudgetStore {
  /**
   * Holds every line's amount, or none: a line is refused when spent + held + amount would exceed its limit.
   * Reserving an id that is still pending again answers the same hold; one that was released, settled or has lapsed
   * is `closed`. Empty `lines` are legal and hold nothing.
   */
  reserve(request: ReserveRequest): Promise<ReserveResult>;
  /** What is known of a `once` key; reads only. `undefined` when no hold carries it. */
  recall(once: Once): Promise<Seen | undefined>;
  /**
   * Books the amounts in place of the hold, also above it and also after it lapsed. A key of the hold that `lines`
   * leaves out books 0; a key that is not in the hold throws. The first settlement wins: `already`. An id not known
   * is a no-op: `unknown`.
   */
  commit(
    hold: Hold,
    lines: readonly CommitLine[],
    outcome?: string,
  ): Promise<'settled' | 'already' | 'unknown'>;
  /**
   * Frees a held (or lapsed) id's amounts and its `once` key. Leaves a tombstone for at least an hour, known id or
   * not, so that a late reserve of it is `closed`. A settled id is `already`, as is one released before.
   */
  release(id: string): Promise<'released' | 'already' | 'unknown'>;
  /** Balances of keys, in the order asked; a key never seen has 0 and 0. Lapsed amounts are in `spent`. */
  read(keys: readonly string[]): Promise<readonly Balance[]>;
  /** Frees what it holds. No call follows. */
  close?(): Promise<void>;
}

/** What to hold. */
export interface ReserveRequest {
  /** Random per attempt. */
  readonly id: string;
  /** Makes the hold findable by a second request that means the same. */
  readonly once?: Once | undefined;
  /** What to hold, keys unique. */
  readonly lines: readonly ReserveLine[];
  /** Milliseconds on the store's own clock after which an unsettled hold lapses: it then counts as spent. */
  readonly leaseMs: number;
}

/** A key under which one hold at a time may exist, and a fingerprint of what it stands for. */
export interface Once {
  /** Opaque to the store. */
  readonly key: string;
  /** Opaque to the store; another one under the same key is a conflict. */
  readonly fingerprint: string;
}

/** One bucket of a reservation. Amounts and limits are safe integers ≥ 0. */
export interface ReserveLine {
  /** Which bucket. */
  readonly key: string;
  /** What spent + held may reach. */
  readonly limit: number;
  /** What to hold. */
  readonly amount: number;
  /** Epoch milliseconds after which the row may be purged, the latest of its reserves; `null` never. */
  readonly expiresAt: number | null;
}

/** What is booked in one bucket. */
export interface CommitLine {
  /** A key of the hold. */
  readonly key: string;
  /** A safe integer ≥ 0. */
  readonly amount: number;
}

/** A reservation that was granted: plain JSON, so that it can be kept and settled by another process. */
export interface Hold {
  /** The id it was reserved under. */
  readonly id: string;
  /** What is held where. */
  readonly lines: readonly CommitLine[];
}

/** What a bucket has after a reservation. */
export interface Balance {
  /** Which bucket. */
  readonly key: string;
  /** Booked, lapsed holds included. */
  readonly spent: number;
  /** Held and still pending. */
  readonly held: number;
}

/** What a `once` key is known for. `outcome` is what the commit was given. */
export interface Seen {
  /** `pending`, `settled`, `lapsed`, or `conflict` when the fingerprint is another one. */
  readonly state: 'pending' | 'settled' | 'lapsed' | 'conflict';
  /** The commit's outcome, when `settled`. */
  readonly outcome?: string | undefined;
}

/** The answer to a reservation. */
export type ReserveResult =
  | {
      /** Granted. */
      readonly ok: true;
      /** To be settled. */
      readonly hold: Hold;
      /** Every line's bucket, this hold included. */
      readonly balances: readonly Balance[];
    }
  | {
      /** Not granted; nothing is held. */
      readonly ok: false;
      /** Every line that did not fit. */
      readonly refused: readonly {
        /** Its bucket. */
        readonly key: string;
        /** What was left there, 0 or more. */
        readonly left: number;
      }[];
    }
  | {
      /** Not granted; another hold has this `once` key. */
      readonly ok: false;
      /** What it is known for. */
      readonly seen: Seen;
    }
  | {
      /** Not granted; this id is released, settled or lapsed. */
      readonly ok: false;
      /** Discriminates. */
      readonly closed: true;
    };

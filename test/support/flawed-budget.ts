/**
 * A budget store that keeps the contract but for one flaw, to see that the kit finds each. Written without a look
 * at ours: balances are worked out from the holds, and every operation runs in one go after a pause.
 */
import { setImmediate as pause } from 'node:timers/promises';
import type {
  BudgetStore,
  CommitLine,
  Once,
  ReserveLine,
  ReserveResult,
  Seen,
} from '../../src/core/budget.js';
import type { Flaw } from './budget-flaws.js';

interface HeldLine extends CommitLine {
  /** The bucket's row may be purged; this ledger books nothing there. */
  readonly expired?: boolean;
  /** The bucket's row was purged too early. */
  readonly purged?: boolean;
}

interface Entry {
  id: string;
  once: Once | undefined;
  lines: readonly HeldLine[];
  lapsesAt: number;
  state: 'pending' | 'lapsed' | 'settled' | 'released';
  outcome: string | undefined;
}

interface Ledger {
  entries: Entry[];
  limits: Map<string, number>;
  /** When a bucket expires, as its first reserve said. */
  expiries: Map<string, number>;
  /** Leases of holds that were settled and that are not forgotten. */
  leases: Pick<Entry, 'id' | 'lines' | 'lapsesAt'>[];
}

/** Opens instances over one ledger with this flaw, or a sound one. */
export function flawedBudget(flaw?: Flaw): () => BudgetStore {
  const empty = (): Ledger => ({ entries: [], limits: new Map(), expiries: new Map(), leases: [] });
  const shared = empty();
  return () => open(flaw === 'instances-apart' ? empty() : shared, flaw);
}

function open(ledger: Ledger, flaw: Flaw | undefined): BudgetStore {
  const find = (id: string) => ledger.entries.find((entry) => entry.id === id);
  const holder = (key: string) =>
    ledger.entries.find((entry) => entry.once?.key === key && entry.state !== 'released');
  const fold = (key: string) => {
    if (flaw === 'keys-cut') return key.slice(0, 64);
    return flaw === 'keys-case-folded' ? key.toLowerCase() : key;
  };
  const isPurged = (line: HeldLine) =>
    line.purged ||
    (flaw === 'expiry-of-first-call' && (ledger.expiries.get(line.key) ?? Infinity) < Date.now());

  function balance(key: string): { key: string; spent: number; held: number } {
    let [spent, held] = [0, 0];
    for (const entry of ledger.entries) {
      for (const line of entry.lines) {
        if (fold(line.key) !== fold(key) || isPurged(line)) continue;
        if (entry.state === 'pending') held += line.amount;
        else spent += line.amount;
      }
    }
    if (flaw === 'sums-in-32-bits') [spent, held] = [spent | 0, held | 0];
    if (flaw === 'sums-wrap') spent %= 2 ** 53;
    return { key, spent, held };
  }

  function lapse(): void {
    for (const entry of ledger.entries) {
      if (entry.state !== 'pending' || entry.lapsesAt > Date.now() || flaw === 'lapse-never') continue;
      entry.state = 'lapsed';
      if (flaw === 'lapse-frees') entry.lines = [];
      if (flaw === 'lapsed-forgets-once') entry.once = undefined;
      if (flaw === 'lapsed-id-reopens') entry.id = `${entry.id} before`;
    }
    for (const lease of ledger.leases) {
      if (lease.lapsesAt > Date.now()) continue;
      ledger.leases = ledger.leases.filter((other) => other !== lease);
      add({ ...lease, state: 'lapsed' });
    }
  }

  function keepLease({ id, lines, lapsesAt, state }: Entry): void {
    if (state === 'pending') ledger.leases.push({ id: `${id} once more`, lines, lapsesAt });
  }

  function describe(entry: Entry, once: Once): Seen {
    const { state, outcome } = entry;
    if (entry.once?.fingerprint !== once.fingerprint && flaw !== 'conflict-not-noticed') {
      return flaw === 'conflict-tells-outcome' ? { state: 'conflict', outcome } : { state: 'conflict' };
    }
    return state === 'settled' ? { state, outcome } : { state: state as 'pending' | 'lapsed' };
  }

  function limitOf({ key, limit }: ReserveLine): number {
    if (flaw !== 'limit-of-first-call') return limit;
    if (!ledger.limits.has(key)) ledger.limits.set(key, limit);
    return ledger.limits.get(key) ?? limit;
  }

  function refusals(lines: readonly ReserveLine[]): { key: string; left: number }[] {
    const refused = lines.flatMap((line) => {
      const { spent, held } = balance(line.key);
      const left = limitOf(line) - spent - held;
      const fits =
        line.amount < left ||
        (line.amount === left && flaw !== 'limit-exclusive' && !(flaw === 'zero-refused' && left === 0));
      return fits ? [] : [{ key: line.key, left: flaw === 'left-negative' ? left : Math.max(0, left) }];
    });
    return flaw === 'first-refusal-only' ? refused.slice(0, 1) : refused;
  }

  function answer(entry: Entry): ReserveResult {
    const hold = { id: entry.id, lines: entry.lines.map(({ key, amount }) => ({ key, amount })) };
    const unheld = flaw === 'balances-before-hold' ? 1 : 0;
    const balances = entry.lines.map(({ key, amount }) => {
      const { spent, held } = balance(key);
      return { key, spent, held: held - unheld * amount };
    });
    return { ok: true, hold, balances };
  }

  function add(parts: Partial<Entry> & { readonly id: string }): Entry {
    const entry: Entry = {
      once: undefined,
      lines: [],
      lapsesAt: 0,
      state: 'released',
      outcome: undefined,
      ...parts,
    };
    ledger.entries.push(entry);
    return entry;
  }

  function stopEarly(
    id: string,
    once: Once | undefined,
    lines: readonly ReserveLine[],
  ): ReserveResult | undefined {
    const known = find(id);
    const other = once && holder(once.key);
    if (flaw === 'once-before-id' && once && other) return { ok: false, seen: describe(other, once) };
    if (known?.state === 'pending') {
      if (flaw === 'repeat-takes-new-lines') known.lines = lines;
      if (flaw === 'repeat-holds-twice') add({ ...known, once: undefined });
      return answer(known);
    }
    if (known && !reopens(known)) return { ok: false, closed: true };
    if (flaw === 'limits-before-once' && refusals(lines).length > 0) {
      return { ok: false, refused: refusals(lines) };
    }
    if (!once || !other) return undefined;
    if (flaw === 'loser-closes') add({ id });
    return { ok: false, seen: describe(other, once) };
  }

  function reopens(entry: Entry): boolean {
    const reopened =
      (flaw === 'settled-id-reopens' && entry.state === 'settled') ||
      (flaw === 'released-id-reopens' && entry.state === 'released');
    if (reopened) Object.assign(entry, { id: `${entry.id} before`, once: undefined });
    return reopened;
  }

  function checkLines(lines: readonly { readonly key: string }[], numbers: readonly unknown[]): void {
    const keys = new Set(lines.map(({ key }) => key));
    if (keys.size < lines.length && flaw !== 'duplicate-keys-accepted')
      throw new Error('a key is there twice');
    const sound = numbers.every((number) => Number.isSafeInteger(number) && (number as number) >= 0);
    if (!sound && flaw !== 'arguments-unchecked') throw new Error('not an amount');
  }

  function booked(entry: Entry, lines: readonly CommitLine[]): HeldLine[] {
    return entry.lines.flatMap((held) => {
      const line = lines.find(({ key }) => key === held.key);
      if (!line) return flaw === 'left-out-books-hold' ? [held] : [];
      if (held.expired)
        return flaw === 'expired-bucket-below-zero' ? [{ ...held, amount: -held.amount }] : [];
      const rest = flaw === 'commit-keeps-rest' ? Math.max(held.amount, line.amount) : line.amount;
      const amount = flaw === 'commit-clipped-to-hold' ? Math.min(held.amount, line.amount) : rest;
      const lapsed = flaw === 'late-commit-adds' && entry.state === 'lapsed' ? held.amount : 0;
      return [{ ...held, amount: amount + lapsed }];
    });
  }

  function outcomeOf(outcome: string | undefined, late: boolean): string | undefined {
    if (flaw === 'outcome-lost' || (flaw === 'late-outcome-lost' && late)) return undefined;
    if (flaw === 'outcome-cut') return outcome?.slice(0, 255);
    return flaw === 'outcome-empty-lost' ? outcome || undefined : outcome;
  }

  return {
    async reserve({ id, once, lines, leaseMs }) {
      await pause();
      lapse();
      checkLines(
        lines,
        lines.flatMap(({ limit, amount }) => [limit, amount]),
      );
      const early = stopEarly(id, once, lines);
      if (early) return early;
      const refused = refusals(lines);
      if (flaw === 'check-then-add') await pause();
      const lease = flaw === 'lease-capped' ? Math.min(leaseMs, 5_000) : leaseMs;
      const entry: Partial<Entry> & { id: string } = { id, lapsesAt: Date.now() + lease, state: 'pending' };
      if (refused.length > 0) {
        if (flaw === 'partial-hold') {
          const fitting = lines.filter(({ key }) => !refused.some((line) => line.key === key));
          add({ ...entry, id: `${id} in part`, lines: fitting });
        }
        if (flaw === 'refusal-keeps-once' && once) add({ ...entry, id: `${id} refused`, once });
        return { ok: false, refused };
      }
      const now = Date.now();
      const held = lines.map(({ key, amount, expiresAt }) => ({
        key,
        amount,
        expired: (expiresAt ?? now) < now,
        purged: flaw === 'windowed-not-kept' && expiresAt !== null,
      }));
      for (const { key, expiresAt } of lines) {
        if (!ledger.expiries.has(key)) ledger.expiries.set(key, expiresAt ?? Infinity);
      }
      return answer(add({ ...entry, once, lines: held }));
    },
    async recall(once) {
      await pause();
      lapse();
      const entry = holder(once.key);
      if (!entry && flaw === 'recall-creates') {
        add({ id: once.key, once, state: 'pending', lapsesAt: Number.POSITIVE_INFINITY });
      }
      return entry && describe(entry, once);
    },
    async commit({ id, lines: given }, lines, outcome) {
      await pause();
      lapse();
      checkLines(
        lines,
        lines.map(({ amount }) => amount),
      );
      const entry = find(id);
      const held = entry && entry.state !== 'settled' && entry.state !== 'released' ? entry.lines : given;
      const foreign = lines.some(({ key }) => !held.some((line) => line.key === key));
      if (foreign && flaw !== 'foreign-key-accepted') throw new Error('a key is not in the hold');
      if (!entry) {
        if (flaw === 'commit-of-unknown-books') add({ id, lines, state: 'settled' });
        if (flaw === 'commit-of-unknown-closes') add({ id });
        return 'unknown';
      }
      if (entry.state === 'settled' || (entry.state === 'released' && flaw !== 'released-can-be-booked')) {
        if (entry.state === 'settled' && flaw === 'second-commit-books')
          add({ id: `${id} again`, lines, state: 'settled' });
        if (entry.state === 'settled' && flaw === 'second-outcome-wins') entry.outcome = outcome;
        return 'already';
      }
      if (entry.state === 'lapsed' && flaw === 'late-commit-refused') return 'already';
      if (flaw === 'expired-bucket-throws' && entry.lines.some(({ expired }) => expired))
        throw new Error('no such bucket');
      if (flaw === 'commit-keeps-lease') keepLease(entry);
      const kept = entry.state === 'released' ? lines : booked(entry, lines);
      const late = entry.state === 'lapsed';
      Object.assign(entry, { lines: kept, state: 'settled', outcome: outcomeOf(outcome, late) });
      return 'settled';
    },
    async release(id) {
      await pause();
      lapse();
      const entry = find(id);
      if (entry?.once && entry.state === 'released' && flaw === 'release-frees-once-of-others') {
        const other = holder(entry.once.key);
        if (other) other.once = undefined;
      }
      if (!entry) {
        if (flaw !== 'release-unknown-no-tombstone') add({ id });
        return 'unknown';
      }
      const closed =
        (entry.state === 'released' && flaw !== 'second-release-counts') ||
        (entry.state === 'settled' && flaw !== 'release-after-commit-frees');
      if (closed || (entry.state === 'lapsed' && flaw === 'late-release-refused')) return 'already';
      if (flaw === 'release-keeps-once')
        add({ id: `${id} once`, once: entry.once, state: 'pending', lapsesAt: Number.POSITIVE_INFINITY });
      if (flaw === 'release-keeps-lease') keepLease(entry);
      Object.assign(entry, { lines: [], state: 'released' });
      return 'released';
    },
    async read(keys) {
      await pause();
      lapse();
      const balances = keys.map(balance);
      if (flaw === 'unknown-keys-left-out') return balances.filter(({ spent, held }) => spent + held > 0);
      if (flaw !== 'read-known-first') return balances;
      return balances.sort((a, b) => b.spent + b.held - a.spent - a.held);
    },
  };
}

/** The ledger a storm is compared with: no sums, no expiry, every answer worked out from the list of holds. */
import type { Balance, BudgetStore, CommitLine, Once, Seen } from '../../core/budget.js';

/** A ledger that is slow and obvious, with a clock that is moved by hand. */
export interface ReferenceLedger extends BudgetStore {
  /** Lets time pass. */
  advance(ms: number): void;
}

interface Entry {
  readonly once: Once | undefined;
  readonly lapsesAt: number;
  state: 'pending' | 'settled' | 'released';
  /** What is held, then what was booked. */
  lines: readonly CommitLine[];
  outcome: string | undefined;
}

/** Makes an empty reference ledger at instant 0. */
export function referenceLedger(): ReferenceLedger {
  const entries = new Map<string, Entry>();
  let now = 0;

  const stateOf = (entry: Entry) =>
    entry.state === 'pending' && entry.lapsesAt <= now ? 'lapsed' : entry.state;

  const sum = (key: string, counts: (entry: Entry) => boolean) =>
    [...entries.values()]
      .filter(counts)
      .flatMap(({ lines }) => lines)
      .reduce((total, line) => (line.key === key ? total + line.amount : total), 0);

  const balance = (key: string): Balance => ({
    key,
    spent: sum(key, (entry) => ['settled', 'lapsed'].includes(stateOf(entry))),
    held: sum(key, (entry) => stateOf(entry) === 'pending'),
  });

  const seen = (once: Once | undefined): Seen | undefined => {
    for (const entry of entries.values()) {
      const state = stateOf(entry);
      if (!once || entry.once?.key !== once.key || state === 'released') continue;
      return entry.once.fingerprint === once.fingerprint
        ? { state, outcome: entry.outcome }
        : { state: 'conflict' };
    }
    return undefined;
  };

  return {
    advance(ms) {
      now += ms;
    },
    async reserve({ id, once, lines, leaseMs }) {
      const known = entries.get(id);
      if (known && stateOf(known) !== 'pending') return { ok: false, closed: true };
      if (!known) {
        const other = seen(once);
        if (other) return { ok: false, seen: other };
        const refused = lines.flatMap(({ key, limit, amount }) => {
          const left = limit - balance(key).spent - balance(key).held;
          return amount > left ? [{ key, left: Math.max(0, left) }] : [];
        });
        if (refused.length > 0) return { ok: false, refused };
      }
      const held = known?.lines ?? lines.map(({ key, amount }) => ({ key, amount }));
      if (!known) {
        entries.set(id, { once, lapsesAt: now + leaseMs, state: 'pending', lines: held, outcome: undefined });
      }
      return { ok: true, hold: { id, lines: held }, balances: held.map(({ key }) => balance(key)) };
    },
    async recall(once) {
      return seen(once);
    },
    async commit({ id }, lines, outcome) {
      const entry = entries.get(id);
      if (!entry) return 'unknown';
      if (entry.state !== 'pending') return 'already';
      Object.assign(entry, { state: 'settled', lines, outcome });
      return 'settled';
    },
    async release(id) {
      const entry = entries.get(id);
      if (entry && entry.state !== 'pending') return 'already';
      entries.set(id, { once: undefined, lapsesAt: 0, state: 'released', lines: [], outcome: undefined });
      return entry ? 'released' : 'unknown';
    },
    async read(keys) {
      return keys.map(balance);
    },
  };
}

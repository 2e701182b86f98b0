/** Checks by storm: random operations from a seed, compared with the reference ledger or with their own answers. */
import assert from 'node:assert/strict';
import type { BudgetStore, CommitLine, Hold, Once, ReserveRequest } from '../../core/budget.js';
import type { Check } from '../check.js';
import { type Random, seededRandom } from '../random.js';
import { type ReferenceLedger, referenceLedger } from './reference.js';
import {
  afterLapse,
  byKey,
  type CreateBudget,
  expectBalance,
  inAnHour,
  line,
  must,
  plain,
  request,
  SHORT_LEASE_MS,
  unique,
} from './subject.js';

/** One operation on a store, as plain data. */
export type Step =
  | { readonly do: 'reserve'; readonly request: ReserveRequest }
  | { readonly do: 'recall'; readonly once: Once }
  | {
      readonly do: 'commit';
      readonly hold: Hold;
      readonly lines: readonly CommitLine[];
      readonly outcome: string | undefined;
    }
  | { readonly do: 'release'; readonly id: string }
  | { readonly do: 'read'; readonly keys: readonly string[] };

/** Does a step and answers what the store said, in a form that compares: plain, lists without an order sorted. */
export async function perform(store: BudgetStore, step: Step): Promise<unknown> {
  if (step.do === 'recall') return plain(await store.recall(step.once));
  if (step.do === 'commit') return store.commit(step.hold, step.lines, step.outcome);
  if (step.do === 'release') return store.release(step.id);
  if (step.do === 'read') return plain(await store.read(step.keys));
  const result = await store.reserve(step.request);
  if ('refused' in result) return { ok: false, refused: byKey(result.refused) };
  if (!result.ok) return plain(result);
  const lines = byKey(result.hold.lines);
  return { ok: true, hold: { id: result.hold.id, lines }, balances: byKey(result.balances) };
}

const SEEDS = [1, 2, 3];
const STEPS = 160;
const LIMITS = [15, 40, 200, 1_000];

interface Storm {
  readonly random: Random;
  readonly prefix: string;
  /** Holds granted, by id: a commit needs their keys. */
  readonly holds: Map<string, Hold>;
}

/** Makes up the step with this number. Names move on slowly, so that they are met again in every state. */
function nextStep({ random, prefix, holds }: Storm, number: number): Step {
  const bucket = (index: number) => `${prefix}/bucket-${index}`;
  const id = `${prefix}/hold-${Math.floor(number / 4) + random(4)}`;
  const once = {
    key: `${prefix}/once-${Math.floor(number / 12) + random(3)}`,
    fingerprint: `${random(4) === 0}`,
  };
  const keys = LIMITS.map((_, index) => index).filter(() => random(2) === 0);
  const kind = random(10);
  if (kind < 5) {
    const lines = keys.map((index) =>
      line({
        key: bucket(index),
        amount: random(12),
        limit: LIMITS[index] ?? 0,
        expiresAt: index % 2 === 0 ? inAnHour() : null,
      }),
    );
    const leaseMs = random(25) === 0 ? SHORT_LEASE_MS : 3_600_000;
    return {
      do: 'reserve',
      request: request({ id, once: random(3) === 0 ? once : undefined, lines, leaseMs }),
    };
  }
  if (kind < 7) {
    const hold = holds.get(id) ?? { id, lines: [] };
    const some = hold.lines.filter(() => random(4) !== 0);
    const lines = some.map(({ key }) => ({ key, amount: random(14) }));
    return { do: 'commit', hold, lines, outcome: random(2) === 0 ? `outcome ${number}` : undefined };
  }
  if (kind < 8) return { do: 'release', id };
  return kind < 9 ? { do: 'recall', once } : { do: 'read', keys: LIMITS.map((_, index) => bucket(index)) };
}

/** What of an answer does not depend on how fast it came: a short lease can be over by then. */
function told(step: Step, answer: unknown): unknown {
  const isShort = step.do === 'reserve' && step.request.leaseMs === SHORT_LEASE_MS;
  return isShort && typeof answer === 'object' ? { ...answer, balances: undefined } : answer;
}

/** Runs one storm on both; throws at the first answer that differs, saying how to see it again. */
async function compare(store: BudgetStore, reference: ReferenceLedger, seed: number): Promise<void> {
  const storm: Storm = { random: seededRandom(seed), prefix: unique('storm'), holds: new Map() };
  for (let number = 0; number < STEPS; number += 1) {
    const step = nextStep(storm, number);
    const expected = told(step, await perform(reference, step));
    const actual = told(step, await perform(store, step));
    const what = `seed ${seed}, step ${number}: ${JSON.stringify(step)}`;
    assert.deepEqual(
      actual,
      expected,
      `${what} answered ${JSON.stringify(actual)} instead of ${JSON.stringify(expected)}`,
    );
    if (step.do !== 'reserve') continue;
    const { id, leaseMs, lines } = step.request;
    const granted = (expected as { readonly ok: boolean }).ok;
    if (granted && !storm.holds.has(id)) storm.holds.set(id, { id, lines });
    if (granted && leaseMs === SHORT_LEASE_MS) {
      reference.advance(SHORT_LEASE_MS);
      await afterLapse();
    }
  }
}

/** What one worker of a concurrent storm knows to be in a bucket by the answers it got. */
interface Tally {
  spent: number;
  held: number;
}

const WORKERS = 8;
const ROUNDS = 20;
const LIMIT = 60;

/** Reserves, and then commits up to the hold, releases, or leaves pending: never anything above a limit. */
async function work(store: BudgetStore, random: Random, tallies: ReadonlyMap<string, Tally>): Promise<void> {
  const count = (part: keyof Tally, lines: readonly CommitLine[]) => {
    for (const { key, amount } of lines) (tallies.get(key) as Tally)[part] += amount;
  };
  for (let round = 0; round < ROUNDS; round += 1) {
    const keys = [...tallies.keys()].filter(() => random(2) === 0);
    const lines = keys.map((key) => line({ key, amount: random(6), limit: LIMIT, expiresAt: inAnHour() }));
    const result = await store.reserve(request({ lines }));
    for (const { key, spent, held } of await store.read(keys)) {
      assert.ok(
        spent + held <= LIMIT,
        `${spent} spent and ${held} held in ${key} pass its limit of ${LIMIT}`,
      );
    }
    if (!result.ok) continue;
    const fate = random(8);
    const booked = result.hold.lines.map(({ key, amount }) => ({ key, amount: random(amount + 1) }));
    if (fate < 3) {
      assert.equal(await store.commit(result.hold, booked), 'settled');
      count('spent', booked);
    } else if (fate < 7) {
      assert.equal(await store.release(result.hold.id), 'released');
    } else {
      count('held', result.hold.lines);
    }
  }
}

/** Whatever the order of operations, the answers are those of a ledger anybody can check by eye. */
export const stormChecks: readonly Check<CreateBudget>[] = [
  must({
    id: 'storm.like-the-reference',
    title: 'A storm of mixed operations is answered as by a reference ledger, step by step.',
    async run({ store }) {
      for (const seed of SEEDS) await compare(store, referenceLedger(), seed);
    },
  }),
  must({
    id: 'storm.at-once',
    title: 'After a storm from several instances at once each bucket has exactly what the answers add up to.',
    async run({ store, another }) {
      const tallies = new Map(['a', 'b', 'c'].map((label) => [unique(label), { spent: 0, held: 0 }]));
      const stores = [store, await another(), await another()];
      const workers = Array.from({ length: WORKERS }, (_, index) =>
        work(stores[index % stores.length] ?? store, seededRandom(index + 1), tallies),
      );
      await Promise.all(workers);
      for (const [key, tally] of tallies) await expectBalance(store, { key, ...tally });
    },
  }),
];

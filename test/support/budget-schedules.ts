/** Random schedules of budget operations and of time, for comparing a store with a ledger anybody can check by eye. */
import assert from 'node:assert/strict';
import { randomInt, randomUUID } from 'node:crypto';
import { mock } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import type { BudgetStore, Hold, Once, ReserveRequest } from '../../src/core/budget.js';
import { referenceLedger } from '../../src/testing/budget/reference.js';
import { perform, type Step } from '../../src/testing/budget/storm-checks.js';

/** The instant a schedule with expiring buckets begins at. */
const START = 1_800_000_000_000;

const HOUR_MS = 3_600_000;

/** What to try. */
export interface Trial {
  /** Which schedules. */
  readonly schedules: fc.Arbitrary<Move[]>;
  /** Throws unless a schedule goes as it must. */
  readonly follow: (schedule: readonly Move[]) => Promise<void>;
  /** How many in `npm test`; in `npm run soak` they are ten thousand. */
  readonly few: number;
  /** How many go on at a time. @defaultValue 1 */
  readonly lanes?: number;
}

/** Tries schedules, from seeds that are printed, so that a run can be had again. */
export async function trySchedules(
  t: { diagnostic(message: string): void },
  { schedules, follow, few, lanes = 1 }: Trial,
): Promise<void> {
  const numRuns = (process.env.SOAK ? 10_000 : few) / lanes;
  const property = fc.asyncProperty(schedules, follow);
  const seeds = Array.from({ length: lanes }, () => randomInt(2 ** 31));
  t.diagnostic(`${numRuns} schedules from each of the seeds ${seeds}`);
  await Promise.all(seeds.map((seed) => fc.assert(property, { numRuns, seed })));
}

/** Schedules on buckets that never expire. */
export function schedules(): fc.Arbitrary<Move[]> {
  return fc.array(moves(fc.constant(null)), { maxLength: 60 });
}

/** Schedules for stores whose clock cannot be moved: each lease is over at once, or outlasts the schedule. */
export function unhurriedSchedules(): fc.Arbitrary<Move[]> {
  const move = moves(fc.constant(null), fc.constantFrom(1, HOUR_MS, HOUR_MS));
  return fc.array(
    move.filter((each) => !('advanceMs' in each)),
    { maxLength: 60 },
  );
}

/** Schedules on buckets that may be purged in between. */
export function expiringSchedules(): fc.Arbitrary<Move[]> {
  return fc.array(moves(fc.option(fc.integer({ min: -50, max: 200 }))), { maxLength: 60 });
}

/**
 * Throws unless an empty store answers every step as the reference ledger does, and no hold is left when all leases
 * are over. `Date` is mocked.
 */
export async function followReference(store: BudgetStore, schedule: readonly Move[]): Promise<void> {
  const reference = referenceLedger();
  const holds = new Map<string, Hold>();
  const advance = (ms: number) => {
    mock.timers.tick(ms);
    reference.advance(ms);
  };
  for (const move of schedule) {
    if ('advanceMs' in move) {
      advance(move.advanceMs);
      continue;
    }
    const step = stepOf(move, holds);
    const expected = await perform(reference, step);
    remember(holds, expected);
    assert.deepEqual(await perform(store, step), expected, JSON.stringify(step));
    assert.deepEqual(await store.read(KEYS), await reference.read(KEYS), JSON.stringify(step));
  }
  advance(HOUR_MS);
  assert.deepEqual(await store.read(KEYS), await reference.read(KEYS));
  await expectNothingHeld(store);
}

/**
 * Throws unless a store with a clock of its own answers every step as the reference ledger does, and no hold is left
 * when all ids are released. Ids and keys are this schedule's own, so that others may go on beside it.
 */
export async function followUnhurried(store: BudgetStore, schedule: readonly Move[]): Promise<void> {
  const reference = referenceLedger();
  const holds = new Map<string, Hold>();
  const own = withPrefix(randomUUID());
  const keys = KEYS.map(own);
  const both = async (step: Step) => {
    const expected = await perform(reference, step);
    assert.deepEqual(await perform(store, step), expected, JSON.stringify(step));
    return expected;
  };
  for (const move of schedule) {
    if ('advanceMs' in move) continue;
    const step = stepOf(renamed(move, own), holds);
    remember(holds, await both(step));
    if (step.do === 'reserve' && step.request.leaseMs === 1) {
      await sleep(10);
      reference.advance(1);
    }
    await both({ do: 'read', keys });
  }
  for (const id of IDS) await both({ do: 'release', id: own(id) });
  await both({ do: 'read', keys });
  await expectNothingHeld(store, keys);
}

/** Throws unless every balance of an empty store stays at 0 or more, and no hold is left. `Date` is mocked. */
export async function staySound(store: BudgetStore, schedule: readonly Move[]): Promise<void> {
  mock.timers.setTime(START);
  const holds = new Map<string, Hold>();
  for (const move of schedule) {
    if ('advanceMs' in move) mock.timers.tick(move.advanceMs);
    else remember(holds, await perform(store, stepOf(move, holds)));
    const balances = await store.read(KEYS);
    const sound = balances.every(({ spent, held }) => spent >= 0 && held >= 0);
    assert.ok(sound, JSON.stringify(balances));
  }
  mock.timers.tick(HOUR_MS);
  await expectNothingHeld(store);
}

async function expectNothingHeld(store: BudgetStore, keys: readonly string[] = KEYS): Promise<void> {
  const balances = await store.read(keys);
  assert.ok(
    balances.every(({ held }) => held === 0),
    'a hold was leaked',
  );
}

const KEYS = ['a', 'b', 'c'];
const IDS = ['1', '2', '3', '4', '5', '6'];

/** Time that passes. */
interface Waiting {
  readonly advanceMs: number;
}

/** A step of a schedule: an operation, or time that passes. */
export type Move =
  | Waiting
  | { readonly do: 'recall'; readonly once: Once }
  | { readonly do: 'read'; readonly keys: readonly string[] }
  | { readonly do: 'release'; readonly id: string }
  | { readonly do: 'reserve'; readonly request: ReserveRequest }
  | {
      readonly do: 'commit';
      readonly id: string;
      readonly amounts: readonly (number | null)[];
      readonly outcome: string;
    };

/** Steps over few enough names that they meet; `expiry` is in milliseconds from the start, `null` never. */
function moves(
  expiry: fc.Arbitrary<number | null>,
  leaseMs: fc.Arbitrary<number> = fc.integer({ min: 1, max: 80 }),
): fc.Arbitrary<Move> {
  const id = fc.constantFrom(...IDS);
  const once = fc.record({ key: fc.constantFrom('x', 'y'), fingerprint: fc.constantFrom('f', 'f', 'g') });
  const lines = fc.uniqueArray(
    fc.record({
      key: fc.constantFrom(...KEYS),
      amount: fc.nat(12),
      limit: fc.constantFrom(10, 20, 40),
      expiresAt: expiry.map((ms) => (ms === null ? null : START + ms)),
    }),
    { selector: ({ key }) => key },
  );
  const reserve = fc.record({
    id,
    once: fc.option(once, { nil: undefined }),
    lines,
    leaseMs,
  });
  const amounts = fc.array(fc.option(fc.nat(20)), { minLength: 3, maxLength: 3 });
  return fc.oneof(
    { weight: 5, arbitrary: fc.record({ do: fc.constant('reserve' as const), request: reserve }) },
    {
      weight: 3,
      arbitrary: fc.record({ do: fc.constant('commit' as const), id, amounts, outcome: fc.string() }),
    },
    { weight: 2, arbitrary: fc.record({ do: fc.constant('release' as const), id }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('recall' as const), once }) },
    {
      weight: 1,
      arbitrary: fc.record({ do: fc.constant('read' as const), keys: fc.array(fc.constantFrom(...KEYS)) }),
    },
    { weight: 2, arbitrary: fc.record({ advanceMs: fc.integer({ min: 1, max: 60 }) }) },
  );
}

type Rename = (name: string) => string;

const withPrefix =
  (prefix: string): Rename =>
  (name) =>
    `${prefix}-${name}`;

/** The same move with other ids and keys. */
function renamed(move: Exclude<Move, Waiting>, name: Rename): Exclude<Move, Waiting> {
  if (move.do === 'commit' || move.do === 'release') return { ...move, id: name(move.id) };
  if (move.do === 'read') return { ...move, keys: move.keys.map(name) };
  const renamedOnce = (once: Once) => ({ ...once, key: name(once.key) });
  if (move.do === 'recall') return { ...move, once: renamedOnce(move.once) };
  const { id, once, lines } = move.request;
  const request = {
    ...move.request,
    id: name(id),
    once: once && renamedOnce(once),
    lines: lines.map((line) => ({ ...line, key: name(line.key) })),
  };
  return { ...move, request };
}

/** Turns a move into a step: a commit takes its keys from the hold of its id. */
function stepOf(move: Exclude<Move, Waiting>, holds: ReadonlyMap<string, Hold>): Step {
  if (move.do !== 'commit') return move;
  const hold = holds.get(move.id) ?? { id: move.id, lines: [] };
  const lines = hold.lines.flatMap(({ key }, index) => {
    const amount = move.amounts[index] ?? null;
    return amount === null ? [] : [{ key, amount }];
  });
  return { do: 'commit', hold, lines, outcome: move.outcome };
}

/** Keeps the hold of an answer that granted one. */
function remember(holds: Map<string, Hold>, answer: unknown): void {
  const { hold } = (answer ?? {}) as { readonly hold?: Hold };
  if (hold) holds.set(hold.id, hold);
}

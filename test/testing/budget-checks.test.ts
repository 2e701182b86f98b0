import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { memoryBudget } from '../../src/budgets/memory.js';
import type { BudgetStore } from '../../src/core/budget.js';
import { referenceLedger } from '../../src/testing/budget/reference.js';
import { budgetChecks, type CreateBudget } from '../../src/testing/budget-checks.js';
import { budgetFlaws, type Flaw } from '../support/budget-flaws.js';
import { flawedBudget } from '../support/flawed-budget.js';
import { failingChecks } from '../support/run-checks.js';

/** Waits for seconds and does little else, so all flaws are put to it in one go. */
const PATIENT = 'lapse.not-before-its-time';
const patient = budgetChecks.filter(({ id }) => id === PATIENT);
const quick = budgetChecks.filter(({ id }) => id !== PATIENT);
const flaws = Object.entries(budgetFlaws) as [Flaw, readonly string[]][];

/** Runs checks at once, since they mostly wait for leases, each on a ledger of its own. */
async function failuresOf(makeCreate: () => CreateBudget, checks = budgetChecks): Promise<string[]> {
  const failed = await Promise.all(checks.map((check) => failingChecks([check], makeCreate())));
  return failed.flat();
}

test('checks have unique ids and are all binding', () => {
  const ids = budgetChecks.map((check) => check.id);
  assert.equal(new Set(ids).size, ids.length);
  assert.deepEqual(new Set(budgetChecks.map((check) => check.level)), new Set(['MUST']));
});

test('a sound store passes every check', async () => {
  assert.deepEqual(await failuresOf(() => flawedBudget()), []);
});

test('a sound store passes every check on a ledger that the checks share', async () => {
  const create = flawedBudget();
  assert.deepEqual(await failuresOf(() => create), []);
});

test('each check is failed by some flaw', () => {
  const failed = new Set<string>(Object.values(budgetFlaws).flat());
  assert.deepEqual(
    budgetChecks.filter(({ id }) => !failed.has(id)),
    [],
  );
});

describe('a store with a flaw fails the checks named for it and no other', { concurrency: 8 }, () => {
  for (const [flaw, expected] of flaws) {
    test(flaw, async () => {
      const failed = await failuresOf(() => flawedBudget(flaw), quick);
      assert.deepEqual(
        failed,
        expected.filter((id) => id !== PATIENT),
      );
    });
  }
});

test('the check that waits for seconds is failed by the flaws it is named for and no other', async () => {
  const failing = await Promise.all(
    flaws.map(async ([flaw]) => {
      const failed = await failuresOf(() => flawedBudget(flaw), patient);
      return failed.length > 0 ? [flaw] : [];
    }),
  );
  const named = flaws.filter(([, expected]) => expected.includes(PATIENT)).map(([flaw]) => flaw);
  assert.deepEqual(failing.flat(), named);
});

test('a storm is no trouble for a store so slow that a short lease is over when it answers', async () => {
  const storm = budgetChecks.find(({ id }) => id === 'storm.like-the-reference');
  const store = memoryBudget();
  const slow: BudgetStore = {
    ...store,
    async reserve(request) {
      const result = await store.reserve(request);
      if (!result.ok || request.leaseMs > 1000) return result;
      await sleep(2 * request.leaseMs);
      return { ...result, balances: await store.read(request.lines.map(({ key }) => key)) };
    },
  };
  await storm?.run(() => slow);
});

test('a storm that fails says its seed, the step and both answers', async () => {
  const storm = budgetChecks.find(({ id }) => id === 'storm.like-the-reference');
  const run = async () => storm?.run(flawedBudget('left-negative'));
  await assert.rejects(
    run,
    /seed \d+, step \d+: .*"do":"reserve".* answered .*"left":-\d+.* instead of .*"left":0/,
  );
});

test('a check closes every instance it opened once, also when it fails', async () => {
  for (const flaw of [undefined, 'check-then-add'] as const) {
    const open = flawedBudget(flaw);
    const counts: number[] = [];
    const create = (): BudgetStore => {
      const index = counts.push(0) - 1;
      const close = async () => {
        counts[index] = (counts[index] ?? 0) + 1;
      };
      return { ...open(), close };
    };
    await failingChecks(
      budgetChecks.filter(({ id }) => id.startsWith('concurrency.')),
      create,
    );
    assert.ok(counts.length > 6, 'the checks opened several instances');
    assert.deepEqual(new Set(counts), new Set([1]));
  }
});

test('the reference ledger lapses by its own clock', async () => {
  const ledger = referenceLedger();
  await ledger.reserve({ id: 'a', leaseMs: 10, lines: [{ key: 'k', amount: 4, limit: 9, expiresAt: null }] });
  ledger.advance(9);
  assert.deepEqual(await ledger.read(['k']), [{ key: 'k', spent: 0, held: 4 }]);
  ledger.advance(1);
  assert.deepEqual(await ledger.read(['k']), [{ key: 'k', spent: 4, held: 0 }]);
});

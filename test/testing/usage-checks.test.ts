import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { UsageStore } from '../../src/core/usage.js';
import { type CreateUsage, usageChecks } from '../../src/testing/usage-checks.js';
import { flawedUsage } from '../support/flawed-usage.js';
import { failingChecks } from '../support/run-checks.js';
import { type UsageFlaw, usageFlaws } from '../support/usage-flaws.js';

/** Runs all checks at once, each on rows of its own. */
async function failuresOf(makeCreate: () => CreateUsage): Promise<string[]> {
  const failed = await Promise.all(usageChecks.map((check) => failingChecks([check], makeCreate())));
  return failed.flat();
}

test('checks have unique ids and are all binding', () => {
  const ids = usageChecks.map((check) => check.id);
  assert.equal(new Set(ids).size, ids.length);
  assert.deepEqual(new Set(usageChecks.map((check) => check.level)), new Set(['MUST']));
});

test('a sound store passes every check', async () => {
  assert.deepEqual(await failuresOf(() => flawedUsage()), []);
});

test('a sound store passes every check on rows that the checks share', async () => {
  const create = flawedUsage();
  assert.deepEqual(await failuresOf(() => create), []);
});

test('each check is failed by some flaw', () => {
  const failed = new Set<string>(Object.values(usageFlaws).flat());
  assert.deepEqual(
    usageChecks.filter(({ id }) => !failed.has(id)),
    [],
  );
});

describe('a store with a flaw fails the checks named for it and no other', () => {
  for (const [flaw, expected] of Object.entries(usageFlaws) as [UsageFlaw, readonly string[]][]) {
    test(flaw, async () => {
      assert.deepEqual(await failuresOf(() => flawedUsage(flaw)), expected);
    });
  }
});

test('a summary that is wrong for a random filter says its seed and the filter', async () => {
  const check = usageChecks.find(({ id }) => id === 'summarize.like-the-rows');
  const run = async () => check?.run(flawedUsage('start-left-out'));
  await assert.rejects(run, /seed \d+, round \d+, \{"tenant":.*"start":\d+/);
});

test('a check closes every instance it opened once, also when it fails', async () => {
  for (const flaw of [undefined, 'looks-then-adds'] as const) {
    const open = flawedUsage(flaw);
    const counts: number[] = [];
    const create = (): UsageStore => {
      const index = counts.push(0) - 1;
      const close = async () => {
        counts[index] = (counts[index] ?? 0) + 1;
      };
      return { ...open(), close };
    };
    await failingChecks(
      usageChecks.filter(({ id }) => id.startsWith('append.')),
      create,
    );
    assert.ok(counts.length > 6, 'the checks opened several instances');
    assert.deepEqual(new Set(counts), new Set([1]));
  }
});

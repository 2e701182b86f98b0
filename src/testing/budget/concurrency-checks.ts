/** Checks of atomicity: many calls at once, from several instances over one ledger. */
import assert from 'node:assert/strict';
import type { BudgetStore, Hold, ReserveResult } from '../../core/budget.js';
import type { Check } from '../check.js';
import type { StoreSubject } from '../store-check.js';
import {
  type CreateBudget,
  expectBalance,
  expectClosed,
  hold,
  line,
  must,
  onceKey,
  plain,
  request,
  unique,
} from './subject.js';

const INSTANCES = 3;

/** Starts all calls in one go, spread over the instances. */
async function atOnce<T>(
  { store, another }: StoreSubject<BudgetStore>,
  calls: readonly ((store: BudgetStore) => Promise<T>)[],
): Promise<T[]> {
  const stores = [store];
  while (stores.length < INSTANCES) stores.push(await another());
  return Promise.all(calls.map((call, index) => call(stores[index % INSTANCES] ?? store)));
}

interface Settlement {
  readonly result: string;
  readonly amount: number;
}

function times<T>(count: number, make: (index: number) => T): T[] {
  return Array.from({ length: count }, (_, index) => make(index));
}

function grantedOnes(results: readonly ReserveResult[]): Hold[] {
  return results.flatMap((result) => (result.ok ? [result.hold] : []));
}

/** No interleaving of calls overspends, holds in part, or settles twice. */
export const concurrencyChecks: readonly Check<CreateBudget>[] = [
  must({
    id: 'concurrency.exactly-what-fits',
    title:
      'Of 300 reserves at once over two units exactly as many are granted as fit, and all can be booked.',
    async run(subject) {
      const { store } = subject;
      const [pictures, money] = [unique('pictures'), unique('money')];
      const lines = [
        line({ key: pictures, amount: 1, limit: 37 }),
        line({ key: money, amount: 40_000, limit: 5_000_000 }),
      ];
      const asked = times(300, () => request({ lines }));
      const results = await atOnce(
        subject,
        asked.map((each) => (instance) => instance.reserve(each)),
      );
      const granted = grantedOnes(results);
      assert.equal(granted.length, 37, 'reserves granted where 37 fit');
      await expectBalance(store, { key: pictures, spent: 0, held: 37 });
      await expectBalance(store, { key: money, spent: 0, held: 37 * 40_000 });
      await atOnce(
        subject,
        granted.map((held) => (instance) => instance.commit(held, held.lines)),
      );
      await expectBalance(store, { key: pictures, spent: 37, held: 0 });
      await expectBalance(store, { key: money, spent: 37 * 40_000, held: 0 });
    },
  }),
  must({
    id: 'concurrency.all-or-nothing',
    title:
      'Reserves at once over overlapping buckets, in any order of lines, are granted whole or not at all.',
    async run(subject) {
      const keys = times(3, () => unique('bucket')) as [string, string, string];
      const [a, b, c] = keys;
      const orders = [
        [a, b],
        [b, a],
        [b, c],
        [c, a],
        [a, b, c],
        [c, b, a],
      ];
      const asked = times(240, (index) =>
        request({ lines: (orders[index % 6] ?? []).map((key) => line({ key, limit: 25 })) }),
      );
      const results = await atOnce(
        subject,
        asked.map((each) => (instance) => instance.reserve(each)),
      );
      const held = grantedOnes(results).flatMap(({ lines }) => lines.map(({ key }) => key));
      const counts = new Map(keys.map((key) => [key, held.filter((each) => each === key).length]));
      for (const [key, count] of counts) {
        assert.ok(count <= 25, `${count} are held where the limit is 25`);
        await expectBalance(subject.store, { key, spent: 0, held: count });
      }
      for (const [index, result] of results.entries()) {
        const full = asked[index]?.lines.some(({ key }) => counts.get(key) === 25);
        assert.ok(result.ok || full, 'a reserve was refused, though all of its buckets had room to the end');
      }
    },
  }),
  must({
    id: 'concurrency.one-hold-per-once-key',
    title: 'Of 60 reserves at once with one once key exactly one is granted; the others are told `pending`.',
    async run(subject) {
      const [key, once] = [unique('bucket'), onceKey()];
      const calls = times(
        60,
        () => (instance: BudgetStore) =>
          instance.reserve(request({ once, lines: [line({ key, amount: 2 })] })),
      );
      const results = await atOnce(subject, calls);
      assert.equal(grantedOnes(results).length, 1, 'reserves granted under one once key');
      for (const result of results.filter(({ ok }) => !ok)) {
        assert.deepEqual(plain(result), { ok: false, seen: { state: 'pending' } });
      }
      await expectBalance(subject.store, { key, spent: 0, held: 2 });
    },
  }),
  must({
    id: 'concurrency.repeats-hold-once',
    title: 'One reserve sent 40 times at once is granted each time and holds once.',
    async run(subject) {
      const key = unique('bucket');
      const asked = request({ once: onceKey(), lines: [line({ key, amount: 2, limit: 3 })] });
      const results = await atOnce(
        subject,
        times(40, () => (instance) => instance.reserve(asked)),
      );
      assert.equal(grantedOnes(results).length, 40, 'repetitions granted');
      await expectBalance(subject.store, { key, spent: 0, held: 2 });
    },
  }),
  must({
    id: 'concurrency.one-settlement',
    title: 'Of commits and releases of one hold at once exactly one takes effect; the others are `already`.',
    async run(subject) {
      for (const round of times(15, (index) => index)) {
        const key = unique('bucket');
        const held = await hold(subject.store, { lines: [line({ key, amount: 4 })] });
        const commit = (amount: number) => (instance: BudgetStore) =>
          instance.commit(held, [{ key, amount }]).then((result) => ({ result, amount }));
        const release = (instance: BudgetStore) =>
          instance.release(held.id).then((result) => ({ result, amount: 0 }));
        const calls = [commit(3), release, commit(5), release, commit(1)];
        const turned = [...calls.slice(round % 5), ...calls.slice(0, round % 5)];
        const settlements = await atOnce<Settlement>(subject, turned);
        const effective = settlements.filter(({ result }) => result !== 'already');
        assert.equal(effective.length, 1, `settlements: ${JSON.stringify(settlements)}`);
        await expectBalance(subject.store, { key, spent: effective[0]?.amount ?? 0, held: 0 });
      }
    },
  }),
  must({
    id: 'concurrency.release-meets-reserve',
    title: 'When a reserve and its release cross, nothing is held afterwards and the id is closed.',
    async run(subject) {
      const key = unique('bucket');
      const asked = times(60, () => request({ lines: [line({ key, amount: 4 })] }));
      await atOnce<unknown>(
        subject,
        asked.flatMap((each, index) => {
          const reserve = (instance: BudgetStore) => instance.reserve(each);
          const release = (instance: BudgetStore) => instance.release(each.id);
          return index % 2 === 0 ? [reserve, release] : [release, reserve];
        }),
      );
      await expectBalance(subject.store, { key, spent: 0, held: 0 });
      for (const each of asked) expectClosed(await subject.store.reserve(each));
    },
  }),
];

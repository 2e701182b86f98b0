/** Checks of `summarize`: exact, whatever the group, the filter and the span. */
import assert from 'node:assert/strict';
import type { UsageFilter, UsageRow } from '../../core/usage.js';
import type { Check } from '../check.js';
import { type Random, seededRandom } from '../random.js';
import { type CreateUsage, expectSums, GROUPINGS, HOUR_MS, must, NOON, rowsOf, unique } from './subject.js';

/** Instants at which days, months and years begin. */
const STARTS = [
  Date.UTC(2026, 0),
  Date.UTC(2026, 1),
  Date.UTC(2026, 11),
  Date.UTC(2027, 0),
  NOON - 12 * HOUR_MS,
];

/** An instant of 2026 or soon after: any, or close to a start. */
function someInstant(random: Random): number {
  const start = STARTS[random(STARTS.length)] ?? NOON;
  return random(3) === 0 ? start + random(3) - 1 : Date.UTC(2026, 0) + random(400 * 24) * HOUR_MS + random(3);
}

function scattered(tenant: string, random: Random): readonly UsageRow[] {
  const row = rowsOf(tenant);
  return Array.from({ length: 120 }, () =>
    row({
      at: someInstant(random),
      user: [undefined, 'ann', 'bob'][random(3)],
      model: `vendor/${random(3)}`,
      backend: [undefined, 'here', 'there'][random(3)],
      images: random(5),
      tokensIn: random(1_000),
      tokensOut: random(5_000),
      costMicroUsd: random(200_000),
      backendCostMicroUsd: random(100_000),
    }),
  );
}

/** A filter whose span often starts or ends at a row, where being off by one shows. */
function someFilter(tenant: string, rows: readonly UsageRow[], random: Random): UsageFilter {
  const instant = () => (rows[random(rows.length)]?.at ?? NOON) + random(2);
  const [start, end] = [instant(), instant()].sort((a, b) => a - b);
  const span = [{}, { start }, { end }, { start, end }][random(4)];
  const name = [{}, { user: 'ann' }, { model: 'vendor/1' }, { backend: 'here' }][random(4)];
  return { tenant, ...span, ...name };
}

function isMatch(
  row: UsageRow,
  { start = 0, end = Number.POSITIVE_INFINITY, ...names }: UsageFilter,
): boolean {
  const { user = row.user, model = row.model, backend = row.backend } = names;
  if (row.at < start || row.at >= end) return false;
  return row.user === user && row.model === model && row.backend === backend;
}

/** Sums are exact. */
export const summaryChecks: readonly Check<CreateUsage>[] = [
  must({
    id: 'summarize.groups',
    title:
      'Rows are put together by model, user, backend, tenant, day and month, each of UTC; none is a group.',
    async run({ store }) {
      const tenant = unique('tenant');
      const row = rowsOf(tenant);
      const rows = [
        row({ images: 2, tokensIn: 10, tokensOut: 100, costMicroUsd: 80_000, backendCostMicroUsd: 60_000 }),
        row({ at: Date.UTC(2026, 4, 14), user: 'bob' }),
        row({ at: Date.UTC(2026, 4, 15) - 1, user: undefined, model: 'vendor/other' }),
        row({ at: Date.UTC(2026, 5, 1) - 1, backend: undefined, error: 'BACKEND_TIMEOUT', images: 0 }),
        row({ at: Date.UTC(2026, 5, 1), backend: 'there' }),
      ];
      await store.append(rows);
      for (const groupBy of GROUPINGS) await expectSums(store, { tenant }, { groupBy, rows });
    },
  }),
  must({
    id: 'summarize.nothing',
    title: 'Where no row matches there are no groups.',
    async run({ store }) {
      const tenant = unique('tenant');
      await store.append([rowsOf(tenant)()]);
      for (const groupBy of GROUPINGS) {
        assert.deepEqual(await store.summarize({ tenant, user: 'nobody' }, groupBy), []);
        assert.deepEqual(await store.summarize({ tenant, end: NOON }, groupBy), []);
      }
    },
  }),
  must({
    id: 'summarize.largest',
    title: 'Sums are exact up to the largest safe integer.',
    async run({ store }) {
      const tenant = unique('tenant');
      const row = rowsOf(tenant);
      const rows = [
        row({ costMicroUsd: Number.MAX_SAFE_INTEGER - 2, tokensOut: Number.MAX_SAFE_INTEGER - 1 }),
        row({ costMicroUsd: 2, tokensOut: 1 }),
      ];
      await store.append(rows);
      await expectSums(store, { tenant }, { groupBy: 'month', rows });
    },
  }),
  must({
    id: 'summarize.beyond-the-largest',
    title: 'A sum beyond 2^53 - 1 is not below it, and neither later rows nor summaries fail for it.',
    async run({ store }) {
      const tenant = unique('tenant');
      const row = rowsOf(tenant);
      const largest = { tokensIn: Number.MAX_SAFE_INTEGER, costMicroUsd: Number.MAX_SAFE_INTEGER };
      await store.append([row(largest), row(largest)]);
      await store.append([row({ ...largest, tokensOut: 5 })]);
      for (const groupBy of GROUPINGS) {
        // To the end of a month, and within a day.
        for (const end of [undefined, NOON + 1]) {
          const [sum] = await store.summarize({ tenant, end }, groupBy);
          assert.deepEqual([sum?.requests, sum?.tokensOut], [3, 5]);
          for (const amount of [sum?.tokensIn, sum?.costMicroUsd]) {
            assert.ok(Number(amount) >= Number.MAX_SAFE_INTEGER, `${amount} is less than was spent`);
          }
        }
      }
    },
  }),
  must({
    id: 'summarize.late-rows',
    title: 'A row that comes long after others that are younger is in the sums of its own day.',
    async run({ store }) {
      const tenant = unique('tenant');
      const row = rowsOf(tenant);
      const young = row();
      const old = row({ at: Date.UTC(2025, 11, 31, 23) });
      await store.append([young]);
      await expectSums(store, { tenant }, { groupBy: 'day', rows: [young] });
      await store.append([old]);
      await expectSums(store, { tenant }, { groupBy: 'day', rows: [young, old] });
      await expectSums(store, { tenant, end: Date.UTC(2026, 0) }, { groupBy: 'month', rows: [old] });
    },
  }),
  must({
    id: 'summarize.like-the-rows',
    title: 'Over any span, with any filter, sums are what the rows add up to.',
    async run({ store }) {
      const seed = Math.floor(Math.random() * 2 ** 32);
      const random = seededRandom(seed);
      const tenant = unique('tenant');
      const rows = scattered(tenant, random);
      await store.append(rows);
      for (let round = 0; round < 60; round += 1) {
        const filter = someFilter(tenant, rows, random);
        const groupBy = GROUPINGS[round % GROUPINGS.length] ?? 'model';
        const matching = rows.filter((row) => isMatch(row, filter));
        await expectSums(store, filter, { groupBy, rows: matching }).catch((cause: unknown) => {
          throw new Error(`seed ${seed}, round ${round}, ${JSON.stringify(filter)}: ${cause}`, { cause });
        });
      }
    },
  }),
];

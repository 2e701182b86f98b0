/** Checks of `query` and `export`: which rows, in what order, a page at a time. */
import assert from 'node:assert/strict';
import type { UsageFilter, UsageRow, UsageStore } from '../../core/usage.js';
import type { Check } from '../check.js';
import {
  type CreateUsage,
  everyRow,
  expectRows,
  expectSums,
  exported,
  HOUR_MS,
  must,
  NOON,
  rowsOf,
  unique,
} from './subject.js';

const ids = (rows: readonly UsageRow[]) => rows.map(({ id }) => id);

/** Throws unless every way to read finds these rows. */
async function expectEverywhere(
  store: UsageStore,
  filter: UsageFilter,
  rows: readonly UsageRow[],
): Promise<void> {
  expectRows(await everyRow(store, filter), rows);
  expectRows(await exported(store, filter), rows);
  await expectSums(store, filter, { groupBy: 'model', rows });
}

/** Rows are found by what they are, the youngest first. */
export const queryChecks: readonly Check<CreateUsage>[] = [
  must({
    id: 'query.youngest-first',
    title: 'The youngest rows come first, in whatever order they were appended.',
    async run({ store }) {
      const tenant = unique('tenant');
      const row = rowsOf(tenant);
      const ages = [3, 1, 4, 0, 2].map((hours) => row({ at: NOON - hours * HOUR_MS }));
      for (const each of ages) await store.append([each]);
      const expected = ids([...ages].sort((a, b) => b.at - a.at));
      assert.deepEqual(ids(await store.query({ tenant }, { limit: 10 })), expected);
      assert.deepEqual(ids(await exported(store, { tenant })), expected);
    },
  }),
  must({
    id: 'query.pages',
    title: 'Pages of any size add up to every row once, also where rows are of one instant.',
    async run({ store }) {
      const tenant = unique('tenant');
      const row = rowsOf(tenant);
      const rows = Array.from({ length: 23 }, (_, index) => row({ at: NOON + Math.floor(index / 7) }));
      await store.append(rows);
      const whole = ids(await everyRow(store, { tenant }));
      assert.equal(whole.length, rows.length, 'every row is there');
      for (const limit of [1, 5, 7]) {
        assert.deepEqual(ids(await everyRow(store, { tenant }, limit)), whole, `pages of ${limit}`);
      }
    },
  }),
  must({
    id: 'query.steady-under-appends',
    title: 'Rows appended between two pages, younger or older, neither repeat nor hide any that was there.',
    async run({ store }) {
      const tenant = unique('tenant');
      const row = rowsOf(tenant);
      const rows = Array.from({ length: 9 }, (_, index) => row({ at: NOON + index * 10 }));
      await store.append(rows);
      const found: UsageRow[] = [];
      for (let page = 0; page < 40; page += 1) {
        const next = await store.query({ tenant }, { limit: 2, after: found.at(-1) });
        if (next.length === 0) break;
        found.push(...next);
        await store.append([row({ at: NOON + 1_000 + page }), row({ at: NOON - 1_000 })]);
        if (page > 8) break;
      }
      const known = new Set(ids(rows));
      const again = ids(found).filter((id) => known.has(id));
      assert.deepEqual(again, ids(rows).reverse());
      assert.equal(new Set(ids(found)).size, found.length, 'no row came twice');
    },
  }),
  must({
    id: 'filter.tenant',
    title: 'Nobody finds rows of another tenant, whatever else the filter says.',
    async run({ store }) {
      const [tenant, other] = [unique('tenant'), unique('tenant')];
      const own = [rowsOf(tenant)(), rowsOf(tenant)({ user: undefined })];
      await store.append([...own, rowsOf(other)(), rowsOf(other)({ user: undefined })]);
      await expectEverywhere(store, { tenant }, own);
      await expectEverywhere(store, { tenant, user: 'ann', model: 'vendor/model' }, own.slice(0, 1));
      await expectEverywhere(store, { tenant: unique('tenant') }, []);
    },
  }),
  must({
    id: 'filter.names',
    title: 'User, model and backend each narrow what is found, alone and together.',
    async run({ store }) {
      const tenant = unique('tenant');
      const rows = ['ann', 'bob', undefined].flatMap((user) =>
        ['vendor/small', 'vendor/large'].flatMap((model) =>
          ['here', 'there', undefined].map((backend) => rowsOf(tenant)({ user, model, backend })),
        ),
      );
      await store.append(rows);
      const filters: readonly Omit<UsageFilter, 'tenant'>[] = [
        ...[{ user: 'ann' }, { model: 'vendor/large' }, { backend: 'there' }, { user: 'nobody' }],
        ...[
          { user: 'bob', model: 'vendor/small' },
          { model: 'vendor/large', backend: 'here' },
        ],
        { user: 'ann', model: 'vendor/large', backend: 'there' },
      ];
      for (const filter of filters) {
        const matching = rows.filter((row) =>
          (['user', 'model', 'backend'] as const).every(
            (name) => filter[name] === undefined || row[name] === filter[name],
          ),
        );
        await expectEverywhere(store, { tenant, ...filter }, matching);
      }
    },
  }),
  must({
    id: 'filter.times',
    title: 'A span has its start and not its end.',
    async run({ store }) {
      const tenant = unique('tenant');
      const rows = [-1, 0, 1, 2].map((offset) => rowsOf(tenant)({ at: NOON + offset }));
      await store.append(rows);
      await expectEverywhere(store, { tenant, start: NOON, end: NOON + 2 }, rows.slice(1, 3));
      await expectEverywhere(store, { tenant, start: NOON }, rows.slice(1));
      await expectEverywhere(store, { tenant, end: NOON }, rows.slice(0, 1));
      await expectEverywhere(store, { tenant, start: NOON, end: NOON }, []);
    },
  }),
  must({
    id: 'export.everything',
    title: 'An export has every row of the pages, in their order, also when there are thousands.',
    async run({ store }) {
      const tenant = unique('tenant');
      const row = rowsOf(tenant);
      for (let batch = 0; batch < 25; batch += 1) {
        await store.append(
          Array.from({ length: 100 }, (_, index) => row({ at: NOON + batch + (index % 3) })),
        );
      }
      const pages = ids(await everyRow(store, { tenant }));
      assert.equal(pages.length, 2_500);
      assert.deepEqual(ids(await exported(store, { tenant })), pages);
    },
  }),
  must({
    id: 'export.left-early',
    title: 'An export that is left early ends, and the store goes on.',
    async run({ store }) {
      const tenant = unique('tenant');
      const row = rowsOf(tenant);
      await store.append(Array.from({ length: 50 }, () => row()));
      for (let round = 0; round < 20; round += 1) {
        for await (const { id } of store.export({ tenant })) {
          assert.ok(id, 'a row');
          break;
        }
      }
      await store.append([row()]);
      assert.equal((await everyRow(store, { tenant })).length, 51);
    },
  }),
];

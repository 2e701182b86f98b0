/** Checks of `append`: what is kept, once. */
import assert from 'node:assert/strict';
import type { UsageRow } from '../../core/usage.js';
import type { Check } from '../check.js';
import { type CreateUsage, everyRow, expectRows, expectSums, must, rowsOf, unique } from './subject.js';

/** Texts that databases refuse, cut off or take for each other. */
const ODD_TEXTS = ['a', 'A', 'a ', 'a\0', 'a\0b', '\ud800', '\udfff', '\\', '"', "'", '%', 'é', 'e\u0301'];

const WRONG: readonly Partial<Record<keyof UsageRow, unknown>>[] = [
  { costMicroUsd: 0.5 },
  { costMicroUsd: -1 },
  { backendCostMicroUsd: Number.NaN },
  { images: 2 ** 53 },
  { tokensIn: '1' },
  { latencyMs: 1.5 },
  { at: 1.5 },
  { id: '' },
  { tenant: '' },
  { user: '' },
];

/** What was appended is kept as it is, and once. */
export const appendChecks: readonly Check<CreateUsage>[] = [
  must({
    id: 'append.every-field',
    title: 'A row comes back with every field as it was, for every instance.',
    async run({ store, another }) {
      const tenant = unique('tenant');
      const row = rowsOf(tenant);
      const labels = { text: 'x\u2028"\\\u{1f642}', count: 1.5, flag: false, 'a key': '' };
      const rows = [
        row({ labels, tokensIn: 12, tokensOut: 4_160, imagesAsked: 4, images: 3, operation: 'edit' }),
        row({ user: undefined, backend: undefined, images: 0, error: 'BACKEND_ERROR', servedBy: 'other' }),
        row({ costMicroUsd: Number.MAX_SAFE_INTEGER, backendCostMicroUsd: 1, latencyMs: 0, at: 0 }),
      ];
      await store.append(rows);
      expectRows(await everyRow(await another(), { tenant }), rows);
    },
  }),
  must({
    id: 'append.nothing',
    title: 'Appending no rows is fine and keeps none.',
    async run({ store }) {
      await store.append([]);
      assert.deepEqual(await store.query({ tenant: unique('tenant') }, { limit: 1 }), []);
    },
  }),
  must({
    id: 'append.once',
    title:
      'A row appended again counts once: alone, beside new ones, twice in one call, by another instance.',
    async run({ store, another }) {
      const tenant = unique('tenant');
      const row = rowsOf(tenant);
      const [first, second, third] = [row(), row(), row()];
      await store.append([first]);
      await store.append([first]);
      await store.append([second, first]);
      await (await another()).append([first, third, third]);
      const rows = [first, second, third];
      expectRows(await everyRow(store, { tenant }), rows);
      await expectSums(store, { tenant }, { groupBy: 'tenant', rows });
    },
  }),
  must({
    id: 'append.at-once',
    title: 'Rows appended at the same time by several instances are all kept, and each counts once.',
    async run({ store, another }) {
      const tenant = unique('tenant');
      const row = rowsOf(tenant);
      const batches = Array.from({ length: 8 }, () => Array.from({ length: 10 }, () => row()));
      const stores = [store, await another(), await another()];
      const work = stores.flatMap((each) => batches.map((batch) => each.append(batch)));
      await Promise.all(work);
      const rows = batches.flat();
      expectRows(await everyRow(store, { tenant }), rows);
      await expectSums(store, { tenant }, { groupBy: 'model', rows });
    },
  }),
  must({
    id: 'append.same-request-id',
    title: 'Two rows may have one request id, which clients may choose.',
    async run({ store }) {
      const tenant = unique('tenant');
      const row = rowsOf(tenant);
      const rows = [row({ requestId: 'chosen' }), row({ requestId: 'chosen' })];
      await store.append(rows);
      expectRows(await everyRow(store, { tenant }), rows);
    },
  }),
  must({
    id: 'append.odd-texts',
    title: 'Names that databases stumble over are kept apart and come back as they were.',
    async run({ store }) {
      const name = unique('odd');
      const names = ODD_TEXTS.map((text) => name + text);
      const rows = names.map((odd) =>
        rowsOf(odd)({ user: odd, model: odd, backend: odd, servedBy: odd, labels: { odd } }),
      );
      await store.append(rows);
      for (const [place, tenant] of names.entries()) {
        const only = [rows[place] as UsageRow];
        const filter = { tenant, user: tenant, model: tenant, backend: tenant };
        expectRows(await everyRow(store, filter), only);
        await expectSums(store, filter, { groupBy: 'user', rows: only });
      }
    },
  }),
  must({
    id: 'append.refuses-others',
    title:
      'Amounts that are no safe integers of 0 or more, and empty names, are refused, and nothing is kept.',
    async run({ store }) {
      const tenant = unique('tenant');
      const row = rowsOf(tenant);
      for (const wrong of WRONG) {
        const rows = [row(), row(wrong as Partial<UsageRow>)];
        await assert.rejects(async () => store.append(rows), Error, `${JSON.stringify(wrong)} was kept`);
      }
      assert.deepEqual(await store.query({ tenant }, { limit: 1 }), []);
      assert.deepEqual(await store.summarize({ tenant }, 'tenant'), []);
    },
  }),
];

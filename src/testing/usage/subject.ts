/** What the usage checks share: how they get stores, make rows and compare answers. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import type {
  UsageFilter,
  UsageGrouping,
  UsagePlace,
  UsageRow,
  UsageStore,
  UsageSum,
} from '../../core/usage.js';
import type { Check } from '../check.js';
import { type StoreCheck, storeCheck } from '../store-check.js';

/**
 * Opens the store under test. A check may call it several times: the answers are then instances over the same rows,
 * such as several connections to a database, or the same store again. Each distinct one is closed once, at the end of
 * the check. The rows may be used by many checks, also at once: every check makes up tenants of its own.
 */
export type CreateUsage = () => UsageStore | Promise<UsageStore>;

/** Makes a MUST check that opens its stores and closes them. */
export function must(check: StoreCheck<UsageStore>): Check<CreateUsage> {
  return storeCheck(check);
}

/** Noon of a day in the middle of a month, when rows are not told otherwise. */
export const NOON: number = Date.UTC(2026, 4, 14, 12);

/** An hour in milliseconds. */
export const HOUR_MS = 3_600_000;

/** A name nobody used before; the label shows in messages. */
export function unique(label: string): string {
  return `${label}-${randomUUID()}`;
}

/** Makes rows of one tenant that nobody used before: one picture for four cents by `ann`, unless told. */
export function rowsOf(tenant: string): (parts?: Partial<UsageRow>) => UsageRow {
  return (parts = {}) => ({
    id: unique('usage'),
    at: NOON,
    requestId: unique('req'),
    tenant,
    user: 'ann',
    operation: 'generate',
    model: 'vendor/model',
    servedBy: 'vendor/model',
    backend: 'vendor',
    imagesAsked: 1,
    images: 1,
    tokensIn: 0,
    tokensOut: 0,
    costMicroUsd: 40_000,
    backendCostMicroUsd: 40_000,
    latencyMs: 2_000,
    error: undefined,
    labels: {},
    ...parts,
  });
}

/** Every row that matches, page by page. Fails when pages never end. */
export async function everyRow(
  store: UsageStore,
  filter: UsageFilter,
  limit: number = 1_000,
): Promise<readonly UsageRow[]> {
  const rows: UsageRow[] = [];
  for (let after: UsagePlace | undefined; ; ) {
    const page = await store.query(filter, { limit, after });
    assert.ok(page.length <= limit, `a page of ${limit} has ${page.length} rows`);
    rows.push(...page);
    if (page.length < limit) return rows;
    assert.ok(rows.length < 10_000, 'pages never end');
    after = page.at(-1);
  }
}

/** Every row that is exported. */
export async function exported(store: UsageStore, filter: UsageFilter): Promise<readonly UsageRow[]> {
  const rows: UsageRow[] = [];
  for await (const row of store.export(filter)) rows.push(row);
  return rows;
}

/** Throws unless these are the same rows, in any order, in every field. */
export function expectRows(found: readonly UsageRow[], expected: readonly UsageRow[]): void {
  assert.deepEqual(byId(found), byId(expected));
}

function byId(rows: readonly UsageRow[]): object[] {
  return rows.map(plain).sort((a, b) => (a.id < b.id ? -1 : 1));
}

/** A row without the fields that are `undefined`, which a store may leave out, and with labels of any prototype. */
function plain(row: UsageRow): UsageRow {
  const given = Object.entries(row).filter(([, value]) => value !== undefined);
  return { ...(Object.fromEntries(given) as unknown as UsageRow), labels: { ...row.labels } };
}

const GROUPS: Readonly<Record<UsageGrouping, (row: UsageRow) => string | undefined>> = {
  model: ({ model }) => model,
  user: ({ user }) => user,
  backend: ({ backend }) => backend,
  tenant: ({ tenant }) => tenant,
  day: ({ at }) => new Date(at).toISOString().slice(0, 10),
  month: ({ at }) => new Date(at).toISOString().slice(0, 7),
};

const COUNTED = ['images', 'tokensIn', 'tokensOut', 'costMicroUsd', 'backendCostMicroUsd'] as const;

/** Throws unless a summary is what these rows add up to. */
export async function expectSums(
  store: UsageStore,
  filter: UsageFilter,
  { groupBy, rows }: { readonly groupBy: UsageGrouping; readonly rows: readonly UsageRow[] },
): Promise<void> {
  const expected = new Map<string | undefined, Record<string, unknown>>();
  for (const row of rows) {
    const group = GROUPS[groupBy](row);
    const sum = expected.get(group) ?? { group: group ?? '(none)', requests: 0 };
    sum.requests = Number(sum.requests) + 1;
    for (const name of COUNTED) sum[name] = Number(sum[name] ?? 0) + row[name];
    expected.set(group, sum);
  }
  const found = (await store.summarize(filter, groupBy)).map((sum) => named(sum));
  assert.deepEqual(sorted(found), sorted([...expected.values()]), `by ${groupBy}`);
}

/** A sum whose fields have the order of ours. */
function named(sum: UsageSum): Record<string, unknown> {
  const { group = '(none)', requests } = sum;
  return {
    group,
    requests,
    ...Object.fromEntries(COUNTED.map((name) => [name, sum[name]])),
  };
}

function sorted(sums: readonly Record<string, unknown>[]): readonly Record<string, unknown>[] {
  return [...sums].sort((a, b) => (String(a.group) < String(b.group) ? -1 : 1));
}

/** Every way to put rows together. */
export const GROUPINGS: readonly UsageGrouping[] = Object.keys(GROUPS) as UsageGrouping[];

/**
 * A usage store that keeps the contract but for one flaw, to see that the kit finds each. Written without a look at
 * ours: a list that is searched whole, and a sum kept beside it only where a flaw needs one.
 */
import { setImmediate as pause } from 'node:timers/promises';
import type {
  UsageFilter,
  UsageGrouping,
  UsagePage,
  UsageRow,
  UsageStore,
  UsageSum,
} from '../../src/core/usage.js';
import type { UsageFlaw } from './usage-flaws.js';

const HOUR_MS = 3_600_000;
const AMOUNTS = ['images', 'tokensIn', 'tokensOut', 'costMicroUsd', 'backendCostMicroUsd'] as const;

/** Opens instances over one list with this flaw, or a sound one. */
export function flawedUsage(flaw?: UsageFlaw): () => UsageStore {
  const shared: UsageRow[] = [];
  return () => open(flaw === 'instances-apart' ? [] : shared, flaw);
}

function isSound(row: UsageRow): boolean {
  const amounts = [...AMOUNTS.map((name) => row[name]), row.at, row.latencyMs, row.imagesAsked];
  if (!amounts.every((amount) => Number.isSafeInteger(amount) && amount >= 0)) return false;
  return [row.id, row.tenant, row.model, row.user, row.backend].every((name) => name !== '');
}

function open(list: UsageRow[], flaw: UsageFlaw | undefined): UsageStore {
  let exports = 0;

  function kept(row: UsageRow): UsageRow {
    const text = (name: string) => (flaw === 'names-cut-at-nul' ? (name.split('\0')[0] ?? '') : name);
    return {
      ...row,
      tenant: text(row.tenant),
      labels: flaw === 'labels-lost' ? {} : { ...row.labels },
      costMicroUsd: flaw === 'sums-in-floats' ? Math.fround(row.costMicroUsd) : row.costMicroUsd,
      error: flaw === 'error-lost' ? undefined : row.error,
    };
  }

  function same(a: string | undefined, b: string | undefined): boolean {
    if (flaw === 'names-folded') return a?.toLowerCase() === b?.toLowerCase();
    if (flaw === 'names-trimmed') return a?.trim() === b?.trim();
    return a === b;
  }

  function matching(filter: UsageFilter, summed = false): UsageRow[] {
    const { tenant, user, model, backend, start = 0, end = Number.POSITIVE_INFINITY } = filter;
    const byTheHour = summed && flaw === 'sums-by-the-hour';
    const from = byTheHour ? Math.floor(start / HOUR_MS) * HOUR_MS : start;
    return list.filter((row) => {
      if (!same(row.tenant, tenant) && !(summed && flaw === 'sums-of-everybody')) return false;
      if (flaw === 'start-left-out' ? row.at <= from && filter.start !== undefined : row.at < from)
        return false;
      if (flaw === 'end-included' ? row.at > end : row.at >= end) return false;
      if (user !== undefined && !same(row.user, user)) return false;
      if (model !== undefined && !same(row.model, model) && flaw !== 'model-ignored') return false;
      if (summed && flaw === 'sums-ignore-backend') return true;
      return backend === undefined || same(row.backend, backend);
    });
  }

  function youngestFirst(rows: readonly UsageRow[]): UsageRow[] {
    if (flaw === 'as-they-came') return [...rows];
    if (flaw === 'oldest-first') return [...rows].sort((a, b) => a.at - b.at || (a.id < b.id ? -1 : 1));
    return [...rows].sort((a, b) => b.at - a.at || (a.id < b.id ? 1 : -1));
  }

  function rowsAfter(rows: readonly UsageRow[], { after }: UsagePage): readonly UsageRow[] {
    if (after === undefined) return rows;
    if (flaw === 'pages-by-instant') return rows.filter(({ at }) => at < after.at);
    const place = rows.findIndex(({ id }) => id === after.id);
    return rows.slice(flaw === 'pages-repeat-a-row' ? place : place + 1);
  }

  function groupOf(row: UsageRow, groupBy: UsageGrouping): string | undefined {
    if (groupBy === 'day' || groupBy === 'month') {
      const at = flaw === 'days-in-another-zone' ? row.at + HOUR_MS : row.at;
      return new Date(at).toISOString().slice(0, groupBy === 'day' ? 10 : 7);
    }
    if (flaw === 'none-is-no-group' && row[groupBy] === undefined) return 'none';
    return row[groupBy];
  }

  function add(sums: Map<string | undefined, UsageSum>, group: string | undefined, row: UsageRow): void {
    const sum = sums.get(group) ?? emptySum(group);
    const end = flaw === 'sums-wrap' ? 2 ** 53 : Number.POSITIVE_INFINITY;
    const counted = AMOUNTS.map((name) => [name, (sum[name] + row[name]) % end]);
    const requests = sum.requests + (flaw === 'failures-not-counted' && row.error !== undefined ? 0 : 1);
    sums.set(group, { ...sum, ...Object.fromEntries(counted), requests });
  }

  return {
    async append(rows) {
      await pause();
      for (const row of rows) {
        if (!isSound(row) && flaw !== 'arguments-unchecked') {
          if (flaw === 'part-of-a-batch-kept') list.push(...rows.filter(isSound));
          throw new TypeError('an amount or a name is wrong');
        }
      }
      if (flaw === 'nothing-refused' && rows.length === 0) throw new TypeError('no rows');
      const isKept = ({ id, requestId }: UsageRow) =>
        list.some((row) => (flaw === 'known-by-request' ? row.requestId === requestId : row.id === id));
      const known = rows.map(isKept);
      if (flaw === 'looks-then-adds') await pause();
      for (const [place, row] of rows.entries()) {
        if (flaw === 'repeats-kept') list.push(kept(row));
        else if (flaw === 'looks-then-adds' ? !known[place] : !isKept(row)) list.push(kept(row));
      }
    },
    async query(filter, page) {
      await pause();
      const rows = youngestFirst(matching(filter));
      return rowsAfter(rows, page).slice(0, page.limit);
    },
    async summarize(filter, groupBy) {
      await pause();
      const sums = new Map<string | undefined, UsageSum>();
      const rows = matching(filter, true);
      // As a rollup does that a late row does not reach.
      const late = (row: UsageRow) =>
        rows.some((other) => list.indexOf(other) < list.indexOf(row) && dayOf(other) > dayOf(row));
      for (const row of flaw === 'late-rows-not-summed' ? rows.filter((each) => !late(each)) : rows) {
        add(sums, groupOf(row, groupBy), row);
      }
      const always = filter.start === undefined && filter.end === undefined;
      if (flaw === 'an-empty-group' && sums.size === 0 && always) sums.set(undefined, emptySum(undefined));
      return [...sums.values()];
    },
    async *export(filter) {
      exports += 1;
      if (flaw === 'exports-run-out' && exports > 10) throw new Error('no more connections');
      const rows = youngestFirst(matching(filter));
      if (flaw === 'export-in-other-order') rows.reverse();
      yield* flaw === 'export-of-one-page' ? rows.slice(0, 1_000) : rows;
      exports -= 1;
    },
  };
}

function dayOf({ at }: UsageRow): number {
  return Math.floor(at / (24 * HOUR_MS));
}

function emptySum(group: string | undefined): UsageSum {
  return {
    ...{ group, requests: 0, images: 0, tokensIn: 0, tokensOut: 0 },
    ...{ costMicroUsd: 0, backendCostMicroUsd: 0 },
  };
}

/** Usage in this process's memory: for development, tests, and a single process that may forget on restart. */
import type { UsageFilter, UsagePage, UsagePlace, UsageRow, UsageStore } from '../core/usage.js';
import { ConfigError } from '../errors.js';
import { checkPage, checkRows } from './arguments.js';
import { createSums, groupOf, totalsOf } from './sums.js';

/** Options of {@link memoryUsage}. */
export interface MemoryUsageOptions {
  /** How many rows are kept; of more the oldest are forgotten. A row takes about 500 bytes. @defaultValue `100000` */
  readonly maxRows?: number | undefined;
}

/**
 * Keeps the youngest `maxRows` rows in memory, and forgets them all when the process ends. A summary looks at every
 * row. Throws a `ConfigError` for a `maxRows` that is no whole number of 1 or more.
 */
export function memoryUsage({ maxRows = 100_000 }: MemoryUsageOptions = {}): UsageStore {
  if (!Number.isSafeInteger(maxRows) || maxRows < 1) {
    throw new ConfigError('maxRows', `expected a whole number of at least 1, got ${String(maxRows)}`);
  }
  /** The oldest first. */
  const rows: UsageRow[] = [];
  const ids = new Set<string>();

  /** Most rows are younger than all others, and go to the end at once. */
  function insert(row: UsageRow): void {
    if (ids.has(row.id)) return;
    ids.add(row.id);
    let place = rows.length;
    while (place > 0 && isBefore(row, rows[place - 1] as UsageRow)) place -= 1;
    rows.splice(place, 0, row);
  }

  function* matching(filter: UsageFilter, after?: UsagePlace): Generator<UsageRow> {
    for (let place = rows.length - 1; place >= 0; place -= 1) {
      const row = rows[place] as UsageRow;
      if (after !== undefined && !isBefore(row, after)) continue;
      if (matches(row, filter)) yield row;
    }
  }

  async function query(filter: UsageFilter, page: UsagePage): Promise<readonly UsageRow[]> {
    checkPage(page);
    const found: UsageRow[] = [];
    for (const row of matching(filter, page.after)) {
      if (found.push(row) === page.limit) break;
    }
    return found;
  }

  return {
    query,
    async append(given) {
      checkRows(given);
      for (const row of given) insert({ ...row, labels: { ...row.labels } });
      for (const { id } of rows.splice(0, rows.length - maxRows)) ids.delete(id);
    },
    async summarize(filter, groupBy) {
      const sums = createSums();
      for (const row of matching(filter)) sums.add(groupOf(row, groupBy), totalsOf(row));
      return sums.all();
    },
    async *export(filter) {
      // What is there now: rows that come or go meanwhile move the others.
      yield* [...matching(filter)];
    },
  };
}

function isBefore(a: UsagePlace, b: UsagePlace): boolean {
  return a.at < b.at || (a.at === b.at && a.id < b.id);
}

function matches(row: UsageRow, filter: UsageFilter): boolean {
  const { tenant, user, model, backend, start = 0, end = Number.POSITIVE_INFINITY } = filter;
  if (row.tenant !== tenant || row.at < start || row.at >= end) return false;
  if (user !== undefined && row.user !== user) return false;
  if (model !== undefined && row.model !== model) return false;
  return backend === undefined || row.backend === backend;
}

/**
 * Usage in a SQLite file: durable, and shared by the processes of one machine. For servers on several machines take a
 * database server instead: no network file system keeps SQLite's locks.
 */
import { setImmediate as turn } from 'node:timers/promises';
import type {
  UsageFilter,
  UsageGrouping,
  UsagePlace,
  UsageRow,
  UsageStore,
  UsageSum,
} from '../core/usage.js';
import {
  checkDatabase,
  type SqliteDatabase,
  type SqliteStatement,
  type SqliteValue,
} from '../database/sqlite.js';
import { createTransactions } from '../database/sqlite-transactions.js';
import { checkPage, checkRows } from './arguments.js';
import { dayOf, monthOf, partsOf, type Span } from './calendar.js';
import { fromRecord, groupOfRecord, type SumRecord, toRecord, totalsOfRecord } from './record.js';
import { type Grain, openUsage, type SumKey, type UsageStatements } from './sqlite-statements.js';
import { createSums, plus, type Totals, totalsOf } from './sums.js';

export type { SqliteDatabase, SqliteStatement, SqliteValue };

/** Options of {@link sqliteUsage}. */
export interface SqliteUsageOptions {
  /**
   * An open connection of `libsql`, `better-sqlite3` or `node:sqlite`, used by nothing else: the store sets its
   * pragmas and runs transactions on it. Best on a file of its own, so that no budget waits for its lock. Whoever
   * opened it closes it, after the router.
   */
  readonly database: SqliteDatabase;
}

// A few milliseconds of work: more would be felt by everything else in the process.
const EXPORT_ROWS = 200;
const CUT_MS = 3_600_000;

/**
 * Keeps usage in tables of a SQLite database, all named `images_router_usage…`, made with the first operation. What
 * was appended survives a crash and a power cut. Sums of each day and month are kept beside the rows, in the same
 * transaction, so that a summary reads rows only of the days that its span cuts.
 *
 * A lock of another process is waited for without blocking this one; after 2 seconds the operation rejects with the
 * driver's error. Rows and sums are kept until the host deletes them.
 *
 * Throws a `ConfigError` for a `database` that is none.
 */
export function sqliteUsage(options: SqliteUsageOptions): UsageStore {
  const { read, write } = createTransactions(checkDatabase(options?.database), openUsage);

  async function summarize(filter: UsageFilter, groupBy: UsageGrouping): Promise<readonly UsageSum[]> {
    const sums = createSums();
    const addAll = (found: readonly SumRecord[]) => {
      for (const record of found) sums.add(groupOfRecord(record, groupBy), totalsOfRecord(record));
    };
    const { months, days, rest } = partsOf(filter.start, filter.end);
    const whole: readonly [Grain, Span][] = [
      // Months do not say which of their days it was.
      [groupBy === 'day' ? 'day' : 'month', months],
      ...days.map((span): [Grain, Span] => ['day', span]),
    ];
    for (const [grain, span] of whole) {
      for (let { start } = span; ; ) {
        const since = await read((usage) =>
          usage.firstPeriod(filter.tenant, grain, { start, end: span.end }),
        );
        if (since === undefined) break;
        addAll(await read((usage) => usage.sumPeriod(filter, { grain, since }, groupBy)));
        start = since + 1;
        await turn();
      }
    }
    for (const span of rest.flatMap(hours)) {
      addAll(await read((usage) => usage.sumRows(filter, span, groupBy)));
      await turn();
    }
    return sums.all();
  }

  async function* exportRows(filter: UsageFilter): AsyncGenerator<UsageRow, void> {
    for (let after: UsagePlace | undefined; ; ) {
      const page = { limit: EXPORT_ROWS, after };
      const records = await read((usage) => usage.page(filter, page));
      for (const record of records) yield fromRecord(record);
      const last = records.at(-1);
      if (last === undefined || records.length < EXPORT_ROWS) return;
      after = fromRecord(last);
      await turn();
    }
  }

  return {
    async append(given) {
      checkRows(given);
      if (given.length > 0) await write((usage) => appendAll(usage, given));
    },
    async query(filter, page) {
      checkPage(page);
      return (await read((usage) => usage.page(filter, page))).map(fromRecord);
    },
    summarize,
    export: exportRows,
  };
}

/** A span within a day as spans of an hour, each a moment's work even for a busy tenant. */
function hours({ start, end }: Span): readonly Span[] {
  const spans: Span[] = [];
  for (let from = start; from < end; from += CUT_MS)
    spans.push({ start: from, end: Math.min(from + CUT_MS, end) });
  return spans;
}

function appendAll(usage: UsageStatements, given: readonly UsageRow[]): void {
  const sums = new Map<string, { readonly key: SumKey; readonly totals: Totals }>();
  for (const row of given) {
    const record = toRecord(row);
    if (!usage.insert(record)) continue;
    const { tenant, user_id, model, backend } = record;
    for (const [grain, since] of [
      ['day', dayOf(row.at)],
      ['month', monthOf(row.at)],
    ] as const) {
      const key: SumKey = [tenant, grain, since, user_id, model, backend];
      const name = JSON.stringify(key);
      const totals = totalsOf(row);
      const known = sums.get(name);
      sums.set(name, { key, totals: known === undefined ? totals : plus(known.totals, totals) });
    }
  }
  for (const { key, totals } of sums.values()) {
    const { requests, images, tokensIn, tokensOut, costMicroUsd, backendCostMicroUsd } = totals;
    usage.add(key, [requests, images, tokensIn, tokensOut, costMicroUsd, backendCostMicroUsd]);
  }
}

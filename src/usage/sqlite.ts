/**
 * Usage in a SQLite file: durable, and shared by the processes of one machine. For servers on several machines take a
 * database server instead: no network file system keeps SQLite's locks.
 */
import { setImmediate as turn } from 'node:timers/promises';
import type {
  UsageFilter,
  UsageGrouping,
  UsagePage,
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
import { fromRecord, groupOfRecord, type SumRecord, toRecord, totalsOfRecord, upperPlace } from './record.js';
import {
  type Grain,
  openUsage,
  type RowSlice,
  type SumKey,
  type SumPlace,
  type UsageStatements,
} from './sqlite-statements.js';
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

/** Which rows are gone through, and until when. */
interface Walk {
  readonly filter: UsageFilter;
  readonly after?: UsagePlace | undefined;
  readonly signal?: AbortSignal | undefined;
}

const FIRST_SUM: SumPlace = ['', '', ''];

/**
 * Keeps usage in tables of a SQLite database, all named `images_router_usage…`, made with the first operation. What
 * was appended survives a crash and a power cut. Sums of each day and month are kept beside the rows, in the same
 * transaction, so that a summary reads rows only of the days that its span cuts. Whatever is read is read some
 * hundred rows at a time, between which the event loop goes on.
 *
 * A lock of another process is waited for without blocking this one; after 2 seconds the operation rejects with the
 * driver's error. Rows and sums are kept until the host deletes them.
 *
 * Throws a `ConfigError` for a `database` that is none.
 */
export function sqliteUsage(options: SqliteUsageOptions): UsageStore {
  const { read, write } = createTransactions(checkDatabase(options?.database), openUsage);

  /** What a job makes of each slice of the rows that a filter's index finds, from the youngest on. */
  async function* slicesOfRows<T>(
    { filter, after, signal }: Walk,
    job: (usage: UsageStatements, slice: RowSlice) => readonly T[],
  ): AsyncGenerator<T, void> {
    const from = { at: filter.start ?? 0, id: '' };
    for (let end = upperPlace(filter, after); ; ) {
      const [next, found] = await read((usage) => {
        const begin = usage.lastRows(filter, { from, end });
        return [begin, job(usage, { from: begin ?? from, end })] as const;
      });
      yield* found;
      if (next === undefined) return;
      end = next;
      await turn();
      signal?.throwIfAborted();
    }
  }

  /** What the sums of each day or month of a span add up to, in parts. */
  async function* slicesOfSums(
    { filter, signal }: Walk,
    { start, end }: Span,
    { grain, by }: { readonly grain: Grain; readonly by: UsageGrouping },
  ): AsyncGenerator<SumRecord, void> {
    for (let place = { since: start, from: FIRST_SUM }; ; ) {
      const part = await read((usage) => {
        const since = usage.firstPeriod(filter.tenant, grain, { start: place.since, end });
        if (since === undefined) return undefined;
        const rest = { grain, since, from: place.from, end: undefined };
        const next = usage.firstSums(filter, rest);
        return { since, next, found: usage.sumPeriod(filter, { ...rest, end: next }, by) };
      });
      if (part === undefined) return;
      yield* part.found;
      const { since, next } = part;
      place = next === undefined ? { since: since + 1, from: FIRST_SUM } : { since, from: next };
      await turn();
      signal?.throwIfAborted();
    }
  }

  async function summarize(
    filter: UsageFilter,
    groupBy: UsageGrouping,
    signal?: AbortSignal,
  ): Promise<readonly UsageSum[]> {
    const sums = createSums();
    const add = (record: SumRecord) => sums.add(groupOfRecord(record, groupBy), totalsOfRecord(record));
    const { months, days, rest } = partsOf(filter.start, filter.end);
    const whole: readonly [Grain, Span][] = [
      // Months do not say which of their days it was.
      [groupBy === 'day' ? 'day' : 'month', months],
      ...days.map((span): [Grain, Span] => ['day', span]),
    ];
    for (const [grain, span] of whole) {
      for await (const record of slicesOfSums({ filter, signal }, span, { grain, by: groupBy })) add(record);
    }
    for (const span of rest) {
      const part = { ...filter, ...span };
      const found = slicesOfRows({ filter: part, signal }, (usage, slice) =>
        usage.sumRows(part, slice, groupBy),
      );
      for await (const record of found) add(record);
    }
    return sums.all();
  }

  async function* rowsOf(walk: Walk): AsyncGenerator<UsageRow, void> {
    const found = slicesOfRows(walk, (usage, slice) => usage.rows(walk.filter, slice));
    for await (const record of found) yield fromRecord(record);
  }

  async function query(
    filter: UsageFilter,
    page: UsagePage,
    signal?: AbortSignal,
  ): Promise<readonly UsageRow[]> {
    checkPage(page);
    const found: UsageRow[] = [];
    for await (const row of rowsOf({ filter, after: page.after, signal })) {
      if (found.push(row) === page.limit) break;
    }
    return found;
  }

  return {
    async append(given) {
      checkRows(given);
      if (given.length > 0) await write((usage) => appendAll(usage, given));
    },
    query,
    summarize,
    export: (filter, signal) => rowsOf({ filter, signal }),
  };
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

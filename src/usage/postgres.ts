/** Usage in PostgreSQL: durable, and shared by any number of servers. */
import type { UsageFilter, UsagePlace, UsageRow, UsageStore } from '../core/usage.js';
import { ask, checkQuery, type PostgresAnswer, type PostgresQuery } from '../database/postgres.js';
import { checkPage, checkRows } from './arguments.js';
import { dayOf, monthOf } from './calendar.js';
import { postgresUsageSchema } from './postgres-schema.js';
import { APPEND, pageStatement, type Statement, summaryStatement } from './postgres-statements.js';
import {
  fromRecord,
  groupOfRecord,
  type SumRecord,
  toRecord,
  totalsOfRecord,
  type UsageRecord,
} from './record.js';
import { createSums } from './sums.js';

export { type PostgresAnswer, type PostgresQuery, postgresUsageSchema };

/** Options of {@link postgresUsage}. */
export interface PostgresUsageOptions {
  /** Runs a statement. It should give up in half a minute when the server does not answer. */
  readonly query: PostgresQuery;
}

const EXPORT_ROWS = 1_000;

/**
 * Keeps usage in a PostgreSQL database, version 12 or later, in the schema `images_router`. Every operation is one
 * statement; an export is one for each thousand rows, and holds no connection between them. Run
 * {@link postgresUsageSchema} in a migration first; without it the first operation rejects and says so. Whoever calls
 * needs `USAGE` of the schema, and `SELECT`, `INSERT` and `UPDATE` on its tables. Rows and sums are kept until the host
 * deletes them.
 *
 * Throws a `ConfigError` for a `query` that is no function. Its methods reject with what `query` rejects with.
 */
export function postgresUsage(options: PostgresUsageOptions): UsageStore {
  const query = checkQuery(options?.query);
  const call = <Row>([text, values]: Statement) => ask<Row>(query, 'postgresUsageSchema', text, values);

  async function* exportRows(filter: UsageFilter): AsyncGenerator<UsageRow, void> {
    for (let after: UsagePlace | undefined; ; ) {
      const records = await call<UsageRecord>(pageStatement(filter, { limit: EXPORT_ROWS, after }));
      for (const record of records) yield fromRecord(record);
      const last = records.at(-1);
      if (last === undefined || records.length < EXPORT_ROWS) return;
      after = fromRecord(last);
    }
  }

  return {
    async append(given) {
      checkRows(given);
      if (given.length === 0) return;
      const records = given.map((row) => ({ ...toRecord(row), day: dayOf(row.at), month: monthOf(row.at) }));
      await call([APPEND, [JSON.stringify(records)]]);
    },
    async query(filter, page) {
      checkPage(page);
      return (await call<UsageRecord>(pageStatement(filter, page))).map(fromRecord);
    },
    async summarize(filter, groupBy) {
      const sums = createSums();
      for (const record of await call<SumRecord>(summaryStatement(filter, groupBy))) {
        sums.add(groupOfRecord(record, groupBy), totalsOfRecord(record));
      }
      return sums.all();
    },
    export: exportRows,
  };
}

/**
 * What usage costs after a year: ten million rows of one tenant, in SQLite and PostgreSQL. `npx tsx --tsconfig
 * test/tsconfig.json test/bench/usage.ts [rows]` takes some minutes and about 12 GB of the temporary folder.
 */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import Database from 'libsql';
import type { UsageFilter, UsageGrouping, UsageStore } from '../../src/core/usage.js';
import { dayOf, monthOf } from '../../src/usage/calendar.js';
import { postgresUsage, postgresUsageSchema } from '../../src/usage/postgres.js';
import { sqliteUsage } from '../../src/usage/sqlite.js';
import { startPostgres } from '../support/postgres.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import { usageRow } from '../support/usage.js';

const ROWS = Number(process.argv[2] ?? 10_000_000);
const START = Date.UTC(2025, 0);
const YEAR_MS = 365 * 86_400_000;
const STEP_MS = YEAR_MS / ROWS;

const say = (text: string) => process.stdout.write(`${text}\n`);

/** Rows of a year: 200 users, 5 models, 2 backends, evenly spread. `$n` is the number of the row, `$at` its instant. */
const COLUMNS = {
  user_id: "'user-' || (($n * 7919) % 200)",
  model: "'vendor/model-' || ($n % 5)",
  backend: "'backend-' || ($n % 2)",
};
const AMOUNTS = '1 AS images, 12 AS tokens_in, 4160 AS tokens_out, 40000 AS cost, 40000 AS backend_cost';
const REST =
  '\'{"requestId":"req_0123456789abcdef01234567","operation":"generate","servedBy":"vendor/model","imagesAsked":1,"latencyMs":9000,"labels":{}}\'';

/** The columns of a row of the table; casts are PostgreSQL's where `integer` says so. */
function rowOf(n: string, integer: (text: string) => string): string {
  const columns = Object.entries(COLUMNS).map(([name, text]) => `${text.replaceAll('$n', n)} AS ${name}`);
  const at = integer(`${START} + ${n} * ${STEP_MS}`);
  return `'acme' AS tenant, ${at} AS at, 'usage_' || ${n} AS id, ${columns.join(', ')}, ${AMOUNTS}, ${REST} AS rest`;
}

/** The statements that make the sums of every row, as appends would have. */
function sumStatements({ rows, sums }: { readonly rows: string; readonly sums: string }): readonly string[] {
  const day = 'at - at % 86400000';
  const days = `INSERT INTO ${sums}
    SELECT 'acme', 'day', ${day}, user_id, model, backend, count(*), sum(images), sum(tokens_in), sum(tokens_out),
      sum(cost), sum(backend_cost) FROM ${rows} GROUP BY 3, 4, 5, 6`;
  const months = Array.from({ length: 12 }, (_, month) => [Date.UTC(2025, month), Date.UTC(2025, month + 1)]);
  return [
    days,
    ...months.map(
      ([from, to]) => `INSERT INTO ${sums}
        SELECT 'acme', 'month', ${from}, user_id, model, backend, sum(requests), sum(images), sum(tokens_in),
          sum(tokens_out), sum(cost), sum(backend_cost)
        FROM ${sums} WHERE tenant = 'acme' AND grain = 'day' AND since >= ${from} AND since < ${to}
        GROUP BY 4, 5, 6`,
    ),
  ];
}

/** The median of several runs, in milliseconds, and the longest turn of the event loop meanwhile. */
async function measure(name: string, run: () => Promise<unknown>): Promise<void> {
  const delay = monitorEventLoopDelay({ resolution: 2 });
  await run();
  delay.enable();
  const times: number[] = [];
  for (let round = 0; round < 5; round += 1) {
    const startedAt = performance.now();
    await run();
    times.push(performance.now() - startedAt);
  }
  delay.disable();
  times.sort((a, b) => a - b);
  say(
    `  ${name.padEnd(52)} ${times[2]?.toFixed(1).padStart(9)} ms   longest turn ${(delay.max / 1e6).toFixed(0)} ms`,
  );
}

async function measureAll(store: UsageStore): Promise<void> {
  const tenant = 'acme';
  const sum = (name: string, filter: Omit<UsageFilter, 'tenant'>, by: UsageGrouping) =>
    measure(`summary, ${name}, by ${by}`, () => store.summarize({ tenant, ...filter }, by));
  const end = START + YEAR_MS;
  for (const by of ['model', 'user', 'month', 'day'] as const) await sum('all', {}, by);
  await sum('a year less an hour at both ends', { start: START + 3_600_000, end: end - 3_600_000 }, 'model');
  await sum('the last month', { start: monthOf(end - 1) }, 'model');
  await sum('one hour', { start: dayOf(end - 1), end: dayOf(end - 1) + 3_600_000 }, 'model');
  await sum('one user', { user: 'user-7' }, 'model');
  const page = (name: string, filter: Omit<UsageFilter, 'tenant'>) =>
    measure(`100 rows, ${name}`, () => store.query({ tenant, ...filter }, { limit: 100 }));
  await page('youngest', {});
  await page('of one user', { user: 'user-7' });
  await page('of a backend nobody has', { backend: 'none' });
  await page('in the middle of the year', { end: START + YEAR_MS / 2 });
  let next = 0;
  await measure('append of 100 rows', () =>
    store.append(
      Array.from({ length: 100 }, () => usageRow({ at: end + next++, user: `user-${next % 200}` })),
    ),
  );
  await measure('export of 20,000 rows', async () => {
    let rows = 0;
    for await (const _ of store.export({ tenant })) if (++rows === 20_000) break;
  });
}

async function sqlite(): Promise<void> {
  const cleaners: (() => Promise<void>)[] = [];
  const file = join(await temporaryFolder({ after: (clean) => void cleaners.push(clean) }), 'usage.db');
  const database = new Database(file);
  try {
    const store = sqliteUsage({ database });
    await store.query({ tenant: 'acme' }, { limit: 1 });
    const startedAt = performance.now();
    database.exec('PRAGMA synchronous = OFF; PRAGMA cache_size = -400000');
    const part = Math.ceil(ROWS / 20);
    for (let from = 0; from < ROWS; from += part) {
      database.exec(`INSERT INTO images_router_usage
        WITH RECURSIVE counter (n) AS (SELECT ${from} UNION ALL SELECT n + 1 FROM counter WHERE n + 1 < ${Math.min(from + part, ROWS)})
        SELECT ${rowOf('n', (text) => `CAST(${text} AS INTEGER)`)} FROM counter`);
    }
    for (const statement of sumStatements({ rows: 'images_router_usage', sums: 'images_router_usage_sums' }))
      database.exec(statement);
    database.exec('PRAGMA wal_checkpoint(TRUNCATE); PRAGMA synchronous = FULL; PRAGMA cache_size = -2000');
    const { size } = await stat(file);
    say(
      `SQLite: ${ROWS} rows in ${((performance.now() - startedAt) / 1000).toFixed(0)} s, ${(size / 1e9).toFixed(1)} GB`,
    );
    const [sums] = database.prepare('SELECT count(*) AS count FROM images_router_usage_sums').all() as {
      count: number;
    }[];
    say(`  ${sums?.count} sums`);
    await measureAll(store);
    const startedScan = performance.now();
    database
      .prepare('SELECT model, sum(cost) FROM images_router_usage WHERE tenant = ? GROUP BY model')
      .all('acme');
    say(`  for comparison, a scan: ${(performance.now() - startedScan).toFixed(0)} ms`);
  } finally {
    database.close();
    for (const clean of cleaners) await clean();
  }
}

async function postgres(): Promise<void> {
  const cleaners: (() => Promise<void>)[] = [];
  try {
    const server = await startPostgres({ after: (clean) => void cleaners.push(clean) });
    const pool = server.pool();
    await pool.query(postgresUsageSchema);
    const startedAt = performance.now();
    await pool.query(`INSERT INTO images_router.usage_rows
      SELECT ${rowOf('n', (text) => `floor(${text})::bigint`)} FROM generate_series(0::bigint, ${ROWS - 1}) AS n`);
    for (const statement of sumStatements({
      rows: 'images_router.usage_rows',
      sums: 'images_router.usage_sums',
    }))
      await pool.query(statement);
    await pool.query('VACUUM ANALYZE');
    const { rows } = await pool.query(`SELECT pg_size_pretty(pg_database_size('postgres')) AS size`);
    say(
      `PostgreSQL: ${ROWS} rows in ${((performance.now() - startedAt) / 1000).toFixed(0)} s, ${rows[0].size}`,
    );
    await measureAll(postgresUsage({ query: (text, values) => pool.query(text, values) }));
    const startedScan = performance.now();
    await pool.query(
      'SELECT model, sum(cost) FROM images_router.usage_rows WHERE tenant = $1 GROUP BY model',
      ['acme'],
    );
    say(`  for comparison, a scan: ${(performance.now() - startedScan).toFixed(0)} ms`);
  } finally {
    for (const clean of cleaners) await clean();
  }
}

await sqlite();
await postgres();

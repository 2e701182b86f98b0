import assert from 'node:assert/strict';
import { randomInt, randomUUID } from 'node:crypto';
import { after, test } from 'node:test';
import type { Pool } from 'pg';
import { postgresBudgetSchema } from '../../src/budgets/postgres.js';
import { ConfigError } from '../../src/errors.js';
import { usageChecks } from '../../src/testing/usage-checks.js';
import { postgresUsage, postgresUsageSchema } from '../../src/usage/postgres.js';
import { pageStatement, type Statement, summaryStatement } from '../../src/usage/postgres-statements.js';
import { startPostgres } from '../support/postgres.js';
import { testChecks } from '../support/run-checks.js';
import { runs } from '../support/runs.js';
import { usageRow } from '../support/usage.js';

const server = await startPostgres({ after });
const pool = server.pool();
await pool.query(postgresUsageSchema);

const storeOn = (connections: Pool) =>
  postgresUsage({ query: (text, values) => connections.query(text, values) });
const store = storeOn(pool);

testChecks('postgres', usageChecks, () => storeOn(pool));

test('a query that is none is refused at once', () => {
  for (const query of [undefined, null, 'SELECT 1', { query: () => undefined }]) {
    const make = () => postgresUsage({ query: query as never });
    assert.throws(make, (error) => error instanceof ConfigError && error.path === 'query');
  }
});

test('without the schema the first operation says that it is missing; the budget has its own in the same place', async () => {
  await pool.query('CREATE DATABASE fresh');
  const fresh = server.pool({ connectionString: server.url.replace(/postgres$/, 'fresh') });
  const usage = storeOn(fresh);
  await assert.rejects(usage.append([usageRow()]), /run postgresUsageSchema in a migration/);
  await fresh.query(postgresBudgetSchema);
  await assert.rejects(
    usage.summarize({ tenant: 'acme' }, 'model'),
    /run postgresUsageSchema in a migration/,
  );
  await Promise.all([1, 2, 3].map(() => fresh.query(postgresUsageSchema)));
  await usage.append([usageRow()]);
  await fresh.query(postgresUsageSchema);
  assert.equal((await usage.summarize({ tenant: 'acme' }, 'model'))[0]?.requests, 1);
});

test('servers that append the same and other rows at once, in any order, meet no deadlock and count each once', async () => {
  const tenant = randomUUID();
  const users = ['a', 'b', 'c', 'd'];
  const rows = Array.from({ length: 200 }, (_, index) =>
    usageRow({ tenant, user: users[index % 4], at: Date.UTC(2026, index % 3, 1 + (index % 5)) }),
  );
  const servers = Array.from({ length: 6 }, () => storeOn(server.pool({ max: 1 })));
  const work = servers.map(async (each) => {
    for (let round = 0; round < runs(10).numRuns; round += 1) {
      const some = rows.filter(() => randomInt(4) === 0).sort(() => randomInt(3) - 1);
      await each.append(some);
    }
    await each.append([...rows].sort(() => randomInt(3) - 1));
  });
  await Promise.all(work);
  const [sum] = await store.summarize({ tenant }, 'tenant');
  assert.deepEqual([sum?.requests, sum?.costMicroUsd], [200, 8_000_000]);
  const { rows: found } = await pool.query('SELECT sum(deadlocks)::int AS deadlocks FROM pg_stat_database');
  assert.deepEqual(found, [{ deadlocks: 0 }]);
});

test('no statement looks at rows that are not asked for', async () => {
  const tenant = randomUUID();
  const connection = await pool.connect();
  try {
    // Tables this small would be scanned for good reason.
    await connection.query('SET enable_seqscan = off; SET enable_bitmapscan = off');
    const plan = async ([text, values]: Statement): Promise<string> => {
      const { rows } = await connection.query(`EXPLAIN ${text}`, values);
      return rows.map((row) => row['QUERY PLAN']).join('\n');
    };
    const page = { limit: 10, after: { at: 9, id: 'a' } };
    const pages = {
      usage_rows_pkey: {},
      usage_rows_user: { user: 'ann' },
      usage_rows_model: { model: 'a/b' },
      usage_rows_backend: { backend: 'there' },
    };
    for (const [index, filter] of Object.entries(pages)) {
      const steps = await plan(pageStatement({ tenant, ...filter }, page));
      assert.match(steps, new RegExp(`Index Scan Backward using ${index} `));
      assert.doesNotMatch(steps, /Seq Scan|Sort/);
    }
    const filter = { tenant, start: Date.UTC(2025, 6, 5, 1), end: Date.UTC(2026, 6, 9, 1) };
    const steps = await plan(summaryStatement(filter, 'model'));
    assert.equal(steps.match(/using usage_sums_pkey/g)?.length, 3, steps);
    assert.equal(steps.match(/using usage_rows_pkey/g)?.length, 2, steps);
  } finally {
    connection.release(true);
  }
});

test('a summary of whole days reads no rows', async () => {
  const tenant = randomUUID();
  await store.append([1, 2, 15, 40].map((day) => usageRow({ tenant, at: Date.UTC(2026, 4, day, 13) })));
  await pool.query('DELETE FROM images_router.usage_rows WHERE tenant = $1', [tenant]);
  const filter = { tenant, start: Date.UTC(2026, 4, 2), end: Date.UTC(2026, 5, 30) };
  assert.equal((await store.summarize(filter, 'tenant'))[0]?.requests, 3);
});

test('an export holds no connection between its pages', async () => {
  const tenant = randomUUID();
  for (let batch = 0; batch < 11; batch += 1) {
    await store.append(Array.from({ length: 100 }, () => usageRow({ tenant })));
  }
  const single = storeOn(server.pool({ max: 1 }));
  let rows = 0;
  for await (const _ of single.export({ tenant })) {
    rows += 1;
    if (rows % 500 === 0) await single.query({ tenant }, { limit: 1 });
  }
  assert.equal(rows, 1_100);
});

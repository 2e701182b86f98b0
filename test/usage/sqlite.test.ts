import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import Database from 'libsql';
import type { UsageRow } from '../../src/core/usage.js';
import { ConfigError } from '../../src/errors.js';
import { usageChecks } from '../../src/testing/usage-checks.js';
import { sqliteUsage } from '../../src/usage/sqlite.js';
import { pageStatement, periodStatement, rowsStatement } from '../../src/usage/sqlite-statements.js';
import { testChecks } from '../support/run-checks.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import { usageRow } from '../support/usage.js';

const folder = await temporaryFolder({ after });
const newFile = () => join(folder, `${randomUUID()}.db`);

const file = newFile();
testChecks('sqlite', usageChecks, () => sqliteUsage({ database: new Database(file) }));

test('making a store touches nothing; the first operation makes tables with a name of ours', async () => {
  const database = new Database(newFile());
  const store = sqliteUsage({ database });
  const tables = () => {
    const found = database.prepare("SELECT name FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'").all();
    return (found as { readonly name: string }[]).map(({ name }) => name);
  };
  assert.deepEqual(tables(), []);
  await store.query({ tenant: 'acme' }, { limit: 1 });
  assert.ok(tables().length > 2, 'tables and indexes were made');
  for (const name of tables()) assert.match(name, /^images_router_usage/);
});

test('tables of another version are refused', async () => {
  const database = new Database(newFile());
  await sqliteUsage({ database }).append([usageRow()]);
  database.exec('UPDATE images_router_usage_version SET version = 7');
  await assert.rejects(sqliteUsage({ database }).append([usageRow()]), /usage tables .* version 7/);
});

test('a database that is none is refused at once', () => {
  for (const database of [undefined, null, 'usage.db', { exec: () => undefined }]) {
    const make = () => sqliteUsage({ database: database as never });
    assert.throws(make, (error) => error instanceof ConfigError && error.path === 'database');
  }
});

test('a page that goes on from a row at or after the end of the span begins at that end', async () => {
  const store = sqliteUsage({ database: new Database(newFile()) });
  const rows = [1, 2, 3, 4, 5].map((at) => usageRow({ at }));
  await store.append(rows);
  for (const after of rows.slice(2)) {
    const page = await store.query({ tenant: 'acme', end: 3 }, { limit: 9, after });
    assert.deepEqual(
      page.map(({ at }) => at),
      [2, 1],
    );
  }
});

test('no statement looks at rows that are not asked for', async () => {
  const database = new Database(newFile());
  await sqliteUsage({ database }).append([usageRow()]);
  const plan = ([text, values]: readonly [string, readonly unknown[]]): string => {
    const steps = database.prepare(`EXPLAIN QUERY PLAN ${text}`).all(...values) as {
      readonly detail: string;
    }[];
    return steps.map(({ detail }) => detail).join('; ');
  };
  const tenant = 'acme';
  const page = { limit: 10, after: { at: 9, id: 'a' } };
  const pages = {
    'PRIMARY KEY (tenant=? AND ': {},
    'INDEX images_router_usage_user (tenant=? AND user_id=? AND ': { user: 'ann' },
    'INDEX images_router_usage_model (tenant=? AND model=? AND ': { model: 'a/b', backend: 'there' },
    'INDEX images_router_usage_backend (tenant=? AND backend=? AND ': { backend: 'there' },
  };
  for (const [index, filter] of Object.entries(pages)) {
    const steps = plan(pageStatement({ tenant, ...filter }, page));
    assert.ok(steps.startsWith(`SEARCH images_router_usage USING ${index}`), steps);
    assert.ok(!/SCAN|TEMP B-TREE/.test(steps), steps);
  }
  const since = Date.UTC(2026, 4);
  for (const by of ['model', 'user', 'backend', 'tenant', 'day', 'month'] as const) {
    const period = plan(periodStatement({ tenant }, { grain: 'month', since }, by));
    assert.match(
      period,
      /SEARCH images_router_usage_sums USING PRIMARY KEY \(tenant=\? AND grain=\? AND since=\?/,
    );
    const rest = plan(rowsStatement({ tenant }, { start: 1, end: 2 }, by));
    assert.match(rest, /SEARCH images_router_usage USING PRIMARY KEY \(tenant=\? AND at>\? AND at<\?\)/);
  }
});

test('a summary of whole days reads no rows', async () => {
  const database = new Database(newFile());
  const store = sqliteUsage({ database });
  const days = [1, 2, 15, 40].map((day) => usageRow({ at: Date.UTC(2026, 4, day, 13) }));
  await store.append(days);
  database.exec('DELETE FROM images_router_usage');
  const filter = { tenant: 'acme', start: Date.UTC(2026, 4, 2), end: Date.UTC(2026, 5, 30) };
  const [sum] = await store.summarize(filter, 'tenant');
  assert.equal(sum?.requests, 3);
});

test('what was appended by one process is there for another, which waits for its lock without standing still', async () => {
  const shared = newFile();
  const other = new Database(shared);
  const store = sqliteUsage({ database: new Database(shared) });
  await store.append([usageRow()]);
  other.exec('BEGIN IMMEDIATE');
  const delay = monitorEventLoopDelay({ resolution: 5 });
  delay.enable();
  const appended = store.append([usageRow(), usageRow()]);
  await sleep(500);
  assert.equal((await store.query({ tenant: 'acme' }, { limit: 9 })).length, 1);
  delay.disable();
  other.exec('COMMIT');
  await appended;
  assert.ok(delay.max / 1e6 < 400, `the event loop stood still for ${delay.max / 1e6} ms`);
  const again = sqliteUsage({ database: other });
  assert.equal((await again.query({ tenant: 'acme' }, { limit: 9 })).length, 3);
});

test('rows that share a file with an append that fails are kept, and none of the one that failed', async () => {
  const store = sqliteUsage({ database: new Database(newFile()) });
  const wrong: UsageRow = usageRow({ costMicroUsd: -1 });
  const results = await Promise.allSettled([
    store.append([usageRow()]),
    store.append([usageRow(), wrong]),
    store.append([usageRow()]),
  ]);
  assert.deepEqual(
    results.map(({ status }) => status),
    ['fulfilled', 'rejected', 'fulfilled'],
  );
  assert.equal((await store.summarize({ tenant: 'acme' }, 'tenant'))[0]?.requests, 2);
});

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import Database from 'libsql';
import type { UsageFilter, UsageRow } from '../../src/core/usage.js';
import { ConfigError } from '../../src/errors.js';
import { usageChecks } from '../../src/testing/usage-checks.js';
import { sqliteUsage } from '../../src/usage/sqlite.js';
import {
  firstSumsStatement,
  lastRowsStatement,
  rowsStatement,
  sumPeriodStatement,
  sumRowsStatement,
} from '../../src/usage/sqlite-statements.js';
import { testOnNodeSqlite } from '../support/node-sqlite.js';
import { testChecks } from '../support/run-checks.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import { usageRow } from '../support/usage.js';

const folder = await temporaryFolder({ after });
const newFile = () => join(folder, `${randomUUID()}.db`);

const file = newFile();
testChecks('sqlite', usageChecks, () => sqliteUsage({ database: new Database(file) }));
testOnNodeSqlite({ checks: usageChecks, create: (database) => sqliteUsage({ database }), file: newFile() });

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
  const slice = { from: { at: 1, id: '' }, end: { at: 9, id: 'a' } };
  const indexes = {
    'PRIMARY KEY (tenant=? AND (at,id)>(?,?) AND (at,id)<(?,?))': {},
    'INDEX images_router_usage_user (tenant=? AND user_id=? AND (at,id)>(?,?) AND (at,id)<(?,?))': {
      user: 'ann',
    },
    'INDEX images_router_usage_model (tenant=? AND model=? AND (at,id)>(?,?) AND (at,id)<(?,?))': {
      model: 'a/b',
      backend: 'there',
    },
    'INDEX images_router_usage_backend (tenant=? AND backend=? AND (at,id)>(?,?) AND (at,id)<(?,?))': {
      backend: 'there',
    },
  };
  for (const [index, filter] of Object.entries(indexes)) {
    for (const statement of [lastRowsStatement, rowsStatement]) {
      const steps = plan(statement({ tenant, ...filter }, slice)).replace('COVERING ', '');
      assert.equal(steps, `SEARCH images_router_usage USING ${index}`);
    }
    const steps = plan(sumRowsStatement({ tenant, ...filter }, slice, 'model'));
    assert.ok(steps.replace('COVERING ', '').startsWith(`SEARCH images_router_usage USING ${index}`), steps);
  }
  const sums = {
    grain: 'month',
    since: Date.UTC(2026, 4),
    from: ['', '', ''],
    end: ['a', 'b', 'c'],
  } as const;
  const range = '(user_id,model,backend)>(?,?,?) AND (user_id,model,backend)<(?,?,?)';
  const key = `SEARCH images_router_usage_sums USING PRIMARY KEY (tenant=? AND grain=? AND since=? AND ${range})`;
  assert.equal(plan(firstSumsStatement({ tenant }, sums)), key);
  for (const by of ['model', 'user', 'backend', 'tenant', 'day', 'month'] as const) {
    const steps = plan(sumPeriodStatement({ tenant }, sums, by));
    assert.ok(steps.startsWith(key), steps);
  }
});

/** How often the event loop went round before a promise settled. */
async function turnsDuring(work: Promise<unknown>): Promise<number> {
  let turns = 0;
  let over = false;
  const count = () => {
    turns += 1;
    if (!over) setImmediate(count);
  };
  setImmediate(count);
  await work.finally(() => {
    over = true;
  });
  return turns;
}

test('the event loop goes on while many rows and sums are looked through, until a signal ends it', async () => {
  const store = sqliteUsage({ database: new Database(newFile()) });
  const day = Date.UTC(2026, 4, 2);
  const tenant = 'acme';
  const count = 20_000;
  for (let first = 0; first < count; first += 1_000) {
    // Many within one instant, so that time alone cuts nothing.
    const row = (_: unknown, place: number) =>
      usageRow({ at: day + 5 + (first >> 12), user: `u${first + place}` });
    await store.append(Array.from({ length: 1_000 }, row));
  }
  const page = { limit: 101 };
  const nobody = { tenant, model: 'placeholder/sketch', backend: 'other' };
  const morning = { tenant, start: day + 1, end: day + 3_600_000 };
  const exported = async (filter: UsageFilter) => {
    let rows = 0;
    for await (const _ of store.export(filter)) rows += 1;
    return rows;
  };
  const results = {
    query: [() => store.query(nobody, page), 0],
    export: [() => exported(nobody), 0],
    everything: [() => exported({ tenant }), count],
    'sums of a month': [async () => (await store.summarize({ tenant }, 'user')).length, count],
    'sums of rows': [async () => (await store.summarize(morning, 'user')).length, count],
    'one model of a month': [
      async () => (await store.summarize({ tenant, model: nobody.model }, 'model'))[0]?.requests,
      count,
    ],
    'one model of rows': [async () => (await store.summarize({ ...morning, ...nobody }, 'model')).length, 0],
  } as const;
  for (const [what, [ask, expected]] of Object.entries(results)) {
    const asked = ask();
    const turns = await turnsDuring(asked);
    const answer = await asked;
    assert.equal(Array.isArray(answer) ? answer.length : answer, expected, what);
    assert.ok(turns > count / 1_000, `${what}: the event loop went round ${turns} times`);
  }

  const gone = AbortSignal.abort(new Error('gone'));
  await assert.rejects(store.query(nobody, page, gone), /gone/);
  await assert.rejects(store.summarize({ tenant }, 'user', gone), /gone/);
  await assert.rejects(store.summarize(morning, 'user', gone), /gone/);
  const ended = async () => {
    for await (const _ of store.export({ tenant }, gone));
  };
  await assert.rejects(ended(), /gone/);
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

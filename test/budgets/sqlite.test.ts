import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { after, afterEach, beforeEach, describe, mock, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import Database from 'libsql';
import { type SqliteDatabase, sqliteBudget } from '../../src/budgets/sqlite.js';
import type { BudgetStore, ReserveLine, ReserveRequest } from '../../src/core/budget.js';
import { ConfigError } from '../../src/errors.js';
import { budgetChecks } from '../../src/testing/budget-checks.js';
import {
  expiringSchedules,
  followReference,
  schedules,
  staySound,
  trySchedules,
} from '../support/budget-schedules.js';
import { testOnNodeSqlite } from '../support/node-sqlite.js';
import { keepOddTexts } from '../support/odd-texts.js';
import { testChecks } from '../support/run-checks.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const HOUR_MS = 3_600_000;

const folder = await temporaryFolder({ after });
const newFile = () => join(folder, `${randomUUID()}.db`);
const open = (file = newFile()) => sqliteBudget({ database: new Database(file) });

const file = newFile();
testChecks('sqlite', budgetChecks, () => open(file));
testOnNodeSqlite({ checks: budgetChecks, create: (database) => sqliteBudget({ database }), file: newFile() });

function line(key: string, parts: Partial<ReserveLine> = {}): ReserveLine {
  return { key, amount: 4, limit: 100, expiresAt: null, ...parts };
}

function request(parts: Partial<ReserveRequest> = {}): ReserveRequest {
  return { id: randomUUID(), lines: [], leaseMs: 60_000, ...parts };
}

async function hold(store: BudgetStore, parts: Partial<ReserveRequest>) {
  const result = await store.reserve(request(parts));
  assert.ok(result.ok, JSON.stringify(result));
  return result.hold;
}

/** The first column of a query. */
function column(database: SqliteDatabase, query: string): unknown[] {
  const rows = database.prepare(query).all() as Record<string, unknown>[];
  return rows.map((row) => Object.values(row)[0]);
}

function countRows(database: SqliteDatabase, table: string): number {
  return Number(column(database, `SELECT count(*) FROM images_router_${table}`)[0]);
}

test('time in which the process stood still is not counted as waiting for a lock', async () => {
  const file = newFile();
  const store = open(file);
  await store.read([]);
  const other = new Database(file);
  other.exec('BEGIN IMMEDIATE');
  const reserved = store.reserve(request({ lines: [line('k')] }));
  await sleep(50);
  const end = performance.now() + 2_500;
  while (performance.now() < end);
  await sleep(50);
  other.exec('ROLLBACK');
  other.close();
  assert.equal((await reserved).ok, true);
});

test('making a store touches nothing; the first operation makes tables with a name of ours', async () => {
  const database = new Database(newFile());
  const store = sqliteBudget({ database });
  const tables = () => column(database, "SELECT name FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%'");
  assert.deepEqual(tables(), []);
  assert.deepEqual(await store.read(['k']), [{ key: 'k', spent: 0, held: 0 }]);
  const names = tables().map(String);
  assert.ok(names.length > 2, 'tables and indexes were made');
  assert.deepEqual(
    names.filter((name) => !name.startsWith('images_router_')),
    [],
  );
});

test('every answer is flushed to the disk, and nothing waits for a lock within SQLite', async () => {
  const database = new Database(newFile(), { timeout: 5_000 });
  await sqliteBudget({ database }).read([]);
  const pragma = (name: string) => column(database, `PRAGMA ${name}`)[0];
  assert.deepEqual(['journal_mode', 'synchronous', 'busy_timeout'].map(pragma), ['wal', 2, 0]);
});

test('tables of another version are refused', async () => {
  const database = new Database(newFile());
  await sqliteBudget({ database }).read([]);
  database.exec('UPDATE images_router_budget_version SET version = 7');
  await assert.rejects(sqliteBudget({ database }).read([]), /version 7/);
});

test('a database that is none is refused at once', () => {
  for (const database of [undefined, null, 'budget.db', { exec: () => undefined }]) {
    const make = () => sqliteBudget({ database: database as never });
    assert.throws(make, (error) => error instanceof ConfigError && error.path === 'database');
  }
});

test('an operation that throws fails alone among those that came with it', async () => {
  const store = open();
  const held = await Promise.all([1, 2, 3].map(() => hold(store, { lines: [line('k')] })));
  const [first, second, third] = held.map((each, index) =>
    store.commit(each, [{ key: index === 1 ? 'foreign' : 'k', amount: 1 }]),
  );
  const read = store.read(['k']);
  await assert.rejects(second as Promise<unknown>, TypeError);
  assert.deepEqual(await Promise.all([first, third]), ['settled', 'settled']);
  await read;
  assert.deepEqual(await store.read(['k']), [{ key: 'k', spent: 2, held: 4 }]);
});

test('a transaction that somebody else left open on the connection is left alone', async () => {
  const database = new Database(newFile());
  const store = sqliteBudget({ database });
  await store.read([]);
  database.exec('BEGIN; CREATE TABLE theirs (x)');
  await assert.rejects(hold(store, { lines: [line('k')] }), /within a transaction/);
  database.exec('COMMIT');
  await hold(store, { lines: [line('k')] });
  assert.deepEqual(database.prepare('SELECT * FROM theirs').all(), []);
});

test('keys, ids and outcomes with NUL and lone surrogates are kept apart and come back', () =>
  keepOddTexts(open()));

describe('as time passes', () => {
  beforeEach(() => mock.timers.enable({ apis: ['Date'], now: 1_800_000_000_000 }));
  afterEach(() => mock.timers.reset());

  test('closed ids are kept for a day, and forgotten after it', async () => {
    const store = open();
    const once = (key: string) => ({ key, fingerprint: 'f' });
    await store.commit(await hold(store, { id: 'settled', once: once('settled') }), [], 'outcome');
    await hold(store, { id: 'lapsed', once: once('lapsed'), leaseMs: 1 });
    await store.release('released');
    mock.timers.tick(24 * HOUR_MS - 1);
    for (const id of ['settled', 'lapsed', 'released']) {
      assert.deepEqual(await store.reserve(request({ id })), { ok: false, closed: true }, id);
    }
    assert.deepEqual(await store.recall(once('settled')), { state: 'settled', outcome: 'outcome' });
    // The lease was found to be over only just now, and its day starts there.
    await hold(store, {});
    mock.timers.tick(24 * HOUR_MS);
    await hold(store, {});
    for (const id of ['settled', 'lapsed', 'released']) await hold(store, { id, once: once(id) });
  });

  test('a bucket is kept until the latest expiry anybody named, and forgotten after it', async () => {
    const store = open();
    const [first, last] = [Date.now() + HOUR_MS, Date.now() + 2 * HOUR_MS];
    for (const expiresAt of [first, last, first]) await hold(store, { lines: [line('k', { expiresAt })] });
    for (const expiresAt of [null, first]) await hold(store, { lines: [line('for ever', { expiresAt })] });
    mock.timers.tick(2 * HOUR_MS - 1);
    await hold(store, {});
    assert.deepEqual(await store.read(['k']), [{ key: 'k', spent: 12, held: 0 }]);
    mock.timers.tick(1);
    await hold(store, {});
    assert.deepEqual(await store.read(['k', 'for ever']), [
      { key: 'k', spent: 0, held: 0 },
      { key: 'for ever', spent: 8, held: 0 },
    ]);
  });

  test('settling a hold of a purged bucket leaves the bucket made anew under its key alone', async () => {
    const store = open();
    const lines = [line('k', { expiresAt: Date.now() + 1_000 })];
    const [committed, released, lapsed] = [
      await hold(store, { lines }),
      await hold(store, { lines }),
      await hold(store, { lines, leaseMs: 10 }),
    ];
    mock.timers.tick(1_000);
    await hold(store, {});
    await hold(store, { lines: [line('k', { amount: 7 })] });
    assert.equal(await store.commit(committed, [{ key: 'k', amount: 4 }]), 'settled');
    assert.equal(await store.release(released.id), 'released');
    assert.equal(await store.commit(lapsed, []), 'settled');
    assert.deepEqual(await store.read(['k']), [{ key: 'k', spent: 0, held: 7 }]);
  });

  test('after a long idle time no reserve purges more than a little, and enough of them purge everything', async () => {
    const database = new Database(newFile());
    const store = sqliteBudget({ database });
    const expiresAt = Date.now() + 1_000;
    const asked = Array.from({ length: 400 }, (_, index) =>
      hold(store, { leaseMs: 1_000, lines: [line(`k${index}`, { expiresAt })] }),
    );
    await Promise.all(asked);
    mock.timers.tick(48 * HOUR_MS);
    await hold(store, { leaseMs: 1 });
    assert.ok(countRows(database, 'buckets') > 300, 'the first reserve purges a few');
    for (let call = 0; call < 60; call += 1) await hold(store, { leaseMs: 1 });
    mock.timers.tick(48 * HOUR_MS);
    for (let call = 0; call < 60; call += 1) await hold(store, {});
    assert.equal(countRows(database, 'buckets'), 0);
    assert.ok(countRows(database, 'holds') <= 121, `${countRows(database, 'holds')} holds are left`);
  });

  test('any schedule is answered as by a reference ledger, and leaves no hold behind', (t) =>
    trySchedules(t, {
      schedules: schedules(),
      follow: (schedule) => followReference(open(':memory:'), schedule),
      few: 25,
    }));

  test('any schedule with expiring buckets keeps every balance at 0 or more and never throws', (t) =>
    trySchedules(t, {
      schedules: expiringSchedules(),
      follow: (schedule) => staySound(open(':memory:'), schedule),
      few: 25,
    }));
});

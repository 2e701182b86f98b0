import assert from 'node:assert/strict';
import { randomInt, randomUUID } from 'node:crypto';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Pool, PoolConfig } from 'pg';
import { postgresBudget, postgresBudgetSchema } from '../../src/budgets/postgres.js';
import type { BudgetStore, Hold, ReserveLine, ReserveRequest } from '../../src/core/budget.js';
import { ConfigError } from '../../src/errors.js';
import { budgetChecks } from '../../src/testing/budget-checks.js';
import { until } from '../support/app.js';
import { followUnhurried, trySchedules, unhurriedSchedules } from '../support/budget-schedules.js';
import { keepOddTexts } from '../support/odd-texts.js';
import { startPostgres } from '../support/postgres.js';
import { testChecks } from '../support/run-checks.js';
import { runs } from '../support/runs.js';

const server = await startPostgres({ after });
const pool = server.pool();
await pool.query(postgresBudgetSchema);

const storeOn = (connections: Pool) =>
  postgresBudget({ query: (text, values) => connections.query(text, values) });
const store = storeOn(pool);

testChecks('postgres', budgetChecks, () => storeOn(pool));

function line(key: string, parts: Partial<ReserveLine> = {}): ReserveLine {
  return { key, amount: 4, limit: 100, expiresAt: null, ...parts };
}

function request(parts: Partial<ReserveRequest> = {}): ReserveRequest {
  return { id: randomUUID(), lines: [], leaseMs: 60_000, ...parts };
}

async function hold(parts: Partial<ReserveRequest>): Promise<Hold> {
  const result = await store.reserve(request(parts));
  assert.ok(result.ok, JSON.stringify(result));
  return result.hold;
}

/** A store whose connections have other settings. */
function storeWith(options: PoolConfig): BudgetStore {
  return storeOn(server.pool(options));
}

test('a query that is none is refused at once', () => {
  for (const query of [undefined, null, 'SELECT 1', { query: () => undefined }]) {
    const make = () => postgresBudget({ query: query as never });
    assert.throws(make, (error) => error instanceof ConfigError && error.path === 'query');
  }
});

test('without the schema the first operation says that it is missing, and after the migration all is well', async () => {
  await pool.query('CREATE DATABASE fresh');
  const fresh = server.pool({ connectionString: server.url.replace(/postgres$/, 'fresh') });
  const budget = storeOn(fresh);
  await assert.rejects(budget.read(['k']), /run postgresBudgetSchema in a migration/);
  await fresh.query('CREATE SCHEMA images_router');
  await assert.rejects(budget.release('a'), /run postgresBudgetSchema in a migration/);
  await Promise.all([1, 2, 3, 4].map(() => fresh.query(postgresBudgetSchema)));
  assert.deepEqual(await budget.read(['k']), [{ key: 'k', spent: 0, held: 0 }]);
});

test('running the schema again keeps what is booked and held', async () => {
  const key = randomUUID();
  await hold({ lines: [line(key)] });
  await pool.query(postgresBudgetSchema);
  assert.deepEqual(await store.read([key]), [{ key, spent: 0, held: 4 }]);
});

test('any other isolation than READ COMMITTED is refused', async () => {
  const budget = storeWith({ options: '-c default_transaction_isolation=serializable' });
  await assert.rejects(budget.reserve(request()), /READ COMMITTED/);
});

test('keys, ids and outcomes with NUL and lone surrogates are kept apart and come back', () =>
  keepOddTexts(store));

test('four servers that race for a budget of ten are granted exactly ten', async () => {
  const key = randomUUID();
  const servers = [1, 2, 3, 4].map(() => storeWith({ max: 2 }));
  const asked = Array.from({ length: 400 }, (_, index) =>
    servers[index % 4]?.reserve(request({ lines: [line(key, { amount: 1, limit: 10 })] })),
  );
  const granted = (await Promise.all(asked)).filter((result) => result?.ok);
  assert.equal(granted.length, 10);
  assert.deepEqual(await store.read([key]), [{ key, spent: 0, held: 10 }]);
});

test('a storm over the same buckets in any order, with leases that lapse, adds up and meets no deadlock', async () => {
  const keys = [1, 2, 3, 4, 5].map(() => randomUUID());
  const booked = new Map<string, number>(keys.map((key) => [key, 0]));
  const book = (lines: readonly { key: string; amount: number }[]) => {
    for (const { key, amount } of lines) booked.set(key, (booked.get(key) ?? 0) + amount);
  };
  const work = async (budget: BudgetStore) => {
    for (let round = 0; round < runs(30).numRuns; round += 1) {
      const some = keys.filter(() => randomInt(2) === 0).sort(() => randomInt(3) - 1);
      const lines = some.map((key) => line(key, { amount: randomInt(5), limit: Number.MAX_SAFE_INTEGER }));
      const result = await budget.reserve(request({ lines, leaseMs: randomInt(1, 40) }));
      assert.ok(result.ok, JSON.stringify(result));
      const fate = randomInt(3);
      if (fate === 0) book(lines);
      else if (fate === 1) assert.equal(await budget.release(result.hold.id), 'released');
      else {
        const real = lines.map(({ key }) => ({ key, amount: randomInt(9) }));
        assert.equal(await budget.commit(result.hold, real), 'settled');
        book(real);
      }
    }
  };
  const servers = Array.from({ length: 8 }, () => storeWith({ max: 1 }));
  await Promise.all(servers.map(work));
  await sleep(100);
  const expected = keys.map((key) => ({ key, spent: booked.get(key), held: 0 }));
  assert.deepEqual(await store.read(keys), expected);
  // Tidying has moved what it will; the sums stay.
  for (let call = 0; call < 30; call += 1) await hold({});
  assert.deepEqual(await store.read(keys), expected);
  const { rows } = await pool.query('SELECT sum(deadlocks)::int AS deadlocks FROM pg_stat_database');
  assert.deepEqual(rows, [{ deadlocks: 0 }]);
});

test('any schedule is answered as by a reference ledger, and leaves no hold behind', (t) =>
  trySchedules(t, {
    schedules: unhurriedSchedules(),
    follow: (schedule) => followUnhurried(store, schedule),
    few: 10,
    lanes: 10,
  }));

test('settling a hold of a purged bucket leaves the bucket made anew under its key alone', async () => {
  const key = randomUUID();
  const expired = [line(key, { expiresAt: Date.now() - 1_000 })];
  const committed = await hold({ lines: expired });
  const released = await hold({ lines: expired });
  const lapsed = await hold({ lines: expired, leaseMs: 1 });
  await sleep(20);
  assert.deepEqual(await store.read([key]), [{ key, spent: 0, held: 0 }]);
  await hold({ lines: [line(key, { amount: 7 })] });
  assert.equal(await store.commit(committed, [{ key, amount: 4 }]), 'settled');
  assert.equal(await store.release(released.id), 'released');
  assert.equal(await store.commit(lapsed, []), 'settled');
  assert.deepEqual(await store.read([key]), [{ key, spent: 0, held: 7 }]);
});

test('what may be forgotten is, a little with every reserve', async () => {
  const keys = Array.from({ length: 200 }, () => randomUUID());
  const expiresAt = Date.now() + 3_600_000;
  await Promise.all(keys.map((key) => hold({ id: key, lines: [line(key, { expiresAt })] })));
  await Promise.all(keys.map((key) => store.release(key)));
  const count = async (table: string, column: string) => {
    const text = `SELECT count(*)::int FROM images_router.${table} WHERE ${column} = ANY ($1)`;
    return (await pool.query(text, [keys])).rows[0]?.count;
  };
  assert.deepEqual([await count('budget_buckets', 'key'), await count('budget_holds', 'id')], [200, 200]);
  await pool.query('UPDATE images_router.budget_buckets SET expires_at = 1 WHERE key = ANY ($1)', [keys]);
  await pool.query('UPDATE images_router.budget_holds SET due_at = 1 WHERE id = ANY ($1)', [keys]);
  await hold({});
  assert.ok((await count('budget_buckets', 'key')) > 100, 'one reserve does a little');
  for (let call = 0; call < 20; call += 1) await hold({});
  assert.deepEqual([await count('budget_buckets', 'key'), await count('budget_holds', 'id')], [0, 0]);
});

/** Reserves and commits from four requests at a time until told to stop; answers the ids by what was answered. */
function keepBooking(budget: BudgetStore, key: string) {
  const answered = { reserved: [] as string[], committed: [] as string[], failures: 0 };
  let running = true;
  const work = async () => {
    while (running) {
      try {
        const asked = request({ lines: [line(key, { amount: 1, limit: 1_000_000 })] });
        const result = await budget.reserve(asked);
        assert.ok(result.ok, JSON.stringify(result));
        answered.reserved.push(asked.id);
        await budget.commit(result.hold, result.hold.lines);
        answered.committed.push(asked.id);
      } catch {
        answered.failures += 1;
        await sleep(5);
      }
    }
  };
  const done = Promise.all([1, 2, 3, 4].map(work));
  const stop = async () => {
    running = false;
    await done;
    return answered;
  };
  return { answered, stop };
}

const isUp = () =>
  pool.query('SELECT').then(
    () => true,
    () => false,
  );

async function expectAllKept(
  key: string,
  { reserved, committed }: ReturnType<typeof keepBooking>['answered'],
) {
  const { rows } = await pool.query('SELECT id, state FROM images_router.budget_holds WHERE id = ANY ($1)', [
    reserved,
  ]);
  const states = new Map(rows.map(({ id, state }) => [id, state]));
  assert.deepEqual(
    reserved.filter((id) => !states.has(id)),
    [],
    'reserves that were answered and are lost',
  );
  assert.deepEqual(
    committed.filter((id) => states.get(id) !== 'settled'),
    [],
    'commits that were answered and are lost',
  );
  const [balance] = await store.read([key]);
  assert.ok(balance && balance.spent >= committed.length, JSON.stringify(balance));
}

test('a server that crashes and recovers has everything it answered, also where it need not wait for the disk', async (t) => {
  const key = randomUUID();
  const booking = keepBooking(storeWith({ options: '-c synchronous_commit=off' }), key);
  for (let crash = 0; crash < runs(2).numRuns; crash += 1) {
    const before = booking.answered.committed.length;
    await until(() => booking.answered.committed.length > before + 20);
    const { rows } = await pool.query('SELECT pg_backend_pid() AS pid');
    const failures = booking.answered.failures;
    // The server ends every connection when one process dies like this, and replays its log.
    process.kill(rows[0]?.pid, 'SIGKILL');
    await until(() => booking.answered.failures > failures);
    // An answer that was under way may come after the first failure, and says nothing of recovery.
    await until(() => isUp());
    const now = booking.answered.committed.length;
    await until(() => booking.answered.committed.length > now);
  }
  const answered = await booking.stop();
  t.diagnostic(`${answered.committed.length} commits answered, ${answered.failures} operations failed`);
  await expectAllKept(key, answered);
});

test('while the server is stopped operations reject, and the same store goes on when it is back', async () => {
  const key = randomUUID();
  const booking = keepBooking(storeWith({}), key);
  await until(() => booking.answered.committed.length > 10);
  await server.stop();
  await assert.rejects(store.read([key]));
  await until(() => booking.answered.failures > 10);
  await server.start();
  const before = booking.answered.committed.length;
  await until(() => booking.answered.committed.length > before + 10);
  await expectAllKept(key, await booking.stop());
});

test('a server that hangs rejects in the time the pool gives it, and a reserve it did late is released', async () => {
  const key = randomUUID();
  const patient = server.pool({ max: 1 });
  const hasty = server.pool({ max: 1, query_timeout: 300 });
  const { rows } = await hasty.query('SELECT pg_backend_pid() AS pid');
  const asked = request({ lines: [line(key)] });
  process.kill(rows[0]?.pid, 'SIGSTOP');
  try {
    await assert.rejects(storeOn(hasty).reserve(asked), /timeout/);
  } finally {
    process.kill(rows[0]?.pid, 'SIGCONT');
  }
  const budget = storeOn(patient);
  await until(async () => (await budget.read([key]))[0]?.held === 4);
  assert.equal(await budget.release(asked.id), 'released');
  assert.deepEqual(await budget.reserve(asked), { ok: false, closed: true });
  assert.deepEqual(await budget.read([key]), [{ key, spent: 0, held: 0 }]);
});

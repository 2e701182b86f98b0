import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, mock, test } from 'node:test';
import { memoryBudget } from '../../src/budgets/memory.js';
import type { BudgetStore, Hold, ReserveLine, ReserveRequest } from '../../src/core/budget.js';
import { budgetChecks } from '../../src/testing/budget-checks.js';
import {
  expiringSchedules,
  followReference,
  schedules,
  staySound,
  trySchedules,
} from '../support/budget-schedules.js';
import { testChecks } from '../support/run-checks.js';

const HOUR_MS = 3_600_000;
const START = 1_800_000_000_000;

const shared = memoryBudget();
testChecks('memory', budgetChecks, () => shared);

function line(key: string, parts: Partial<ReserveLine> = {}): ReserveLine {
  return { key, amount: 4, limit: 100, expiresAt: null, ...parts };
}

function request(id: string, parts: Partial<ReserveRequest> = {}): ReserveRequest {
  return { id, lines: [], leaseMs: 60_000, ...parts };
}

async function balance(store: BudgetStore, key: string): Promise<readonly [spent: number, held: number]> {
  const [found] = await store.read([key]);
  assert.ok(found, 'a balance for the key');
  return [found.spent, found.held];
}

test('nothing it does keeps the process alive', async () => {
  const before = process.getActiveResourcesInfo().length;
  const store = memoryBudget();
  await store.reserve(request('a', { lines: [line('k', { expiresAt: Date.now() + HOUR_MS })] }));
  await store.release('b');
  assert.equal(process.getActiveResourcesInfo().length, before);
});

test('what the caller does with an answer changes nothing in the ledger', async () => {
  const store = memoryBudget();
  const once = { key: 'o', fingerprint: 'f' };
  const result = await store.reserve(request('a', { once, lines: [line('k')] }));
  assert.ok(result.ok, 'granted');
  Object.assign(result.hold.lines[0] ?? {}, { amount: 90 });
  Object.assign(result.balances[0] ?? {}, { held: 0 });
  Object.assign(once, { fingerprint: 'g' });
  assert.deepEqual(await balance(store, 'k'), [0, 4]);
  assert.deepEqual(await store.recall({ key: 'o', fingerprint: 'f' }), { state: 'pending' });
});

test('the hold on record decides which keys a commit may have, not the one handed in', async () => {
  const store = memoryBudget();
  await store.reserve(request('a', { lines: [line('k')] }));
  const forged: Hold = { id: 'a', lines: [{ key: 'other', amount: 4 }] };
  await assert.rejects(store.commit(forged, [{ key: 'other', amount: 4 }]), TypeError);
  assert.deepEqual(await balance(store, 'k'), [0, 4]);
});

for (const [path, wrong] of [
  ['id', { id: '' }],
  ['leaseMs', { leaseMs: 0 }],
  ['leaseMs', { leaseMs: 1.5 }],
  ['once.key', { once: { key: '', fingerprint: 'f' } }],
  ['once.fingerprint', { once: { key: 'o', fingerprint: '' } }],
  ['lines[0].key', { lines: [line('')] }],
  ['lines[1].key', { lines: [line('k'), line('k')] }],
  ['lines[0].amount', { lines: [line('k', { amount: -1 })] }],
  ['lines[0].limit', { lines: [line('k', { limit: Number.NaN })] }],
  ['lines[0].expiresAt', { lines: [line('k', { expiresAt: 0.5 })] }],
] as const) {
  test(`a reserve with a wrong ${path} says so: ${JSON.stringify(wrong)}`, async () => {
    await assert.rejects(memoryBudget().reserve(request('a', wrong)), (error: Error) => {
      assert.equal(error.name, 'TypeError');
      assert.ok(error.message.startsWith(`${path} `), error.message);
      return true;
    });
  });
}

describe('as time passes', () => {
  beforeEach(() => mock.timers.enable({ apis: ['Date'], now: START }));
  afterEach(() => mock.timers.reset());

  test('settled, lapsed and released ids are closed for a day and forgotten after it', async () => {
    const store = memoryBudget();
    const once = (key: string) => ({ key, fingerprint: 'f' });
    await store.reserve(request('settled', { once: once('settled') }));
    await store.commit({ id: 'settled', lines: [] }, [], 'outcome');
    await store.reserve(request('lapsed', { once: once('lapsed'), leaseMs: 1 }));
    await store.release('released');
    mock.timers.tick(24 * HOUR_MS - 1);
    for (const id of ['settled', 'lapsed', 'released']) {
      assert.deepEqual(await store.reserve(request(id)), { ok: false, closed: true }, id);
    }
    assert.deepEqual(await store.recall(once('settled')), { state: 'settled', outcome: 'outcome' });
    assert.deepEqual(await store.recall(once('lapsed')), { state: 'lapsed' });
    // The lease was found to be over only just now, and its day starts there.
    mock.timers.tick(24 * HOUR_MS);
    for (const id of ['settled', 'lapsed', 'released']) {
      assert.equal(await store.recall(once(id)), undefined);
      assert.equal((await store.reserve(request(id, { once: once(id) }))).ok, true, id);
    }
  });

  test('a late commit is kept for a day from then, and its once key with it', async () => {
    const store = memoryBudget();
    const once = { key: 'o', fingerprint: 'f' };
    await store.reserve(request('a', { once, leaseMs: 1 }));
    await store.reserve(request('b', { leaseMs: 1 }));
    mock.timers.tick(23 * HOUR_MS);
    await store.read([]);
    mock.timers.tick(23 * HOUR_MS);
    assert.equal(await store.commit({ id: 'a', lines: [] }, [], 'late'), 'settled');
    assert.equal(await store.release('b'), 'released');
    mock.timers.tick(23 * HOUR_MS);
    assert.deepEqual(await store.recall(once), { state: 'settled', outcome: 'late' });
    assert.equal(await store.release('b'), 'already');
    mock.timers.tick(HOUR_MS);
    assert.equal(await store.recall(once), undefined);
    assert.equal(await store.release('b'), 'unknown');
  });

  test('forgetting a released id leaves its once key to the hold that has it now', async () => {
    const store = memoryBudget();
    const once = { key: 'o', fingerprint: 'f' };
    await store.reserve(request('first', { once }));
    await store.release('first');
    await store.reserve(request('second', { once, leaseMs: 48 * HOUR_MS }));
    mock.timers.tick(25 * HOUR_MS);
    assert.deepEqual(await store.recall(once), { state: 'pending' });
  });

  test('a bucket is kept until the latest expiry anybody named, and forgotten after it', async () => {
    const store = memoryBudget();
    const [first, last] = [Date.now() + HOUR_MS, Date.now() + 2 * HOUR_MS];
    for (const [id, expiresAt] of [
      ['a', first],
      ['b', last],
      ['c', first],
    ] as const) {
      await store.reserve(request(id, { leaseMs: 9 * HOUR_MS, lines: [line('k', { expiresAt })] }));
    }
    await store.reserve(request('d', { leaseMs: 9 * HOUR_MS, lines: [line('for ever')] }));
    await store.reserve(
      request('e', { leaseMs: 9 * HOUR_MS, lines: [line('for ever', { expiresAt: first })] }),
    );
    mock.timers.tick(2 * HOUR_MS - 1);
    assert.deepEqual(await balance(store, 'k'), [0, 12]);
    mock.timers.tick(1);
    assert.deepEqual(await balance(store, 'k'), [0, 0]);
    assert.deepEqual(await balance(store, 'for ever'), [0, 8]);
  });

  test('settling a hold of a purged bucket leaves the bucket made anew under its key alone', async () => {
    const store = memoryBudget();
    const expiresAt = Date.now() + 1_000;
    for (const id of ['committed', 'released', 'lapsed']) {
      await store.reserve(
        request(id, { lines: [line('k', { expiresAt })], leaseMs: id === 'lapsed' ? 10 : HOUR_MS }),
      );
    }
    mock.timers.tick(1_000);
    await store.reserve(request('anew', { lines: [line('k', { amount: 7 })] }));
    const lines = [{ key: 'k', amount: 4 }];
    assert.equal(await store.commit({ id: 'committed', lines }, lines), 'settled');
    assert.equal(await store.release('released'), 'released');
    assert.equal(await store.commit({ id: 'lapsed', lines }, []), 'settled');
    assert.deepEqual(await balance(store, 'k'), [0, 7]);
  });

  test('after a long idle time no call purges more than a little, and enough calls purge everything', async () => {
    const store = memoryBudget();
    const keys = Array.from({ length: 1_000 }, (_, index) => `k${index}`);
    for (const key of keys) {
      await store.reserve(request(key, { lines: [line(key, { expiresAt: Date.now() + 1_000 })] }));
    }
    mock.timers.tick(2_000);
    const left = async () => (await store.read(keys)).filter(({ held }) => held > 0).length;
    assert.ok((await left()) > 900, 'the first call purges a few');
    for (let call = 0; call < 100; call += 1) await store.read([]);
    assert.equal(await left(), 0);
  });

  test('any schedule is answered as by a reference ledger, and leaves no hold behind', (t) =>
    trySchedules(t, {
      schedules: schedules(),
      follow: (schedule) => followReference(memoryBudget(), schedule),
      few: 100,
    }));

  test('any schedule with expiring buckets keeps every balance at 0 or more and never throws', (t) =>
    trySchedules(t, {
      schedules: expiringSchedules(),
      follow: (schedule) => staySound(memoryBudget(), schedule),
      few: 100,
    }));
});

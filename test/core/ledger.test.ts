import assert from 'node:assert/strict';
import { test } from 'node:test';
import { memoryBudget } from '../../src/budgets/memory.js';
import type { Budget, Caller } from '../../src/core/caller.js';
import type { NewImagesEvent } from '../../src/core/events.js';
import { createLedger } from '../../src/core/ledger.js';
import { createCalendar, hourly, total, usd } from '../../src/core/windows.js';

test('however many pass their soft limits, those who did lately are not told of again', async () => {
  const events: NewImagesEvent[] = [];
  const ledger = createLedger({
    ...{ store: memoryBudget(), calendar: createCalendar(), leaseMs: 60_000, timeoutMs: 60_000 },
    ...{ onStoreFailure: 'deny', emit: (event) => events.push(event) },
  });
  const spend = (user: number) => {
    const budgets: Caller['budgets'] = [total(usd(10), { per: 'user', softLimit: 0.1 })];
    const caller: Caller = { tenant: 'acme', user: `${user}`, models: 'all', budgets };
    const amounts = { microUsd: usd(2), images: 1 };
    return ledger.reserve({ caller, amounts, requestId: 'request', once: undefined });
  };
  for (let user = 0; user < 10_050; user += 1) await spend(user);
  assert.equal(events.length, 10_050);
  for (let user = 9_000; user < 10_050; user += 1) await spend(user);
  assert.equal(events.length, 10_050);
});

test('soft limits passed in turns that are over make room before those of turns that are not', async (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: Date.UTC(2026, 4, 14, 12) });
  const events: NewImagesEvent[] = [];
  const ledger = createLedger({
    ...{ store: memoryBudget(), calendar: createCalendar(), leaseMs: 60_000, timeoutMs: 60_000 },
    ...{ onStoreFailure: 'deny', emit: (event) => events.push(event) },
  });
  const spend = (user: number, budget: Budget) => {
    const caller: Caller = { tenant: 'acme', user: `${user}`, models: 'all', budgets: [budget] };
    const amounts = { microUsd: usd(2), images: 1 };
    return ledger.reserve({ caller, amounts, requestId: 'request', once: undefined });
  };
  const lasting = total(usd(10), { per: 'user', softLimit: 0.1 });
  await spend(0, lasting);
  const short = hourly(usd(10), { per: 'user', softLimit: 0.1 });
  for (let user = 1; user < 9_990; user += 1) await spend(user, short);
  t.mock.timers.tick(3_600_000);
  for (let user = 1; user < 100; user += 1) await spend(user, short);
  const before = events.length;
  await spend(0, lasting);
  assert.equal(events.length, before);
});

test('with a thousand settlements waiting for the store, no more holds are asked for until it took some', async () => {
  const store = memoryBudget();
  let isDown = true;
  let asked = 0;
  const ledger = createLedger({
    store: {
      ...store,
      reserve: async (request) => {
        asked += 1;
        const result = await store.reserve(request);
        if (isDown) throw new Error('the answer was lost');
        return result;
      },
      release: async (id) => {
        if (isDown) throw new Error('down');
        return store.release(id);
      },
    },
    ...{ calendar: createCalendar(), leaseMs: 60_000, timeoutMs: 60_000 },
    ...{ onStoreFailure: 'deny', emit: () => undefined },
  });
  const caller: Caller = { tenant: 'acme', models: 'all', budgets: [total(usd(10_000))] };
  const amounts = { microUsd: usd(1), images: 1 };
  const reserve = () => ledger.reserve({ caller, amounts, requestId: 'request', once: undefined });
  for (let request = 0; request < 1_200; request += 1) {
    await assert.rejects(reserve(), { code: 'BUDGET_UNAVAILABLE' });
  }
  assert.equal(asked, 1_000);
  isDown = false;
  await ledger.drain(AbortSignal.timeout(60_000));
  assert.equal((await reserve()).ok, true);
  const [balance] = await ledger.read(caller);
  assert.deepEqual([balance?.spent, balance?.held], [0, usd(1)]);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { memoryBudget } from '../../src/budgets/memory.js';
import type { Caller } from '../../src/core/caller.js';
import type { NewImagesEvent } from '../../src/core/events.js';
import { createLedger } from '../../src/core/ledger.js';
import { createCalendar, total, usd } from '../../src/core/windows.js';

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

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { memoryBudget } from '../../src/budgets/memory.js';
import { hourly, imageCount, monthly, total, usd } from '../../src/core/windows.js';
import { createTestApp } from '../support/app.js';

test('the budgets that bind the caller are listed with what is spent, held and left', async (t) => {
  const app = await createTestApp(t, {
    caller: {
      role: 'viewer',
      budgets: [
        monthly(usd(50), { softLimit: 0.8 }),
        hourly(imageCount(10), { per: 'user', name: 'pace' }),
        total(usd(1000), { per: 'everyone' }),
      ],
    },
  });
  const { body } = await app.get('/v1/accounting/budgets').expect(200);
  const [month, pace, everyone] = body.data.items;
  assert.deepEqual(
    { ...month, resets_at: undefined },
    {
      ...{ name: 'monthly-usd-tenant', per: 'tenant', unit: 'usd', period: 'month', limit: '50.000000' },
      ...{ spent: '0.000000', held: '0.000000', left: '50.000000', soft_limit_pct: 80, resets_at: undefined },
    },
  );
  assert.ok(Date.parse(month.resets_at) > Date.now(), 'the next month begins later');
  assert.deepEqual(
    [pace.name, pace.per, pace.limit, pace.left, pace.soft_limit_pct],
    ['pace', 'user', 10, 10, null],
  );
  assert.deepEqual(everyone, {
    ...{ name: 'total-usd-everyone', per: 'everyone', unit: 'usd', period: 'total', limit: '1000.000000' },
    ...{ resets_at: null, soft_limit_pct: null },
  });
});

test('what was drawn shows in the budgets', async (t) => {
  const app = await createTestApp(t);
  await app.native({ model: 'placeholder/sketch', prompt: 'a', n: 2 }).expect(200);
  const { body } = await app.get('/v1/accounting/budgets').expect(200);
  assert.equal(body.data.items[0].spent, '0.080000');
});

test('an unlimited caller has no budgets', async (t) => {
  const app = await createTestApp(t, { caller: { budgets: 'unlimited' } });
  const { body } = await app.get('/v1/accounting/budgets').expect(200);
  assert.deepEqual(body.data.items, []);
});

test('a budget store that is down is BUDGET_UNAVAILABLE', async (t) => {
  const broken = { ...memoryBudget(), read: () => Promise.reject(new Error('down')) };
  const app = await createTestApp(t, { budget: broken });
  const { body } = await app.get('/v1/accounting/budgets').expect(503);
  assert.equal(body.error.code, 'BUDGET_UNAVAILABLE');
});

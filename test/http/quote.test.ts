import assert from 'node:assert/strict';
import { test } from 'node:test';
import { memoryBudget } from '../../src/budgets/memory.js';
import { imageCount, monthly, total, usd } from '../../src/core/windows.js';
import { placeholder } from '../../src/providers/placeholder.js';
import { createTestApp, TEST_KEY, type TestApp, type TestAppOptions, testModel } from '../support/app.js';

const BODY = { model: 'placeholder/sketch', prompt: 'a', n: 3 };

function quote(app: TestApp, body: object) {
  return app.http.post('/v1/inference/images/quote').set('Authorization', `Bearer ${TEST_KEY}`).send(body);
}

test('a quote names model, cost and what the budgets have left, and spends nothing', async (t) => {
  const budgets = [monthly(usd(5)), monthly(imageCount(30))] as const;
  const app = await createTestApp(t, { caller: { budgets } });
  await app.native({ ...BODY, n: 1 }).expect(200);
  const calls = app.calls.length;
  const { body } = await quote(app, BODY).expect(200);
  const [money, pictures] = body.data.budgets;
  assert.deepEqual(
    { ...body.data, budgets: undefined },
    {
      ...{ model: 'placeholder/sketch', adapted: [], cost: '0.120000', ceiling: '0.120000', currency: 'USD' },
      budgets: undefined,
    },
  );
  assert.deepEqual([money.name, money.left], ['monthly-usd-tenant', '4.960000']);
  assert.ok(Date.parse(money.resets_at) > Date.now(), 'the next month begins later');
  assert.deepEqual([pictures.name, pictures.left], ['monthly-images-tenant', 29]);
  assert.equal(app.calls.length, calls, 'no provider was called');
  assert.deepEqual((await app.balances())['monthly-usd-tenant'], { spent: 40_000, held: 0 });
});

test('a quote for a retired model says who draws, with which settings, at whose price', async (t) => {
  const successor = {
    slug: 'house/new',
    serves: true,
    qualities: { hd: 'hd' },
    sizes: { '64x64': '128x128' },
  };
  const options: TestAppOptions = {
    placeholder: {
      models: [
        testModel({ slug: 'house/old', lifecycle: { shutdownAt: '2020-01-01', successor } }),
        testModel({ slug: 'house/new', price: usd(0.2), styles: [] }),
      ],
    },
  };
  const app = await createTestApp(t, options);
  const { body } = await quote(app, { model: 'house/old', prompt: 'a', style: 'natural' }).expect(200);
  assert.equal(body.data.served_by, 'house/new');
  assert.equal(body.data.cost, '0.200000');
  assert.deepEqual(body.data.adapted, [
    { field: 'size', from: '64x64', to: '128x128' },
    { field: 'style', from: 'natural', to: null },
  ]);
});

test('of everyone’s budget a quote shows no figure', async (t) => {
  const app = await createTestApp(t, { caller: { budgets: [total(usd(10), { per: 'everyone' })] } });
  const { body } = await quote(app, BODY).expect(200);
  assert.deepEqual(body.data.budgets, [{ name: 'total-usd-everyone', resets_at: null }]);
});

test('a quote refuses what a request would be refused for, budgets aside', async (t) => {
  const app = await createTestApp(t, { caller: { budgets: [total(usd(0))] } });
  await quote(app, BODY).expect(200);
  const refused = await quote(app, { ...BODY, size: '1x1' }).expect(422);
  assert.equal(refused.body.error.details[0].field, 'size');
  assert.equal(
    (await quote(app, { ...BODY, model: 'no/such' }).expect(404)).body.error.code,
    'MODEL_NOT_FOUND',
  );
});

test('a quote through an alias costs what the host says, and holds for the dearest backend', async (t) => {
  const [first, second] = [0.04, 0.3].map((price, place) =>
    placeholder({ name: `backend-${place}`, models: [testModel({ price: usd(price) })] }),
  );
  assert.ok(first && second, 'two backends');
  const app = await createTestApp(t, {
    providers: [first, second],
    models: { 'house/cheap': { aliasOf: 'placeholder/sketch' } },
  });
  const { body } = await quote(app, { ...BODY, model: 'house/cheap' }).expect(200);
  assert.deepEqual([body.data.cost, body.data.ceiling], ['0.120000', '0.900000']);

  const models = { 'placeholder/sketch': { price: usd(0.05) } };
  const priced = await createTestApp(t, { providers: [first, second], models });
  const { data } = (await quote(priced, BODY).expect(200)).body;
  assert.deepEqual([data.cost, data.ceiling], ['0.150000', '0.150000']);
});

test('a quote is for those who may draw, and needs the ledger', async (t) => {
  const viewer = await createTestApp(t, { caller: { role: 'viewer' } });
  assert.equal((await quote(viewer, BODY).expect(403)).body.error.code, 'AUTHZ_PERMISSION_DENIED');
  const stranger = await createTestApp(t, { caller: { models: ['other/*'] } });
  assert.equal((await quote(stranger, BODY).expect(403)).body.error.code, 'MODEL_ACCESS_DENIED');
  const read = () => Promise.reject(new Error('down'));
  const app = await createTestApp(t, { budget: { ...memoryBudget(), read } });
  assert.equal((await quote(app, BODY).expect(503)).body.error.code, 'BUDGET_UNAVAILABLE');
});

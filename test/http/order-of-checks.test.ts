import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Test } from 'supertest';
import { memoryBudget } from '../../src/budgets/memory.js';
import type { BudgetStore } from '../../src/core/budget.js';
import type { Role } from '../../src/core/caller.js';
import { total, usd } from '../../src/core/windows.js';
import { ProviderError } from '../../src/errors.js';
import { createTestApp, TEST_CALLER, type TestApp } from '../support/app.js';

/**
 * The steps of a request, in the order the contract promises. Each fault is one step's; a request with several is
 * answered with the earliest.
 */
const FAULTS = [
  { step: 'draining', code: 'OVERLOADED' },
  { step: 'identify', code: 'AUTH_TOKEN_MISSING' },
  { step: 'permission', code: 'AUTHZ_PERMISSION_DENIED' },
  { step: 'body', code: 'VALIDATION_ERROR', message: /application\/json/ },
  { step: 'schema', code: 'VALIDATION_ERROR', message: /^n:/ },
  { step: 'model exists', code: 'MODEL_NOT_FOUND' },
  { step: 'model allowed', code: 'MODEL_ACCESS_DENIED' },
  { step: 'field rules', code: 'VALIDATION_ERROR', message: /^quality:/ },
  { step: 'budget', code: 'BUDGET_EXCEEDED' },
  { step: 'provider', code: 'BACKEND_ERROR' },
] as const;

type Step = (typeof FAULTS)[number]['step'];

interface Staged {
  readonly app: TestApp;
  readonly request: Test;
  readonly seen: Seen;
}

/** Which of the host's parts a request came to. */
interface Seen {
  identified: number;
  reserved: number;
}

async function stage(t: Parameters<typeof createTestApp>[0], faulty: ReadonlySet<Step>): Promise<Staged> {
  const seen: Seen = { identified: 0, reserved: 0 };
  const store = memoryBudget();
  const reserve: BudgetStore['reserve'] = (order) => {
    seen.reserved += 1;
    return store.reserve(order);
  };
  const role: Role = faulty.has('permission') ? 'viewer' : 'user';
  const app = await createTestApp(t, {
    budget: { ...store, reserve },
    identify: () => {
      seen.identified += 1;
      if (faulty.has('identify')) return undefined;
      return {
        ...{ ...TEST_CALLER, role, models: faulty.has('model allowed') ? ['openai/*'] : 'all' },
        budgets: [total(usd(faulty.has('budget') ? 0 : 100))],
      };
    },
    placeholder: {
      fail: () =>
        faulty.has('provider') ? new ProviderError('rejected', 'No.', { billed: 'no' }) : undefined,
    },
  });
  const body = {
    model: faulty.has('model exists') ? 'placeholder/nothing' : 'placeholder/sketch',
    prompt: 'A lighthouse',
    ...(faulty.has('schema') && { n: 0 }),
    ...(faulty.has('field rules') && { quality: 'best' }),
  };
  const request = app
    .native(JSON.stringify(body))
    .unset('Authorization')
    .set('Content-Type', faulty.has('body') ? 'text/plain' : 'application/json');
  if (faulty.has('draining')) await app.router.close();
  return { app, request, seen };
}

for (const [place, first] of FAULTS.entries()) {
  const later = FAULTS.slice(place + 1);
  for (const faults of [[first], ...later.map((second) => [first, second]), [first, ...later]]) {
    const steps = faults.map(({ step }) => step);
    test(`of the faults in ${steps.join(' and ')} the client hears of ${first.step}`, async (t) => {
      const { app, request, seen } = await stage(t, new Set(steps));
      const answer = await request;
      assert.equal(answer.body.error?.code, first.code, answer.text);
      if ('message' in first) assert.match(answer.body.error.message, first.message);
      assert.equal(seen.identified, first.step === 'draining' ? 0 : 1, 'identify is not asked too early');
      const comesTo = (step: Step) => place >= FAULTS.findIndex((fault) => fault.step === step);
      assert.equal(seen.reserved, comesTo('budget') ? 1 : 0, 'nothing is reserved too early');
      assert.equal(app.calls.length, comesTo('provider') ? 1 : 0, 'nothing is drawn too early');
    });
  }
}

test('a wrong method is told before anybody is identified, also while the server shuts down', async (t) => {
  let identified = 0;
  const app = await createTestApp(t, {
    identify: () => {
      identified += 1;
      return undefined;
    },
  });
  assert.equal((await app.http.get('/v1/inference/images/generate')).status, 405);
  assert.equal((await app.http.put('/oai/v1/images/generations')).status, 405);
  await app.router.close();
  assert.equal((await app.http.get('/v1/inference/images/generate')).status, 405);
  assert.equal(identified, 0);
});

test('a request of a model that is denied never tells whether its fields would have been right', async (t) => {
  const { request } = await stage(t, new Set<Step>(['model allowed', 'field rules']));
  const answer = await request;
  assert.ok(!answer.text.includes('standard'), answer.text);
});

test('with a full house the field rules still come first, and the budget is not asked', async (t) => {
  const app = await createTestApp(t, {
    limits: { concurrency: 1, queue: 1 },
    placeholder: { delayMs: 60_000 },
  });
  const body = { model: 'placeholder/sketch', prompt: 'A' };
  const waiting = [app.native(body), app.native(body)].map((request) =>
    request.then(undefined, () => undefined),
  );
  while (app.calls.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal((await app.native({ ...body, quality: 'best' })).status, 422);
  const crowded = await app.native({ ...body, n: 10 });
  assert.equal(crowded.body.error.code, 'OVERLOADED', crowded.text);
  assert.equal(crowded.body.error.retry_after, 5);
  const { held } = (await app.balances())['monthly-usd-tenant'] ?? {};
  assert.equal(held, 40_000, 'only the request that draws holds money');
  void waiting;
});

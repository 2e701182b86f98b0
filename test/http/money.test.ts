import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { memoryBudget } from '../../src/budgets/memory.js';
import type { BudgetStore } from '../../src/core/budget.js';
import type { Budget } from '../../src/core/caller.js';
import { daily, hourly, imageCount, monthly, perMinute, total, usd } from '../../src/core/windows.js';
import { ProviderError } from '../../src/errors.js';
import { anyone } from '../../src/http/identify.js';
import { createTestApp, TEST_CALLER, type TestApp, testModel, until } from '../support/app.js';
import { runs } from '../support/runs.js';

const BODY = { model: 'placeholder/sketch', prompt: 'A lighthouse' };

const broken = async (): Promise<never> => {
  throw new Error('the ledger is down');
};

test('the ceiling of the whole request is held before the provider hears of it, and booked after', async (t) => {
  const during: unknown[] = [];
  const app: TestApp = await createTestApp(t, {
    caller: { budgets: [monthly(usd(1)), monthly(imageCount(10))] },
    placeholder: {
      models: [testModel({ maxImages: 2 })],
      delayMs: 20,
      onCall: () => void during.push(app.balances()),
    },
  });
  assert.equal((await app.native({ ...BODY, n: 5 })).status, 200);
  assert.equal(during.length, 3);
  assert.deepEqual(await during[0], {
    'monthly-usd-tenant': { spent: 0, held: 200_000 },
    'monthly-images-tenant': { spent: 0, held: 5 },
  });
  assert.deepEqual(await app.balances(), {
    'monthly-usd-tenant': { spent: 200_000, held: 0 },
    'monthly-images-tenant': { spent: 5, held: 0 },
  });
});

// More, made in one process, wait longer for their turn to be read than servers wait for requests.
const AT_ONCE = 200;

for (let crowd = 1; crowd <= runs(1).numRuns; crowd += 1) {
  test(`${AT_ONCE} requests at once on a budget for 10: exactly 10 reach the provider, and nothing is left over (crowd ${crowd})`, async (t) => {
    const app = await createTestApp(t, {
      caller: { budgets: [total(usd(0.4), { name: 'ten' })] },
      limits: { queue: AT_ONCE },
      placeholder: { delayMs: 10 },
    });
    const answers = await Promise.all(
      Array.from({ length: AT_ONCE }, (_, seed) =>
        app.native({ ...BODY, seed, response_format: 'b64_json' }),
      ),
    );
    const statuses = answers.map(({ status }) => status);
    assert.equal(statuses.filter((status) => status === 200).length, 10);
    assert.equal(statuses.filter((status) => status === 402).length, AT_ONCE - 10);
    assert.equal(app.calls.length, 10);
    assert.deepEqual(await app.balances(), { ten: { spent: 400_000, held: 0 } });
  });
}

test('what a request did not spend of its hold is free again', async (t) => {
  const app = await createTestApp(t, { caller: { budgets: [total(usd(0.08), { name: 'two' })] } });
  assert.equal((await app.native({ ...BODY, n: 2, prompt: '[blocked]' })).status, 400);
  assert.equal((await app.native({ ...BODY, n: 2, prompt: '[fail:rejected]' })).status, 400);
  assert.equal((await app.native({ ...BODY, n: 2 })).status, 200);
  assert.equal((await app.native(BODY)).status, 402);
});

test('BUDGET_EXCEEDED wins over RATE_LIMITED and tells of every budget of its kind', async (t) => {
  const budgets: readonly [Budget, ...Budget[]] = [
    perMinute(imageCount(1)),
    total(usd(0.04), { name: 'a' }),
    daily(usd(0.02), { name: 'b' }),
    total(usd(9), { name: 'roomy' }),
  ];
  const app = await createTestApp(t, { caller: { budgets } });
  const answer = await app.native({ ...BODY, n: 2 });
  assert.equal(answer.status, 402);
  assert.deepEqual(
    answer.body.error.details.map(({ field }: { field: string }) => field),
    ['a', 'b'],
  );
  assert.equal(answer.body.error.retry_after, undefined, 'waiting does not help');
  assert.deepEqual(
    Object.values(await app.balances()).map(({ spent, held }) => spent + held),
    [0, 0, 0, 0],
    'all budgets hold, or none',
  );
});

for (const [title, budget, code] of [
  ['pictures a minute', perMinute(imageCount(1)), 'RATE_LIMITED'],
  ['pictures an hour', hourly(imageCount(1)), 'RATE_LIMITED'],
  ['pictures a day', daily(imageCount(1)), 'BUDGET_EXCEEDED'],
  ['pictures a month', monthly(imageCount(1)), 'BUDGET_EXCEEDED'],
  ['pictures in all', total(imageCount(1)), 'BUDGET_EXCEEDED'],
  ['dollars a minute', perMinute(usd(0.04)), 'BUDGET_EXCEEDED'],
  ['dollars an hour', hourly(usd(0.04)), 'BUDGET_EXCEEDED'],
] as const) {
  test(`${title} refuse with ${code}, and a request above the whole limit is told not to wait`, async (t) => {
    const app = await createTestApp(t, { caller: { budgets: [budget] } });
    const answer = await app.native({ ...BODY, n: 2 });
    assert.equal(answer.body.error.code, code);
    assert.equal(answer.body.error.retry_after, undefined);
    assert.equal(answer.get('retry-after'), undefined);
    assert.equal(answer.get('x-should-retry'), 'false');
    assert.equal(app.calls.length, 0);
  });
}

const LIMIT = 'x-scaigrid-ratelimit-limit';
const REMAINING = 'x-scaigrid-ratelimit-remaining';
const RESET = 'x-scaigrid-ratelimit-reset';

for (const surface of ['native', 'openai'] as const) {
  test(`image-count limits are told in headers on success and on refusal (${surface})`, async (t) => {
    const app = await createTestApp(t, { caller: { budgets: [hourly(imageCount(5)), monthly(usd(9))] } });
    const first = await app[surface]({ ...BODY, n: 3 });
    assert.deepEqual([first.get(LIMIT), first.get(REMAINING)], ['5', '2']);
    const seconds = Number(first.get(RESET)) - Date.now() / 1000;
    assert.ok(seconds > -1 && seconds <= 3601, `resets within the hour: ${seconds}`);
    assert.equal(Number(first.get(RESET)) % 3600, 0);
    const refused = await app[surface]({ ...BODY, n: 3 });
    assert.equal(refused.status, 429);
    assert.deepEqual([refused.get(LIMIT), refused.get(REMAINING)], ['5', '2']);
    const failed = await app[surface]({ ...BODY, prompt: '[fail:rejected]' });
    assert.deepEqual([failed.status, failed.get(REMAINING)], [400, '1']);
  });
}

test('of several image-count limits the tightest is told', async (t) => {
  const budgets = [hourly(imageCount(90)), perMinute(imageCount(7))] as const;
  const app = await createTestApp(t, { caller: { budgets: [...budgets] } });
  const answer = await app.native(BODY);
  assert.deepEqual([answer.get(LIMIT), answer.get(REMAINING)], ['7', '6']);
});

for (const budget of [monthly(usd(9)), daily(imageCount(9)), hourly(imageCount(9), { per: 'everyone' })]) {
  test(`no rate-limit headers for the budget ${budget.name}`, async (t) => {
    const app = await createTestApp(t, { caller: { budgets: [budget] } });
    const answer = await app.native(BODY);
    assert.equal(answer.status, 200);
    assert.deepEqual([answer.get(LIMIT), answer.get(REMAINING), answer.get(RESET)], Array(3).fill(undefined));
  });
}

for (const budget of [
  total(usd(0.12345), { per: 'everyone', name: 'house' }),
  hourly(imageCount(123), { per: 'everyone', name: 'house' }),
]) {
  test(`a refusal by an everyone budget in ${budget.unit} hides what all have spent and have left`, async (t) => {
    const app = await createTestApp(t, {
      placeholder: { models: [testModel({ price: usd(0.001) })] },
      identify: (req) => ({ ...TEST_CALLER, tenant: req.get('X-Tenant') ?? '', budgets: [budget] }),
    });
    const post = (tenant: string, n: number) => app.native({ ...BODY, n }).set('X-Tenant', tenant);
    await Promise.all(Array.from({ length: 12 }, () => post('one', 10)));
    const answer = await post('two', 10);
    assert.ok([402, 429].includes(answer.status), answer.text);
    assert.match(
      answer.body.error.message,
      /^The budget house has no room for this request; this request needs up to/,
    );
    // Without the request's id, which may hold any digits.
    const told = JSON.stringify(answer.body.error);
    for (const figure of ['0.123450', '123', '0.003450', '0.120000', '120']) {
      assert.ok(!told.includes(figure), `${figure} in ${told}`);
    }
    assert.equal(answer.get(REMAINING), undefined);
  });
}

test('passing a soft limit is told once for each turn of its window', async (t) => {
  const app = await createTestApp(t, { caller: { budgets: [monthly(usd(0.2), { softLimit: 0.4 })] } });
  for (let n = 0; n < 4; n += 1) await app.native(BODY);
  const events = app.eventsOf('budget.soft_limit');
  assert.deepEqual(
    events.map(({ budget, used, limit, tenant }) => ({ budget, used, limit, tenant })),
    [{ budget: 'monthly-usd-tenant', used: 80_000, limit: 200_000, tenant: 'acme' }],
  );
});

function hanging(): Promise<never> {
  return new Promise(() => undefined);
}

for (const [title, reserve] of [
  ['rejects', broken],
  ['hangs', hanging],
  [
    'throws at once',
    () => {
      throw new Error('no connection');
    },
  ],
] as const) {
  test(`a budget store whose reserve ${title} means BUDGET_UNAVAILABLE, and no provider call`, async (t) => {
    const store = memoryBudget();
    const released: string[] = [];
    const app = await createTestApp(t, {
      limits: { budgetMs: 100 },
      budget: {
        ...store,
        reserve,
        release: (id) => {
          released.push(id);
          return store.release(id);
        },
      },
    });
    const answer = await app.native(BODY);
    assert.equal(answer.status, 503, answer.text);
    assert.equal(answer.body.error.code, 'BUDGET_UNAVAILABLE');
    assert.equal(answer.body.error.retry_after, 5);
    assert.equal(app.calls.length, 0);
    await until(() => released.length === 1);
  });
}

test('a reserve whose answer was lost is released, so that nobody is charged for what never started', async (t) => {
  const store = memoryBudget();
  const app = await createTestApp(t, {
    budget: {
      ...store,
      reserve: async (request) => {
        await store.reserve(request);
        throw new Error('connection reset');
      },
    },
  });
  assert.equal((await app.native(BODY)).body.error.code, 'BUDGET_UNAVAILABLE');
  await until(async () => (await app.balances())['monthly-usd-tenant']?.held === 0);
  assert.deepEqual((await app.balances())['monthly-usd-tenant'], { spent: 0, held: 0 });
});

test('a reserve that lands after it was given up meets a tombstone', async (t) => {
  const store = memoryBudget();
  let landed: Promise<unknown> | undefined;
  const app = await createTestApp(t, {
    limits: { budgetMs: 50 },
    budget: {
      ...store,
      reserve: (request) => {
        const late = new Promise((resolve) => setTimeout(resolve, 300)).then(() => store.reserve(request));
        landed = late;
        return late;
      },
    },
  });
  assert.equal((await app.native(BODY)).status, 503);
  assert.deepEqual(await landed, { ok: false, closed: true });
  assert.deepEqual((await app.balances())['monthly-usd-tenant'], { spent: 0, held: 0 });
});

function failingFirst(operation: 'commit' | 'release', times: number): BudgetStore {
  const store = memoryBudget();
  let failures = 0;
  const attempt = <T>(run: () => Promise<T>): Promise<T> => {
    failures += 1;
    return failures <= times ? broken() : run();
  };
  return operation === 'commit'
    ? { ...store, commit: (...settled) => attempt(() => store.commit(...settled)) }
    : { ...store, release: (id) => attempt(() => store.release(id)) };
}

for (const [operation, prompt, status, spent] of [
  ['commit', 'A lighthouse', 200, 40_000],
  ['release', '[fail:rejected]', 400, 0],
] as const) {
  test(`a ${operation} that fails at first is repeated until it lands, and the answer does not wait`, async (t) => {
    const app = await createTestApp(t, { budget: failingFirst(operation, 2) });
    const answer = await app.native({ ...BODY, prompt });
    assert.equal(answer.status, status, answer.text);
    await until(() => app.eventsOf('hold.settled').length === 1);
    const [settled] = app.eventsOf('hold.settled');
    assert.deepEqual(
      app.eventsOf('hold.unsettled').map(({ action, holdId, level }) => [action, holdId, level]),
      [[operation, settled?.holdId, 'error']],
    );
    assert.deepEqual([settled?.action, settled?.attempts], [operation, 3]);
    assert.equal(settled?.requestId, answer.body.meta.request_id);
    assert.deepEqual((await app.balances())['monthly-usd-tenant'], { spent, held: 0 });
  });
}

for (const answer of ['unknown', 'already'] as const) {
  test(`a commit that the store answers with ${answer} is told of: what was paid is in no budget`, async (t) => {
    const budget: BudgetStore = { ...memoryBudget(), commit: async () => answer };
    const app = await createTestApp(t, { budget });
    await app.native({ model: 'placeholder/sketch', prompt: 'a', n: 2 }).expect(200);
    const [lost, ...others] = app.eventsOf('hold.lost');
    assert.deepEqual(others, []);
    assert.deepEqual([lost?.answer, lost?.costMicroUsd, lost?.images], [answer, 80_000, 2]);
    assert.match(lost?.holdId ?? '', /^[-0-9a-f]{36}$/);
  });
}

test('a commit that landed with its answer lost is not told of as lost', async (t) => {
  const store = memoryBudget();
  let commits = 0;
  const commit: BudgetStore['commit'] = async (...values) => {
    commits += 1;
    const answer = await store.commit(...values);
    if (commits === 1) throw new Error('the connection was lost');
    return answer;
  };
  const app = await createTestApp(t, { budget: { ...store, commit } });
  await app.native({ model: 'placeholder/sketch', prompt: 'a' }).expect(200);
  await until(() => app.events.some(({ type }) => type === 'hold.settled'));
  assert.equal(app.eventsOf('hold.lost').length, 0);
});

test('a commit that hangs keeps the answer waiting for the store’s time only', async (t) => {
  const store = memoryBudget();
  let commits = 0;
  const app = await createTestApp(t, {
    limits: { budgetMs: 100 },
    budget: {
      ...store,
      commit: (...settled) => {
        commits += 1;
        return commits === 1 ? hanging() : store.commit(...settled);
      },
    },
  });
  assert.equal((await app.native(BODY)).status, 200);
  await until(() => app.eventsOf('hold.settled').length === 1);
  assert.deepEqual((await app.balances())['monthly-usd-tenant'], { spent: 40_000, held: 0 });
});

test('close() waits for settlements that still go on', async (t) => {
  const app = await createTestApp(t, { budget: failingFirst('commit', 2) });
  assert.equal((await app.native(BODY)).status, 200);
  await app.router.close();
  assert.deepEqual((await app.balances())['monthly-usd-tenant'], { spent: 40_000, held: 0 });
});

test('while the budget store is down it is asked for one settlement at a time, and each is told of once', async (t) => {
  const store = memoryBudget();
  const released = new Set<string>();
  let [isDown, attempts, atOnce, most] = [true, 0, 0, 0];
  const app = await createTestApp(t, {
    budget: {
      ...store,
      reserve: async (request) => {
        await store.reserve(request);
        throw new Error('the answer was lost');
      },
      release: async (id) => {
        attempts += 1;
        atOnce += 1;
        if (isDown) most = Math.max(most, atOnce);
        await sleep(5);
        atOnce -= 1;
        if (isDown) throw new Error('down');
        released.add(id);
        return store.release(id);
      },
    },
  });
  const statuses = await Promise.all(Array.from({ length: 40 }, async () => (await app.native(BODY)).status));
  assert.deepEqual(new Set(statuses), new Set([503]));
  await until(() => attempts > 4);
  assert.equal(most, 1);
  const told = app.eventsOf('hold.unsettled').map(({ holdId }) => holdId);
  assert.equal(new Set(told).size, told.length, 'no hold is told of twice');
  isDown = false;
  await app.router.close();
  assert.equal(released.size, 40);
  assert.deepEqual((await app.balances())['monthly-usd-tenant'], { spent: 0, held: 0 });
  assert.deepEqual(
    app
      .eventsOf('hold.settled')
      .map(({ holdId }) => holdId)
      .sort(),
    told.sort(),
  );
});

test('a settlement the store never takes keeps no other from it', async (t) => {
  const store = memoryBudget();
  let refused: string | undefined;
  let isDown = true;
  const app = await createTestApp(t, {
    limits: { drainMs: 100 },
    budget: {
      ...store,
      commit: async (hold, lines, outcome) => {
        refused ??= hold.id;
        if (isDown || hold.id === refused) throw new Error('constraint violated');
        return store.commit(hold, lines, outcome);
      },
    },
  });
  for (let request = 0; request < 5; request += 1) await app.native(BODY).expect(200);
  isDown = false;
  await until(() => app.eventsOf('hold.settled').length === 4);
  assert.deepEqual((await app.balances())['monthly-usd-tenant'], { spent: 160_000, held: 40_000 });
});

test('a settlement the store has not taken when the router closes is told of, and not tried again', async (t) => {
  let attempts = 0;
  const down = () => {
    attempts += 1;
    return broken();
  };
  const budget = { ...memoryBudget(), reserve: broken, release: down };
  const app = await createTestApp(t, { limits: { drainMs: 200 }, budget });
  await Promise.all(Array.from({ length: 10 }, () => app.native(BODY).expect(503)));
  await app.router.close();
  assert.equal(app.eventsOf('hold.unsettled').length, 10);
  const tried = attempts;
  await sleep(1_500);
  assert.equal(attempts, tried);
});

test('onStoreFailure: allow draws unmetered while the store is down, and says so in an event', async (t) => {
  const app = await createTestApp(t, {
    spend: { onStoreFailure: 'allow' },
    budget: { ...memoryBudget(), reserve: broken },
  });
  const answer = await app.native(BODY);
  assert.equal(answer.status, 200, answer.text);
  assert.equal(answer.body.data.usage.cost, '0.040000');
  const [skipped] = app.eventsOf('hold.skipped');
  assert.equal(skipped?.level, 'error');
  assert.equal(skipped?.requestId, answer.body.meta.request_id);
});

for (const operation of ['recall', 'reserve'] as const) {
  test(`onStoreFailure: allow draws nothing that has an Idempotency-Key while ${operation} fails`, async (t) => {
    const app = await createTestApp(t, {
      spend: { onStoreFailure: 'allow' },
      budget: { ...memoryBudget(), [operation]: broken },
    });
    const answer = await app.native(BODY).set('Idempotency-Key', 'k');
    assert.equal(answer.body.error?.code, 'BUDGET_UNAVAILABLE');
    assert.equal(app.calls.length, 0);
  });
}

test('onStoreFailure: allow does not open a budget that is used up', async (t) => {
  const app = await createTestApp(t, {
    ...{ spend: { onStoreFailure: 'allow' }, caller: { budgets: [total(usd(0))] } },
  });
  assert.equal((await app.native(BODY)).status, 402);
});

for (const garbage of [undefined, null, {}, { ok: true }, { ok: false }, { ok: false, refused: 'all' }]) {
  test(`a budget store that answers ${JSON.stringify(garbage) ?? 'undefined'} to reserve lets nothing through`, async (t) => {
    const app = await createTestApp(t, {
      budget: { ...memoryBudget(), reserve: async () => garbage as never },
    });
    const answer = await app.native(BODY);
    assert.ok(answer.status >= 500, answer.text);
    assert.equal(app.calls.length, 0);
  });
}

test('an unlimited caller needs no store', async (t) => {
  const app = await createTestApp(t, {
    identify: anyone({ ...TEST_CALLER, budgets: 'unlimited' }),
    budget: { ...memoryBudget(), reserve: broken, commit: broken, release: broken },
  });
  assert.equal((await app.native(BODY)).status, 200);
  assert.equal(app.eventsOf('hold.unsettled').length, 0);
});

test('a free model still counts pictures, and an empty purse does not stop it', async (t) => {
  const app = await createTestApp(t, {
    caller: { budgets: [total(usd(0)), hourly(imageCount(2))] },
    placeholder: { models: [testModel({ price: 0 })] },
  });
  const answer = await app.native({ ...BODY, n: 2 });
  assert.equal(answer.body.data?.usage.cost, '0.000000', answer.text);
  assert.equal((await app.native(BODY)).status, 429);
});

test('budgets are the tenant’s, the user’s or everyone’s, each with its own ledger', async (t) => {
  const budgets: readonly [Budget, ...Budget[]] = [
    total(usd(0.12), { name: 'mine', per: 'user' }),
    total(usd(0.2), { name: 'ours' }),
    total(usd(0.28), { name: 'all', per: 'everyone' }),
  ];
  const app = await createTestApp(t, {
    identify: (req) => ({
      ...{ ...TEST_CALLER, budgets },
      ...{ tenant: req.get('X-Tenant') ?? '', user: req.get('X-User') },
    }),
  });
  const refusedBy = async (tenant: string, user: string, n: number) => {
    const answer = await app
      .native({ ...BODY, n })
      .set('X-Tenant', tenant)
      .set('X-User', user);
    return answer.body.error?.details.map(({ field }: { field: string }) => field) ?? 'nobody';
  };
  assert.equal(await refusedBy('one', 'ann', 3), 'nobody');
  assert.deepEqual(await refusedBy('one', 'ann', 1), ['mine']);
  assert.deepEqual(await refusedBy('one', 'bob', 3), ['ours']);
  assert.equal(await refusedBy('one', 'bob', 2), 'nobody');
  assert.deepEqual(await refusedBy('two', 'ann', 3), ['all']);
  assert.equal(await refusedBy('two', 'ann', 2), 'nobody');
});

test('a price beyond counting is refused, never wrapped into a small one', async (t) => {
  const app = await createTestApp(t, {
    placeholder: { models: [testModel({ maxImages: 1, price: usd(9_000_000_000) })] },
  });
  const answer = await app.native({ ...BODY, n: 10 });
  assert.ok(answer.status >= 400, answer.text);
  assert.equal(app.calls.length, 0);
  assert.deepEqual((await app.balances())['monthly-usd-tenant'], { spent: 0, held: 0 });
});

test('what failed without a bill leaves no trace in the ledger, however often it is tried', async (t) => {
  const app = await createTestApp(t, {
    placeholder: { fail: () => new ProviderError('rate_limited', 'Slow down.', { billed: 'no' }) },
  });
  for (let attempt = 0; attempt < 3; attempt += 1) await app.native(BODY);
  assert.deepEqual((await app.balances())['monthly-usd-tenant'], { spent: 0, held: 0 });
});

test('what is settled after its window has turned is booked in the turn it was held in', async (t) => {
  mock.timers.enable({ apis: ['Date'], now: Date.now() });
  t.after(() => mock.timers.reset());
  const store = memoryBudget();
  const keys: string[] = [];
  const app = await createTestApp(t, {
    budget: {
      ...store,
      reserve(request) {
        keys.push(...request.lines.map(({ key }) => key));
        return store.reserve(request);
      },
    },
    ...{ caller: { budgets: [perMinute(imageCount(5))] }, placeholder: { delayMs: 200 } },
  });
  const answer = app.native(BODY).then((response) => response);
  await until(() => app.calls.length === 1);
  mock.timers.setTime(Date.now() + 61_000);
  await app.get('/v1/accounting/budgets').expect(200);
  assert.equal((await answer).status, 200);
  assert.deepEqual(
    (await store.read(keys)).map(({ spent, held }) => [spent, held]),
    [[1, 0]],
  );
});

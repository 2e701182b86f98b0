import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Caller } from '../../src/core/caller.js';
import type { UsageStore } from '../../src/core/usage.js';
import { daily, usd } from '../../src/core/windows.js';
import { memoryUsage } from '../../src/usage/memory.js';
import { createTestApp, type TestApp, type TestAppOptions, testModel, until } from '../support/app.js';
import { usageRow } from '../support/usage.js';

const ADMIN: Partial<Caller> = { role: 'admin' };
const DRAW = { model: 'placeholder/sketch', prompt: 'a secret lighthouse' };
const USAGE = '/v1/accounting/usage';
const SUMMARY = '/v1/accounting/usage/summary';
const EXPORT = '/v1/accounting/export';

type Scope = Parameters<typeof createTestApp>[0];

/** An app with usage, and the rows that are in it. */
async function appWithUsage(
  t: Scope,
  options: TestAppOptions = {},
): Promise<TestApp & { usage: UsageStore }> {
  const usage = options.usage ?? memoryUsage();
  return { ...(await createTestApp(t, { ...options, usage })), usage };
}

/** Waits until so many rows of the test caller's tenant are written. */
async function written(usage: UsageStore, count: number): Promise<void> {
  await until(async () => (await usage.query({ tenant: 'acme' }, { limit: 1_000 })).length >= count);
}

test('a request that drew has a row with what it was and what it cost, and without its prompt', async (t) => {
  const app = await appWithUsage(t);
  const body = { ...DRAW, n: 2, metadata: { project: 'x', urgent: true } };
  const { body: drawn } = await app.native(body).expect(200);
  await written(app.usage, 1);
  const answer = await app.get(USAGE).expect(200);
  assert.deepEqual(answer.body.pagination, { has_more: false, next_cursor: null });
  const [{ id, created_at, latency_ms, ...row }, ...others] = answer.body.data.items;
  assert.deepEqual(others, []);
  assert.match(id, /^usage_[0-9a-f]{24}$/);
  assert.ok(Math.abs(Date.parse(created_at) - Date.now()) < 60_000, created_at);
  assert.ok(Number.isInteger(latency_ms) && latency_ms >= 0, String(latency_ms));
  assert.deepEqual(row, {
    ...{ request_id: drawn.meta.request_id, tenant_id: 'acme', user_id: 'ann', operation: 'generate' },
    ...{ model: 'placeholder/sketch', served_by: 'placeholder/sketch', backend_id: 'placeholder' },
    ...{ images_requested: 2, images: 2, tokens_in: 0, tokens_out: 0, cost: '0.080000', error: null },
    metadata: { project: 'x', urgent: true },
  });
  assert.ok(!JSON.stringify(answer.body).includes('lighthouse'), 'the prompt is in no row');
});

test('a request that failed after it began has a row with its code and what was booked for it', async (t) => {
  const app = await appWithUsage(t);
  await app.native({ ...DRAW, prompt: '[fail:timeout]' }).expect(504);
  await app.native({ ...DRAW, prompt: '[fail:content_filtered]' }).expect(400);
  await written(app.usage, 2);
  const rows = await app.usage.query({ tenant: 'acme' }, { limit: 9 });
  assert.deepEqual(
    rows.map(({ error, images, costMicroUsd, backend }) => [error, images, costMicroUsd, backend]).sort(),
    [
      ['BACKEND_ERROR', 0, 0, 'placeholder'],
      ['BACKEND_TIMEOUT', 0, 40_000, 'placeholder'],
    ],
  );
});

test('a request whose client left has a row that says so', async (t) => {
  const app = await appWithUsage(t, { placeholder: { models: [testModel()], delayMs: 60_000 } });
  const leaving = new AbortController();
  const answer = fetch(`${app.url}/v1/inference/images/generate`, {
    method: 'POST',
    headers: { authorization: 'Bearer test-key-1', 'content-type': 'application/json' },
    body: JSON.stringify(DRAW),
    signal: leaving.signal,
  });
  answer.catch(() => undefined);
  await until(() => app.calls.length === 1);
  leaving.abort();
  await written(app.usage, 1);
  const [row] = await app.usage.query({ tenant: 'acme' }, { limit: 1 });
  assert.deepEqual([row?.error, row?.images, row?.costMicroUsd], ['CLIENT_LEFT', 0, 40_000]);
});

test('tokens that cannot be some are in no row, and summaries go on', async (t) => {
  for (const price of [
    usd(0.04),
    { tokens: { textIn: usd(5), imageIn: usd(10), imageOut: usd(40) }, ceiling: usd(0.2) },
  ]) {
    const usage = () => ({ textIn: 7, imageIn: 0, imageOut: Number.MAX_SAFE_INTEGER });
    const models = [testModel({ price })];
    const app = await appWithUsage(t, { caller: ADMIN, placeholder: { models, usage } });
    for (let times = 0; times < 3; times += 1) await app.native(DRAW).expect(200);
    await written(app.usage, 3);
    const { body } = await app.get(SUMMARY).expect(200);
    assert.equal(body.data[0].output_tokens, 0);
    assert.equal(body.data[0].request_count, 3);
  }
});

test('requests that never drew have no row: refused fields, budgets, models, quotes and replays', async (t) => {
  const app = await appWithUsage(t, { caller: { budgets: [daily(usd(0.04))] } });
  await app.native({ ...DRAW, size: '1x1' }).expect(422);
  await app.native({ ...DRAW, model: 'placeholder/none' }).expect(404);
  await app.native({ ...DRAW, n: 2 }).expect(402);
  await app.native(DRAW).set('Idempotency-Key', 'once').expect(200);
  await app.native(DRAW).set('Idempotency-Key', 'once').expect('Idempotency-Replayed', 'true').expect(200);
  await app.router.close();
  assert.equal((await app.usage.query({ tenant: 'acme' }, { limit: 9 })).length, 1);
});

test('where the host has a price of its own, rows have it, and the summary also what the vendor takes', async (t) => {
  const app = await appWithUsage(t, {
    ...{ caller: ADMIN, placeholder: { models: [testModel({ price: usd(0.01) })] } },
    models: { 'placeholder/sketch': { price: usd(0.05) } },
  });
  await app.native({ ...DRAW, n: 3 }).expect(200);
  await written(app.usage, 1);
  const { body } = await app.get(SUMMARY).expect(200);
  assert.deepEqual(body.data, [
    {
      ...{ group_key: 'placeholder/sketch', request_count: 1, image_count: 3 },
      ...{ input_tokens: 0, output_tokens: 0, total_tokens: 0 },
      ...{ total_cost: '0.150000', backend_cost: '0.030000' },
    },
  ]);
});

test('viewers and users see their own rows and nobody else’s, admins those of their tenant', async (t) => {
  const rows = [
    usageRow({ user: 'ann', requestId: 'own' }),
    usageRow({ user: 'bob', requestId: 'bob’s' }),
    usageRow({ user: undefined, requestId: 'nobody’s' }),
    usageRow({ tenant: 'other', requestId: 'another tenant’s' }),
    usageRow({ tenant: 'other', user: 'bob' }),
  ];
  const cases: readonly [Partial<Caller>, string, readonly string[]][] = [
    [{ role: 'viewer' }, '', ['own']],
    [{ role: 'user' }, '', ['own']],
    [{ role: 'user' }, '?user_id=ann', ['own']],
    [{ role: 'user' }, '?user_id=bob', []],
    [{ user: undefined }, '', []],
    [{ user: undefined }, '?user_id=ann', []],
    [{ role: 'admin' }, '', ['bob’s', 'nobody’s', 'own']],
    [{ role: 'admin', user: undefined }, '?user_id=bob', ['bob’s']],
    [{ role: 'admin', tenant: 'nobody' }, '', []],
  ];
  for (const [caller, query, expected] of cases) {
    const app = await appWithUsage(t, { caller });
    await app.usage.append(rows);
    const { body } = await app.get(USAGE + query).expect(200);
    const found = body.data.items.map((item: { request_id: string }) => item.request_id).sort();
    assert.deepEqual(found, expected, `${JSON.stringify(caller)} ${query}`);
  }
});

test('summary and export are for admins, and of their tenant only', async (t) => {
  for (const role of ['viewer', 'user'] as const) {
    const app = await appWithUsage(t, { caller: { role } });
    for (const path of [SUMMARY, EXPORT]) {
      const { body } = await app.get(path).expect(403);
      assert.equal(body.error.code, 'AUTHZ_PERMISSION_DENIED');
    }
    await app.http.get(SUMMARY).expect(401);
  }
  const app = await appWithUsage(t, { caller: ADMIN });
  await app.usage.append([usageRow({ tenant: 'other' }), usageRow(), usageRow({ user: 'bob' })]);
  const { body } = await app.get(`${SUMMARY}?group_by=tenant`).expect(200);
  assert.deepEqual(
    body.data.map((sum: { group_key: string; request_count: number }) => [sum.group_key, sum.request_count]),
    [['acme', 2]],
  );
  const { text } = await app.get(`${EXPORT}?format=ndjson`).expect(200);
  assert.equal(text.trim().split('\n').length, 2);
  assert.ok(!text.includes('other'), 'no row of another tenant');
});

test('small pages add up to all rows, the youngest first, while new ones come', async (t) => {
  const app = await appWithUsage(t);
  const at = Date.UTC(2026, 4, 14);
  await app.usage.append(
    Array.from({ length: 7 }, (_, index) => usageRow({ at: at + Math.floor(index / 3) })),
  );
  const ids: string[] = [];
  let query = '?limit=2';
  for (let page = 0; page < 9; page += 1) {
    const { body } = await app.get(USAGE + query).expect(200);
    ids.push(...body.data.items.map(({ id }: { id: string }) => id));
    if (!body.pagination.has_more) break;
    query = `?limit=2&cursor=${body.pagination.next_cursor}`;
    await app.usage.append([usageRow({ at: at + 1_000 })]);
  }
  assert.equal(ids.length, 7);
  assert.equal(new Set(ids).size, 7);
});

test('rows are narrowed by user, model, backend, span and period', async (t) => {
  const app = await appWithUsage(t, { caller: ADMIN });
  const now = Date.now();
  const rows = {
    now: usageRow({ at: now, user: 'bob', model: 'a/b' }),
    may: usageRow({ at: Date.UTC(2026, 4, 14, 12), backend: 'there' }),
    old: usageRow({ at: Date.UTC(2020, 0, 1), backend: undefined }),
  };
  await app.usage.append(Object.values(rows));
  const cases: readonly [string, readonly (keyof typeof rows)[]][] = [
    ['user_id=bob', ['now']],
    ['model=a/b', ['now']],
    ['backend_id=there', ['may']],
    ['period=hour', ['now']],
    ['period=month&model=a/b', ['now']],
    ['end=2020-01-02', ['old']],
    ['start=2026-05-14T14:00:00%2B02:00&end=2026-05-14T12:00:00.001Z', ['may']],
    ['start=2020-01-01&end=2026-05-15', ['may', 'old']],
    ['start=2026-05-14T12:00Z&end=2026-05-14T12:01Z', ['may']],
    ['user_id=nobody', []],
  ];
  for (const [query, expected] of cases) {
    const { body } = await app.get(`${USAGE}?${query}`).expect(200);
    const found = body.data.items.map(({ id }: { id: string }) => id);
    assert.deepEqual(
      found,
      expected.map((name) => rows[name].id),
      query,
    );
  }
});

test('every fault of a query is named', async (t) => {
  const app = await appWithUsage(t, { caller: ADMIN });
  const cases: readonly [string, string, readonly string[]][] = [
    [USAGE, 'start=yesterday&end=2026-02-30&user_id=', ['user_id', 'start', 'end']],
    [USAGE, 'start=2026-05-14T12:00:00', ['start']],
    [USAGE, 'start=1969-01-01', ['start']],
    [USAGE, 'start=2026-05-14&end=2026-05-14', ['end']],
    [USAGE, 'period=year', ['period']],
    [USAGE, 'period=day&start=2026-05-14', ['period']],
    [USAGE, 'period=toString', ['period']],
    [USAGE, 'limit=0', ['limit']],
    [USAGE, 'limit=1001', ['limit']],
    [USAGE, 'cursor=!', ['cursor']],
    [USAGE, `cursor=${Buffer.from('placeholder/sketch').toString('base64url')}`, ['cursor']],
    [USAGE, `model=${'m'.repeat(257)}`, ['model']],
    [SUMMARY, 'group_by=prompt', ['group_by']],
    [EXPORT, 'format=xlsx', ['format']],
  ];
  for (const [path, query, fields] of cases) {
    const { body } = await app.get(`${path}?${query}`).expect(422);
    assert.equal(body.error.code, 'VALIDATION_ERROR');
    assert.deepEqual(
      body.error.details.map(({ field }: { field: string }) => field),
      fields,
      query,
    );
  }
});

test('a summary is grouped by model, user, backend, tenant, day or month', async (t) => {
  const app = await appWithUsage(t, { caller: ADMIN });
  await app.usage.append([
    usageRow({ at: Date.UTC(2026, 4, 14), user: 'bob', tokensIn: 10, tokensOut: 100 }),
    usageRow({ at: Date.UTC(2026, 4, 15), user: undefined, backend: undefined, model: 'a/b' }),
  ]);
  const cases = {
    model: ['a/b', 'placeholder/sketch'],
    user: ['bob', null],
    backend: ['placeholder', null],
    tenant: ['acme'],
    day: ['2026-05-14', '2026-05-15'],
    month: ['2026-05'],
  };
  for (const [groupBy, expected] of Object.entries(cases)) {
    const { body } = await app.get(`${SUMMARY}?group_by=${groupBy}`).expect(200);
    const keys = body.data.map(({ group_key }: { group_key: string }) => group_key);
    assert.deepEqual(keys, expected);
  }
  const { body } = await app.get(`${SUMMARY}?user_id=bob`).expect(200);
  assert.deepEqual(
    body.data.map(({ input_tokens, output_tokens, total_tokens }: Record<string, number>) => {
      return [input_tokens, output_tokens, total_tokens];
    }),
    [[10, 100, 110]],
  );
});

test('without a usage store the paths fall through to the host, and are not in the OpenAPI document', async (t) => {
  const after: TestAppOptions['after'] = (app) => app.use((_req, res) => void res.status(418).send('host'));
  const app = await createTestApp(t, { after });
  for (const path of [USAGE, SUMMARY, EXPORT]) await app.get(path).expect(418);
  await app.get('/v1/accounting/budgets').expect(200);
  assert.ok(!JSON.stringify(app.router.openapi).includes(USAGE), 'not described');
});

test('other methods are 405, before anybody is identified; HEAD is GET without a body', async (t) => {
  const app = await appWithUsage(t, { caller: ADMIN });
  await app.usage.append([usageRow()]);
  for (const path of [USAGE, SUMMARY, EXPORT]) {
    await app.http.post(path).expect(405).expect('Allow', 'GET, HEAD');
    const answer = await app.http.head(path).set('Authorization', 'Bearer test-key-1').expect(200);
    assert.equal(answer.text ?? '', '');
  }
});

test('a usage store is told by its signal when nobody waits for it any more', async (t) => {
  const signals: AbortSignal[] = [];
  const hanging = (signal: AbortSignal | undefined) => {
    assert.ok(signal?.aborted === false, 'somebody waits');
    signals.push(signal);
    return new Promise<never>(() => undefined);
  };
  const usage: UsageStore = {
    append: async () => undefined,
    query: (_filter, _page, signal) => hanging(signal),
    summarize: (_filter, _groupBy, signal) => hanging(signal),
    async *export(_filter, signal) {
      yield await hanging(signal);
    },
  };
  const app = await appWithUsage(t, { usage, caller: ADMIN, limits: { usageMs: 50 } });
  for (const path of [USAGE, SUMMARY, EXPORT]) await app.get(path).expect(503);
  assert.deepEqual(
    signals.map(({ aborted }) => aborted),
    [true, true, true],
  );
});

test('a usage store that fails or hangs is answered with STORAGE_ERROR, and without its words', async (t) => {
  const failing = () => Promise.reject(new Error('password=hunter2'));
  const hanging = () => new Promise<never>(() => undefined);
  for (const fault of [failing, hanging]) {
    const usage: UsageStore = {
      ...{ append: async () => undefined, query: fault, summarize: fault },
      async *export() {
        yield await fault();
      },
    };
    const app = await appWithUsage(t, { usage, caller: ADMIN, limits: { usageMs: 50 } });
    for (const path of [USAGE, SUMMARY, EXPORT]) {
      const { body } = await app.get(path).expect(503);
      assert.equal(body.error.code, 'STORAGE_ERROR');
      assert.ok(!JSON.stringify(body).includes('hunter2'), 'without the store’s words');
    }
  }
});

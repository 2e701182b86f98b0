import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Caller } from '../../src/core/caller.js';
import { daily, imageCount, monthly, total, usd } from '../../src/core/windows.js';
import { ConfigError, ImagesError } from '../../src/errors.js';
import { anyone, bearerKeys, hashKey, type Identify } from '../../src/http/identify.js';
import { createTestApp, TEST_CALLER, TEST_KEY } from '../support/app.js';

const BODY = { model: 'placeholder/sketch', prompt: 'A lighthouse' };
const [BUDGET] = TEST_CALLER.budgets;

async function answerWith(t: Parameters<typeof createTestApp>[0], identify: Identify) {
  const app = await createTestApp(t, { identify });
  const answer = await app.native(BODY);
  return { app, answer };
}

for (const nobody of [undefined, null, false, ''] as const) {
  test(`identify that answers ${JSON.stringify(nobody) ?? 'undefined'} means nobody: 401`, async (t) => {
    const { app, answer } = await answerWith(t, async () => nobody);
    assert.equal(answer.body.error.code, 'AUTH_TOKEN_INVALID');
    const without = await app.http.post('/v1/inference/images/generate').send(BODY);
    assert.equal(without.body.error.code, 'AUTH_TOKEN_MISSING');
  });
}

const GARBAGE: readonly (readonly [title: string, value: unknown])[] = [
  ['a string', 'ann'],
  ['a number', 7],
  ['true', true],
  ['an empty object', {}],
  ['a list', [TEST_CALLER]],
  ['a function', () => TEST_CALLER],
  ['no tenant', { ...TEST_CALLER, tenant: undefined }],
  ['an empty tenant', { ...TEST_CALLER, tenant: '' }],
  ['a tenant that is a number', { ...TEST_CALLER, tenant: 7 }],
  ['a tenant that is a list', { ...TEST_CALLER, tenant: ['acme'] }],
  ['a tenant of 257 characters', { ...TEST_CALLER, tenant: 'x'.repeat(257) }],
  ['an empty user', { ...TEST_CALLER, user: '' }],
  ['a role nobody knows', { ...TEST_CALLER, role: 'root' }],
  ['no models', { ...TEST_CALLER, models: undefined }],
  ['an empty list of models', { ...TEST_CALLER, models: [] }],
  ['models in one string', { ...TEST_CALLER, models: 'openai/*' }],
  ['models that are no strings', { ...TEST_CALLER, models: [7] }],
  ['no budgets', { ...TEST_CALLER, budgets: undefined }],
  ['an empty list of budgets', { ...TEST_CALLER, budgets: [] }],
  ['a budget that is none', { ...TEST_CALLER, budgets: [{}] }],
  ['a budget that is null', { ...TEST_CALLER, budgets: [null] }],
  ['a budget with a negative limit', { ...TEST_CALLER, budgets: [{ ...(BUDGET as object), limit: -1 }] }],
  ['a budget with half a limit', { ...TEST_CALLER, budgets: [{ ...(BUDGET as object), limit: 0.5 }] }],
  ['a budget over a century', { ...TEST_CALLER, budgets: [{ ...(BUDGET as object), window: 'century' }] }],
  [
    'a budget of an inherited window',
    { ...TEST_CALLER, budgets: [{ ...(BUDGET as object), window: 'toString' }] },
  ],
  [
    'a budget in a zone nobody knows',
    { ...TEST_CALLER, budgets: [{ ...(BUDGET as object), timeZone: 'Mars/X' }] },
  ],
  [
    'a budget per user without a user',
    { ...TEST_CALLER, user: undefined, budgets: [daily(usd(1), { per: 'user' })] },
  ],
  ['two budgets of one key', { ...TEST_CALLER, budgets: [daily(usd(1)), daily(usd(2))] }],
  [
    'two windows of one name',
    { ...TEST_CALLER, budgets: [daily(usd(1), { name: 'a' }), monthly(usd(1), { name: 'a' })] },
  ],
];

for (const [title, value] of GARBAGE) {
  test(`identify that answers garbage is a fault of the host, and nothing is spent: ${title}`, async (t) => {
    const { app, answer } = await answerWith(t, () => value as Caller);
    assert.equal(answer.status, 500, answer.text);
    assert.equal(answer.body.error.code, 'INTERNAL_ERROR');
    assert.equal(answer.get('x-should-retry'), 'false');
    assert.equal(app.calls.length, 0);
    assert.ok(app.eventsOf('request.failed')[0]?.cause instanceof Error, 'the event says what was wrong');
    assert.ok(!answer.text.includes('budgets'), 'the client does not hear what');
  });
}

test('budgets of one name in other units or scopes are other budgets', async (t) => {
  const budgets = [
    ...[daily(usd(1), { name: 'a' }), daily(imageCount(9), { name: 'a' })],
    daily(usd(1), { name: 'a', per: 'user' }),
  ] as unknown as Caller['budgets'];
  const { answer } = await answerWith(t, () => ({ ...TEST_CALLER, budgets }));
  assert.equal(answer.status, 200, answer.text);
});

test('a budget per user is each user’s own within a tenant, and each tenant’s own for equal users', async (t) => {
  const app = await createTestApp(t, {
    identify: (req) => ({
      ...{ ...TEST_CALLER, tenant: req.get('X-Tenant') ?? '', user: req.get('X-User') },
      budgets: [total(usd(0.04), { per: 'user' })],
    }),
  });
  const statusOf = async (tenant: string, user: string) =>
    (await app.native(BODY).set('X-Tenant', tenant).set('X-User', user)).status;
  assert.equal(await statusOf('one', 'ann'), 200);
  assert.equal(await statusOf('one', 'ann'), 402);
  assert.equal(await statusOf('one', 'bob'), 200);
  assert.equal(await statusOf('two', 'ann'), 200);
});

test('identify that throws is 500, whether it is asynchronous or not', async (t) => {
  const fault = () => {
    throw new Error('the session store is down');
  };
  for (const identify of [fault, async () => fault()]) {
    const { answer } = await answerWith(t, identify);
    assert.equal(answer.status, 500);
    assert.ok(!answer.text.includes('session'));
  }
});

test('identify may choose the answer by throwing an ImagesError', async (t) => {
  const error = new ImagesError('RATE_LIMITED', 'You knock too often.', { retryAfter: 9 });
  const { answer } = await answerWith(t, () => Promise.reject(error));
  assert.equal(answer.status, 429);
  assert.equal(answer.get('retry-after'), '9');
  assert.equal(answer.body.error.message, 'You knock too often.');
});

test('identify that hangs is 503 after its time, and what it says or throws later is nobody’s', async (t) => {
  let settleLate: (() => void) | undefined;
  const app = await createTestApp(t, {
    limits: { identifyMs: 50 },
    identify: () =>
      new Promise((_, reject) => {
        settleLate = () => reject(new Error('late'));
      }),
  });
  const answer = await app.native(BODY);
  assert.equal(answer.status, 503);
  assert.equal(answer.body.error.code, 'OVERLOADED');
  settleLate?.();
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(app.calls.length, 0);
});

test('the roles: a viewer may not generate, users and admins may, and user is the default', async (t) => {
  const app = await createTestApp(t, {
    identify: (req) => ({ ...TEST_CALLER, role: req.get('X-Role') as Caller['role'] }),
  });
  const statusOf = async (role?: string) => {
    const request = app.native(BODY);
    return (await (role === undefined ? request : request.set('X-Role', role))).status;
  };
  assert.deepEqual(
    await Promise.all([statusOf('viewer'), statusOf('user'), statusOf('admin'), statusOf()]),
    [403, 200, 200, 200],
  );
});

test('an unlimited caller is written out, draws, and books nothing', async (t) => {
  const { app, answer } = await answerWith(t, anyone({ ...TEST_CALLER, budgets: 'unlimited' }));
  assert.equal(answer.status, 200, answer.text);
  assert.equal(app.eventsOf('request.completed')[0]?.costMicroUsd, 40_000);
});

for (const [title, header, status] of [
  ['the key', `Bearer ${TEST_KEY}`, 200],
  ['the scheme in lower case', `bearer ${TEST_KEY}`, 200],
  ['more blanks', `Bearer   ${TEST_KEY}  `, 200],
  ['the key with other letters', `Bearer ${TEST_KEY.toUpperCase()}`, 401],
  ['the key and more', `Bearer ${TEST_KEY} x`, 401],
  ['another scheme', `Basic ${TEST_KEY}`, 401],
  ['the key alone', TEST_KEY, 401],
  ['the hash of the key', `Bearer ${hashKey(TEST_KEY)}`, 401],
  ['a key too long to be one', `Bearer ${'k'.repeat(513)}`, 401],
  ['nothing after the scheme', 'Bearer', 401],
] as const) {
  test(`bearerKeys with ${title}: ${status}`, async (t) => {
    const app = await createTestApp(t);
    const answer = await app.native(BODY).set('Authorization', header);
    assert.equal(answer.status, status, answer.text);
  });
}

test('bearerKeys also takes a function of the hash, which may be asynchronous and may know nobody', async (t) => {
  const hashes: string[] = [];
  const identify = bearerKeys(async (hash) => {
    hashes.push(hash);
    return hash === hashKey(TEST_KEY) ? TEST_CALLER : undefined;
  });
  const app = await createTestApp(t, { identify });
  assert.equal((await app.native(BODY)).status, 200);
  assert.equal((await app.native(BODY).set('Authorization', 'Bearer other')).status, 401);
  assert.deepEqual(hashes, [hashKey(TEST_KEY), hashKey('other')]);
});

test('bearerKeys and anyone refuse callers that are none, and plain keys, at construction', () => {
  const whole = { [hashKey('k')]: TEST_CALLER };
  assert.doesNotThrow(() => bearerKeys(whole));
  assert.throws(() => bearerKeys({ 'plain-key': TEST_CALLER }), ConfigError);
  assert.throws(() => bearerKeys({ [hashKey('k')]: { ...TEST_CALLER, tenant: '' } }), ConfigError);
  assert.throws(() => anyone({ ...TEST_CALLER, models: [] }), /models/);
});

const OWN = 'http://app.test';
const FORGERY: readonly (readonly [
  title: string,
  headers: Readonly<Record<string, string>>,
  status: 200 | 403,
])[] = [
  ['no browser at all', {}, 200],
  ['the same origin', { 'Sec-Fetch-Site': 'same-origin' }, 200],
  ['the same site', { 'Sec-Fetch-Site': 'same-site', Origin: 'http://sub.app.test' }, 200],
  ['typed by the person', { 'Sec-Fetch-Site': 'none' }, 200],
  ['another site', { 'Sec-Fetch-Site': 'cross-site' }, 403],
  ['another site with an origin', { 'Sec-Fetch-Site': 'cross-site', Origin: 'http://evil.test' }, 403],
  ['another site that claims our origin', { 'Sec-Fetch-Site': 'cross-site', Origin: OWN }, 403],
  ['a trusted other site', { 'Sec-Fetch-Site': 'cross-site', Origin: 'https://trusted.test' }, 200],
  ['an old browser on our own page', { Origin: OWN }, 200],
  ['an old browser on another page', { Origin: 'http://evil.test' }, 403],
  ['an old browser on another port', { Origin: `${OWN}:8080` }, 403],
  ['an old browser on a page of a file', { Origin: 'null' }, 403],
  ['an old browser on a trusted page', { Origin: 'https://trusted.test' }, 200],
  ['a trusted name under another scheme', { Origin: 'http://trusted.test' }, 403],
];

for (const [title, headers, status] of FORGERY) {
  test(`a post with cookies from ${title}: ${status}`, async (t) => {
    const app = await createTestApp(t, {
      ...{ identify: anyone(TEST_CALLER), trustedOrigins: ['https://trusted.test'] },
    });
    const post = app.http.post('/v1/inference/images/generate').set({ Host: 'app.test', ...headers });
    const answer = await post.send(BODY);
    assert.equal(answer.status, status, answer.text);
    if (status === 403) assert.equal(answer.body.error.code, 'AUTHZ_PERMISSION_DENIED');
    assert.equal(app.calls.length, status === 200 ? 1 : 0);
    const keyed = app.native(BODY).set({ Host: 'app.test', ...headers });
    assert.equal((await keyed).status, 200, 'a page cannot send a key on its own');
  });
}

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Test } from 'supertest';
import { memoryBudget } from '../../src/budgets/memory.js';
import { hourly, imageCount, monthly, perMinute, total, usd } from '../../src/core/windows.js';
import {
  type ErrorCode,
  ImagesError,
  ProviderError,
  type ProviderErrorKind,
  type ProviderErrorOptions,
} from '../../src/errors.js';
import type { Surface } from '../../src/http/errors.js';
import { memoryStorage } from '../../src/storage/memory.js';
import { createTestApp, TEST_CALLER, type TestApp, type TestAppOptions, testModel } from '../support/app.js';

/** Text that must never reach a client: of a vendor, a store, or the host's own code. */
const CANARY = 'canary sk-live-123 http://10.0.0.1/secret /etc/passwd';
const PROMPT = 'canary-prompt: a lighthouse';
const BODY = { model: 'placeholder/sketch', prompt: PROMPT };

const broken = async (): Promise<never> => {
  throw new Error(CANARY);
};

/** How to provoke an error, and what clients are to see of it. */
interface Provocation {
  readonly title: string;
  readonly code: ErrorCode;
  readonly options?: TestAppOptions;
  readonly body?: object | string;
  readonly change?: (request: Test) => Test;
  readonly prepare?: (app: TestApp) => Promise<unknown>;
  readonly status: number;
  /** On the OpenAI surface: status, type, code and param, where they are not the usual. */
  readonly openai: {
    readonly status?: number;
    readonly type: string;
    readonly code?: string;
    readonly param?: string;
  };
  readonly reason?: string;
  /** `retry_after`: exactly, or at most. Absent unless given. */
  readonly retryAfter?: number | { readonly atMost: number };
  /** True where a client library may try again on its own. @defaultValue false */
  readonly retryable?: boolean;
  readonly message?: RegExp;
}

const CLIENT = 'invalid_request_error';
const SERVER = 'server_error';

function failing(kind: ProviderErrorKind, options: ProviderErrorOptions): TestAppOptions {
  const error = new ProviderError(kind, `The vendor says no: ${kind}.`, {
    ...options,
    cause: new Error(CANARY),
  });
  return { placeholder: { models: [testModel()], fail: () => error } };
}

const PROVOCATIONS: readonly Provocation[] = [
  {
    ...{ title: 'no key at all', code: 'AUTH_TOKEN_MISSING', status: 401 },
    change: (request) => request.unset('Authorization'),
    openai: { type: 'authentication_error', code: 'invalid_api_key' },
  },
  {
    ...{ title: 'a key nobody knows', code: 'AUTH_TOKEN_INVALID', status: 401 },
    change: (request) => request.set('Authorization', `Bearer ${CANARY.replaceAll(' ', '-')}`),
    openai: { type: 'authentication_error', code: 'invalid_api_key' },
  },
  {
    ...{ title: 'a viewer who generates', code: 'AUTHZ_PERMISSION_DENIED', status: 403 },
    options: { caller: { role: 'viewer' } },
    openai: { type: 'permission_error' },
    message: /viewer.*user/,
  },
  {
    ...{ title: 'a wrong field', code: 'VALIDATION_ERROR', status: 422, body: { ...BODY, n: 0 } },
    openai: { status: 400, type: CLIENT, param: 'n' },
    message: /^n: expected a whole number of pictures from 1 to 10$/,
  },
  {
    ...{ title: 'malformed JSON', code: 'VALIDATION_ERROR', status: 422, body: '{"model":' },
    openai: { status: 400, type: CLIENT, param: 'body' },
  },
  {
    ...{ title: 'a body over the limit', code: 'PAYLOAD_TOO_LARGE', status: 413 },
    options: { limits: { jsonBytes: 40 } },
    openai: { type: CLIENT, param: 'body' },
    message: /40 bytes/,
  },
  {
    ...{ title: 'an unknown model', code: 'MODEL_NOT_FOUND', status: 404 },
    body: { ...BODY, model: CANARY },
    openai: { type: CLIENT, code: 'model_not_found', param: 'model' },
  },
  {
    ...{ title: 'a model of others', code: 'MODEL_ACCESS_DENIED', status: 403 },
    options: { caller: { models: ['openai/*'] } },
    openai: { type: 'permission_error', param: 'model' },
  },
  {
    ...{ title: 'every backend broken', code: 'MODEL_UNAVAILABLE', status: 503, retryable: true },
    options: failing('account', { billed: 'no' }),
    prepare: async (app) => {
      for (let failures = 0; failures < 5; failures += 1) await app.native(BODY);
    },
    openai: { type: SERVER },
    retryAfter: { atMost: 10 },
  },
  {
    ...{ title: 'a budget for less than this', code: 'BUDGET_EXCEEDED', status: 402 },
    options: { caller: { budgets: [total(usd(0.01), { name: 'tiny' })] } },
    openai: { type: 'insufficient_quota', code: 'insufficient_quota', param: 'tiny' },
    message: /tiny has \$0\.010000 of \$0\.010000 left.*up to \$0\.040000\. It does not reset\.$/,
  },
  {
    ...{ title: 'a budget used up', code: 'BUDGET_EXCEEDED', status: 402 },
    options: { caller: { budgets: [monthly(usd(0.04), { name: 'tiny' })] } },
    prepare: (app) => app.native(BODY),
    openai: { type: 'insufficient_quota', code: 'insufficient_quota', param: 'tiny' },
    retryAfter: { atMost: 31 * 86_400 },
    message: /tiny has \$0\.000000 of \$0\.040000 left.*It resets at \d{4}-\d\d-01T00:00:00\.000Z\.$/,
  },
  {
    ...{ title: 'pictures of this minute used up', code: 'RATE_LIMITED', status: 429, retryable: true },
    options: { caller: { budgets: [perMinute(imageCount(1))] } },
    prepare: async (app) => {
      // A minute that ended between the requests would let the second one through.
      if (Date.now() % 60_000 > 50_000) await new Promise((resolve) => setTimeout(resolve, 10_500));
      await app.native(BODY);
    },
    openai: {
      ...{ type: 'rate_limit_error', code: 'rate_limit_exceeded', param: 'per-minute-images-tenant' },
    },
    retryAfter: { atMost: 60 },
  },
  {
    ...{ title: 'more pictures than an hour ever has', code: 'RATE_LIMITED', status: 429 },
    options: { caller: { budgets: [hourly(imageCount(1))] } },
    body: { ...BODY, n: 2 },
    openai: {
      ...{ type: 'rate_limit_error', code: 'rate_limit_exceeded', param: 'hourly-images-tenant' },
    },
    message: /1 picture of 1 picture left.*up to 2 pictures/,
  },
  {
    ...{ title: 'upstream failed, surely unbilled', code: 'BACKEND_ERROR', status: 502, retryable: true },
    options: failing('unavailable', { billed: 'no' }),
    openai: { type: SERVER },
  },
  {
    ...{ title: 'upstream failed, perhaps billed', code: 'BACKEND_ERROR', status: 502 },
    options: failing('unavailable', { billed: 'unknown' }),
    openai: { type: SERVER },
  },
  {
    ...{ title: 'our own account’s trouble', code: 'BACKEND_ERROR', status: 502, retryable: true },
    options: failing('account', { billed: 'no', status: 401 }),
    openai: { type: SERVER },
  },
  {
    ...{ title: 'a provider that throws anything', code: 'BACKEND_ERROR', status: 502 },
    options: { placeholder: { models: [testModel()], fail: () => new TypeError(CANARY) } },
    openai: { type: SERVER },
    message: /^The provider failed\.$/,
  },
  {
    ...{ title: 'a refusal on grounds of content', code: 'BACKEND_ERROR', status: 400 },
    options: failing('content_filtered', { billed: 'no' }),
    openai: { type: 'image_generation_user_error', code: 'moderation_blocked' },
    reason: 'content_filtered',
  },
  {
    ...{ title: 'a request upstream refused', code: 'BACKEND_ERROR', status: 400 },
    options: failing('rejected', { billed: 'no' }),
    openai: { type: CLIENT },
    reason: 'rejected',
  },
  {
    ...{ title: 'time that is up', code: 'BACKEND_TIMEOUT', status: 504 },
    options: { limits: { requestMs: 100 }, placeholder: { models: [testModel()], delayMs: 60_000 } },
    openai: { type: SERVER },
  },
  {
    ...{ title: 'upstream’s own timeout', code: 'BACKEND_TIMEOUT', status: 504 },
    options: failing('timeout', { billed: 'unknown' }),
    openai: { type: SERVER },
  },
  {
    ...{ title: 'upstream limits us for seconds', code: 'BACKEND_RATE_LIMITED', status: 429 },
    options: failing('rate_limited', { billed: 'no', retryAfter: 60 }),
    ...{ openai: { type: 'rate_limit_error', code: 'rate_limit_exceeded' }, retryAfter: 60, retryable: true },
  },
  {
    ...{ title: 'upstream limits us for minutes', code: 'BACKEND_RATE_LIMITED', status: 429 },
    options: failing('rate_limited', { billed: 'no', retryAfter: 61 }),
    ...{ openai: { type: 'rate_limit_error', code: 'rate_limit_exceeded' }, retryAfter: 61 },
  },
  {
    ...{ title: 'upstream limits us for who knows how long', code: 'BACKEND_RATE_LIMITED', status: 429 },
    options: failing('rate_limited', { billed: 'no' }),
    openai: { type: 'rate_limit_error', code: 'rate_limit_exceeded' },
  },
  {
    ...{ title: 'a picture that is a page', code: 'UPSTREAM_SHAPE_MISMATCH', status: 502 },
    options: {
      placeholder: {
        models: [testModel()],
        tamper: () => ({ bytes: Buffer.from(`<html>${CANARY}</html>`), type: 'image/png' }),
      },
    },
    openai: { type: SERVER },
  },
  {
    ...{ title: 'a server that shuts down', code: 'OVERLOADED', status: 503, retryable: true },
    prepare: (app) => app.router.close(),
    ...{ openai: { type: SERVER }, retryAfter: 5 },
  },
  {
    ...{ title: 'an identify that hangs', code: 'OVERLOADED', status: 503, retryable: true },
    options: { limits: { identifyMs: 50 }, identify: () => new Promise(() => undefined) },
    ...{ openai: { type: SERVER }, retryAfter: 5 },
  },
  {
    ...{ title: 'a storage that takes nothing', code: 'STORAGE_ERROR', status: 503 },
    options: { storage: { ...memoryStorage(), put: broken } },
    body: { ...BODY, response_format: 'url' },
    openai: { type: SERVER },
    message: /^What is stored cannot be reached at the moment\. Request id: req_[0-9a-f]{24}$/,
  },
  {
    ...{ title: 'a budget store that is down', code: 'BUDGET_UNAVAILABLE', status: 503, retryable: true },
    options: { budget: { ...memoryBudget(), reserve: broken } },
    ...{ openai: { type: SERVER }, retryAfter: 5 },
    message: /^The budget could not be checked, so nothing was drawn\. Request id: req_[0-9a-f]{24}$/,
  },
  {
    ...{ title: 'an identify that throws', code: 'INTERNAL_ERROR', status: 500 },
    options: { identify: broken },
    openai: { type: SERVER },
    message: /^Something went wrong on our side\. Request id: req_[0-9a-f]{24}$/,
  },
];

const SURFACES: readonly Surface[] = ['native', 'openai'];

for (const surface of SURFACES) {
  for (const provocation of PROVOCATIONS) {
    const { code, title } = provocation;
    test(`${code} on the ${surface} surface: ${title}`, async (t) => {
      const app = await createTestApp(t, provocation.options);
      await provocation.prepare?.(app);
      const request = app[surface](provocation.body ?? BODY);
      const answer = await (provocation.change?.(request) ?? request);
      checkAnswer(answer, { surface, provocation });
      const seen = JSON.stringify([answer.headers, answer.text]);
      for (const secret of ['canary', 'sk-live', '10.0.0.1', 'passwd', 'lighthouse', 'test-key', '.ts:']) {
        assert.ok(!seen.includes(secret), `the answer has ${secret}: ${seen}`);
      }
      const failed = app.eventsOf('request.failed').at(-1);
      assert.equal(failed?.code, code);
      assert.equal(failed?.requestId, answer.get('x-request-id'));
    });
  }
}

type Answer = Awaited<Test>;

interface Expected {
  readonly surface: Surface;
  readonly provocation: Provocation;
}

function checkAnswer(answer: Answer, { surface, provocation }: Expected): void {
  const { code, status, openai, message, reason, retryable = false } = provocation;
  assert.equal(answer.status, surface === 'openai' ? (openai.status ?? status) : status, answer.text);
  assert.match(answer.get('content-type') ?? '', /^application\/json/);
  const id = answer.get('x-request-id') ?? '';
  assert.match(id, /^req_[0-9a-f]{24}$/);
  const { error } = answer.body;
  if (message !== undefined) assert.match(error.message, message);
  checkRetries(answer, { surface, provocation });
  if (surface === 'native') {
    const keys = ['code', 'message', 'details', 'reason', 'retry_after'];
    assert.deepEqual(
      Object.keys(error).filter((key) => !keys.includes(key)),
      [],
    );
    assert.deepEqual({ ...answer.body, error: {} }, { status: 'error', error: {}, meta: { request_id: id } });
    assert.equal(error.code, code);
    assert.equal(error.reason, reason);
    if (openai.param !== undefined) assert.equal(error.details[0].field, openai.param);
  } else {
    const { type, code: word = code.toLowerCase(), param = null } = openai;
    assert.deepEqual(Object.keys(answer.body), ['error']);
    const { message: _, retry_after: __, ...rest } = error;
    assert.deepEqual(rest, { type, param, code: word });
  }
  assert.equal(typeof error.message, 'string');
  assert.equal(answer.get('x-should-retry'), retryable ? undefined : 'false');
}

function checkRetries(answer: Answer, { provocation }: Expected): void {
  const { retryAfter } = provocation;
  const told: unknown = answer.body.error.retry_after;
  if (retryAfter === undefined || typeof retryAfter === 'number') assert.equal(told, retryAfter);
  else {
    assert.ok(Number.isSafeInteger(told), `whole seconds: ${told}`);
    assert.ok(Number(told) >= 1 && Number(told) <= retryAfter.atMost, `${told} seconds`);
  }
  // Client libraries sleep on this header without a word.
  const header = answer.get('retry-after');
  assert.equal(header, Number(told) <= 60 ? String(told) : undefined);
}

/** Codes whose endpoints or parts are tested elsewhere. */
const ELSEWHERE: readonly ErrorCode[] = [
  ...(['METHOD_NOT_ALLOWED', 'MEDIA_TOKEN_INVALID', 'MEDIA_TOKEN_EXPIRED', 'MEDIA_NOT_FOUND'] as const),
  'IDEMPOTENCY_CONFLICT',
];

test('every code there is has been provoked', () => {
  const known: Record<ErrorCode, true> = {
    ...{ AUTH_TOKEN_MISSING: true, AUTH_TOKEN_INVALID: true, AUTHZ_PERMISSION_DENIED: true },
    ...{ VALIDATION_ERROR: true, PAYLOAD_TOO_LARGE: true, MODEL_NOT_FOUND: true, MODEL_ACCESS_DENIED: true },
    ...{ MODEL_UNAVAILABLE: true, BUDGET_EXCEEDED: true, RATE_LIMITED: true, BACKEND_ERROR: true },
    ...{ BACKEND_TIMEOUT: true, BACKEND_RATE_LIMITED: true, UPSTREAM_SHAPE_MISMATCH: true },
    ...{ IDEMPOTENCY_CONFLICT: true, MEDIA_TOKEN_INVALID: true, MEDIA_TOKEN_EXPIRED: true },
    ...{ MEDIA_NOT_FOUND: true, OVERLOADED: true, METHOD_NOT_ALLOWED: true, STORAGE_ERROR: true },
    ...{ BUDGET_UNAVAILABLE: true, INTERNAL_ERROR: true },
  };
  const provoked = new Set([...PROVOCATIONS.map(({ code }) => code), ...ELSEWHERE]);
  assert.deepEqual(
    Object.keys(known).filter((code) => !provoked.has(code as ErrorCode)),
    [],
  );
});

for (const method of ['get', 'head', 'put', 'patch', 'delete'] as const) {
  for (const path of ['/v1/inference/images/generate', '/oai/v1/images/generations']) {
    test(`METHOD_NOT_ALLOWED: ${method.toUpperCase()} ${path}`, async (t) => {
      const app = await createTestApp(t);
      const answer = await app.http[method](path);
      assert.equal(answer.status, 405);
      assert.equal(answer.get('allow'), 'POST');
      assert.equal(answer.get('x-should-retry'), 'false');
      if (method === 'head') return;
      const { error } = answer.body;
      assert.equal(error.code, path.startsWith('/oai') ? 'method_not_allowed' : 'METHOD_NOT_ALLOWED');
      assert.equal(answer.get('x-request-id')?.startsWith('req_'), true);
    });
  }
}

test('the cause of a fault on our side is in the event of the same request, and only there', async (t) => {
  const app = await createTestApp(t, { identify: broken });
  const answer = await app.native(BODY);
  const [event] = app.eventsOf('request.failed');
  assert.equal(event?.level, 'error');
  assert.equal(event?.requestId, answer.body.meta.request_id);
  assert.ok(event?.cause instanceof Error && event.cause.message === CANARY);
  const faults = app.eventsOf('internal.error');
  assert.deepEqual(
    faults.map(({ requestId, cause }) => [requestId, cause]),
    [[event.requestId, event.cause]],
  );
});

test('an error of a code this version does not know is a fault on our side, not a crash', async (t) => {
  const unheardOf = new ImagesError('TEAPOT' as ErrorCode, 'A newer copy of the package says this.');
  const app = await createTestApp(t, {
    identify: () => {
      throw unheardOf;
    },
  });
  const answer = await app.native(BODY);
  assert.equal(answer.status, 500, answer.text);
  assert.equal(answer.body.error.code, 'INTERNAL_ERROR');
});

test('a listener that throws changes nothing for the client', async (t) => {
  const app = await createTestApp(t);
  app.events.push = () => {
    throw new Error('the log is full');
  };
  assert.equal((await app.native(BODY)).status, 200);
  assert.equal((await app.native({})).status, 422);
});

test('an error of another copy of the package is recognised', async (t) => {
  const foreign = Object.defineProperty(
    Object.assign(new Error('Not today.'), { code: 'OVERLOADED', retryAfter: 7 }),
    Symbol.for('express-images-router.ImagesError'),
    { value: true },
  );
  const app = await createTestApp(t, { identify: () => Promise.reject(foreign) });
  const answer = await app.native(BODY);
  assert.equal(answer.status, 503, answer.text);
  assert.deepEqual(answer.body.error, { code: 'OVERLOADED', message: 'Not today.', retry_after: 7 });
});

test('where pictures were drawn and not stored, they are charged, and a retry is advised against', async (t) => {
  const app = await createTestApp(t, { storage: { ...memoryStorage(), put: broken } });
  const answer = await app.native(BODY);
  assert.equal(answer.get('x-should-retry'), 'false');
  assert.deepEqual((await app.balances())['monthly-usd-tenant'], { spent: 40_000, held: 0 });
  assert.equal(app.eventsOf('storage.failed').length, 3);
});

test('a refusal upstream of one call does not hide that another may have been billed', async (t) => {
  const app = await createTestApp(t, {
    placeholder: {
      models: [testModel({ maxImages: 1 })],
      fail: ({ seed }) =>
        seed === 0
          ? new ProviderError('unavailable', 'Down.', { billed: 'no' })
          : new ProviderError('timeout', 'Slow.', { billed: 'unknown' }),
    },
  });
  const answer = await app.native({ ...BODY, n: 2, seed: 0 });
  assert.equal(answer.body.error.message, 'Down.');
  assert.equal(answer.get('x-should-retry'), 'false');
});

test('OPTIONS is the host’s: it falls through without a header of ours', async (t) => {
  const app = await createTestApp(t, {
    after: (host) => void host.options(/.*/, (_, res) => void res.status(204).end()),
  });
  const answer = await app.http.options('/v1/inference/images/generate');
  assert.equal(answer.status, 204);
  assert.equal(answer.get('x-request-id'), undefined);
});

test('tenants never learn of each other’s budgets in refusals', async (t) => {
  const app = await createTestApp(t, {
    identify: (req) => ({ ...TEST_CALLER, tenant: req.get('X-Tenant') ?? '', budgets: [monthly(usd(0.04))] }),
  });
  assert.equal((await app.native(BODY).set('X-Tenant', 'one')).status, 200);
  assert.equal((await app.native(BODY).set('X-Tenant', 'two')).status, 200);
  assert.equal((await app.native(BODY).set('X-Tenant', 'one')).status, 402);
});

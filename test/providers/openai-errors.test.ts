import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { inspect } from 'node:util';
import type { GenerateCall } from '../../src/core/provider.js';
import { isProviderError, type ProviderError } from '../../src/errors.js';
import { openai } from '../../src/providers/openai.js';
import { generateCall, modelOf, outcomeOf } from '../support/generate-call.js';
import { answers, createOpenAIUpstream, type UpstreamHandler } from '../support/openai-upstream.js';

async function failureFrom(
  t: TestContext,
  handler: UpstreamHandler,
  changes: Partial<GenerateCall> = {},
): Promise<ProviderError> {
  const upstream = await createOpenAIUpstream();
  t.after(() => upstream.close());
  upstream.respondWith(handler);
  const provider = openai({ apiKey: 'sk-canary-0123', baseURL: upstream.url });
  const call = generateCall(modelOf(provider, 'openai/gpt-image-2'), changes);
  const { events, thrown } = await outcomeOf(provider, call);
  assert.deepEqual(events, []);
  assert.ok(isProviderError(thrown), `a ProviderError, not ${thrown}`);
  return thrown;
}

type Row = readonly [what: string, handler: UpstreamHandler, kind: string, billed: string];

const { failure } = answers;

const rows: readonly Row[] = [
  ['a safety refusal of the prompt', answers.moderationBlocked('input'), 'content_filtered', 'no'],
  [
    'a safety refusal of the drawn picture',
    answers.moderationBlocked('output'),
    'content_filtered',
    'unknown',
  ],
  ['a safety refusal at a stage untold', answers.moderationBlocked(), 'content_filtered', 'unknown'],
  [
    'a safety refusal by type alone',
    failure(400, { type: 'image_generation_user_error' }),
    'content_filtered',
    'unknown',
  ],
  [
    "a safety refusal in DALL·E's and Azure's word",
    answers.contentPolicyViolation(),
    'content_filtered',
    'unknown',
  ],
  ["Azure's content filter", failure(400, { code: 'content_filter' }), 'content_filtered', 'unknown'],
  ['an invalid request', answers.invalidRequest(), 'rejected', 'no'],
  ['a request too large', failure(413, {}), 'rejected', 'no'],
  ['a request of bad fields, as FastAPI says it', answers.json(422, { detail: [] }), 'rejected', 'no'],
  ['an error that is a bare string', answers.json(400, { error: 'prompt required' }), 'rejected', 'no'],
  ['the spending cap, a 400', answers.billingHardLimit(), 'account', 'no'],
  ['no credit, a 429', answers.insufficientQuota(), 'account', 'no'],
  ['no credit by type alone', failure(429, { type: 'insufficient_quota' }), 'account', 'no'],
  ['a wrong key', answers.invalidKey(), 'account', 'no'],
  ['a wrong key without a code', answers.raw(401, ''), 'account', 'no'],
  ['a payment required', answers.raw(402, ''), 'account', 'no'],
  ['an organization not verified', failure(403, {}), 'account', 'no'],
  ['a model that is gone', answers.modelNotFound(), 'account', 'no'],
  ['a model that is gone, as a 400', failure(400, { code: 'model_not_found' }), 'account', 'no'],
  ['a path that is not there', answers.raw(404, ''), 'account', 'no'],
  ['a rate limit', answers.rateLimited(), 'rate_limited', 'no'],
  ['a rate limit without a code', answers.raw(429, 'slow down'), 'rate_limited', 'no'],
  ['a request timeout', answers.raw(408, ''), 'unavailable', 'unknown'],
  ['a conflict', answers.raw(409, ''), 'unavailable', 'unknown'],
  ['a server error', answers.serverError(), 'unavailable', 'unknown'],
  ['a gateway without its backend', answers.raw(502, '<html>'), 'unavailable', 'unknown'],
  ['a server that is overloaded', answers.raw(503, ''), 'unavailable', 'no'],
  ['a status beyond all', answers.raw(599, ''), 'unavailable', 'unknown'],
  ['a code that is the name of something inherited', failure(400, { code: 'constructor' }), 'rejected', 'no'],
  ['a body cut off', answers.cutOff(), 'unavailable', 'unknown'],
  [
    'a connection closed without a word',
    (_request, response) => void response.destroy(),
    'unavailable',
    'unknown',
  ],
  ['a redirect', answers.redirect('http://127.0.0.1:9/'), 'shape', 'unknown'],
];
for (const [what, handler, kind, billed] of rows) {
  test(`${what} is '${kind}', billed '${billed}'`, async (t) => {
    const error = await failureFrom(t, handler);
    assert.deepEqual([error.kind, error.billed], [kind, billed]);
  });
}

for (const word of ['content_policy_violation', 'content_filter', 'moderation_blocked']) {
  test(`a refusal by DALL·E for safety has billed nothing, whatever it is called: ${word}`, async (t) => {
    const upstream = await createOpenAIUpstream();
    t.after(() => upstream.close());
    upstream.respondWith(failure(400, { code: word }));
    const provider = openai({ apiKey: 'sk-test', baseURL: upstream.url });
    const { thrown } = await outcomeOf(provider, generateCall(modelOf(provider, 'openai/dall-e-3')));
    assert.ok(isProviderError(thrown), `a ProviderError, not ${thrown}`);
    assert.deepEqual([thrown.kind, thrown.billed], ['content_filtered', 'no']);
  });
}

test('without the guarded fetch, network failures are the same', async (t) => {
  const error = await failureFrom(t, answers.cutOff(), { fetch });
  assert.deepEqual([error.kind, error.billed], ['unavailable', 'unknown']);
});

for (const guarded of [true, false]) {
  test(`a port nobody listens on has billed nothing${guarded ? '' : ', under any fetch'}`, async () => {
    const gone = await createOpenAIUpstream();
    await gone.close();
    const provider = openai({ apiKey: 'sk-test', baseURL: gone.url });
    const call = generateCall(modelOf(provider, 'openai/gpt-image-2'), guarded ? {} : { fetch });
    const { thrown } = await outcomeOf(provider, call);
    assert.ok(isProviderError(thrown));
    assert.deepEqual([thrown.kind, thrown.billed], ['unavailable', 'no']);
    assert.ok(!inspect(thrown, { depth: 10 }).includes(new URL(gone.url).port));
  });
}

const waits: readonly (readonly [headers: Record<string, string>, seconds: number | undefined])[] = [
  [{ 'retry-after': '20' }, 20],
  [{ 'retry-after': '0.2' }, 1],
  [{ 'retry-after': '0' }, 1],
  [{ 'retry-after': '-5' }, 1],
  [{ 'retry-after': '1e11' }, 3600],
  [{ 'retry-after': 'Infinity' }, 3600],
  [{ 'retry-after': 'soon' }, undefined],
  [{ 'retry-after': '' }, undefined],
  [{ 'retry-after': 'Thu, 01 Jan 1970 00:00:00 GMT' }, 1],
  [{ 'retry-after': 'Fri, 31 Dec 9999 23:59:59 GMT' }, 3600],
  [{ 'retry-after-ms': '2500', 'retry-after': '60' }, 3],
  [{}, undefined],
];
for (const [headers, seconds] of waits) {
  test(`a rate limit with ${JSON.stringify(headers)} waits for ${seconds}`, async (t) => {
    assert.equal((await failureFrom(t, answers.rateLimited(headers))).retryAfter, seconds);
  });
}

test('an error keeps status, code, type and request id for the log', async (t) => {
  const error = await failureFrom(t, answers.billingHardLimit());
  const upstreamId = 'req_0123456789abcdef0123456789abcdef';
  assert.equal(error.status, 400);
  assert.equal(error.upstreamId, upstreamId);
  assert.deepEqual(error.cause, {
    status: 400,
    code: 'billing_hard_limit_reached',
    type: 'invalid_request_error',
    requestId: upstreamId,
  });
});

const CANARY = 'canary-7f3a';
const leaks: Readonly<Record<string, UpstreamHandler>> = {
  'an error object': failure(400, {
    message: `Incorrect API key sk-canary-0123: ${CANARY}`,
    code: CANARY,
    type: CANARY,
    param: CANARY,
  }),
  'a bare text': answers.raw(500, CANARY),
  'a bare string': answers.json(400, { error: CANARY }),
  'a code that is an object': failure(400, { code: { [CANARY]: CANARY }, type: [CANARY] }),
  'a request id': answers.json(400, {}, { 'x-request-id': `<${CANARY}>` }),
  'a success that is none': answers.raw(200, CANARY),
  'a redirect': answers.redirect(`http://127.0.0.1:9/${CANARY}`),
};
for (const [what, handler] of Object.entries(leaks)) {
  test(`nothing of ${what}, of the prompt or of the key shows in an error`, async (t) => {
    const error = await failureFrom(t, handler, { prompt: CANARY, endUser: CANARY });
    const shown = inspect(error, { depth: 10, showHidden: true });
    assert.ok(!shown.includes('canary'), shown);
  });
}

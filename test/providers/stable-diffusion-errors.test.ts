import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inspect } from 'node:util';
import { stableDiffusion } from '../../src/providers/stable-diffusion.js';
import { during, failure, outcome, pictures } from '../support/diffusion-calls.js';
import { createOpenAIShapedServer } from '../support/diffusion-openai.js';
import { createSdapiServer, TOO_LARGE_PROMPT } from '../support/diffusion-sdapi.js';
import type { DiffusionAnswer, DiffusionHandler } from '../support/diffusion-servers.js';
import { createStabilityServer, STABILITY_KEY, STABILITY_PROMPTS } from '../support/diffusion-stability.js';
import { picture } from '../support/pictures.js';

const TXT2IMG = '/sdapi/v1/txt2img';
const CORE = '/v2beta/stable-image/generate/core';
const CANARY = 'prompt-canary-4711';

type Row = readonly [what: string, answer: DiffusionAnswer | DiffusionHandler, kind: string, billed: string];

/** Asked of a server of one's own, where nothing is ever billed. */
const OWN: readonly Row[] = [
  ['a bare string', { status: 400, body: { error: 'prompt required' } }, 'rejected', 'no'],
  ['text that is not JSON', { status: 400, body: 'Bad Request' }, 'rejected', 'no'],
  [
    'bad fields, as FastAPI says it',
    { status: 422, body: { detail: [{ loc: ['body'] }] } },
    'rejected',
    'no',
  ],
  ['odd details', { status: 422, body: { detail: [null, 1, { loc: 'body' }] } }, 'rejected', 'no'],
  ['a request too large', { status: 413 }, 'rejected', 'no'],
  ['an unknown sampler', { status: 404, body: { detail: 'Sampler not found' } }, 'rejected', 'no'],
  ['an API that is absent', { status: 404, body: { detail: 'Not Found' } }, 'account', 'no'],
  ['an API that is absent, without a word', { status: 404 }, 'account', 'no'],
  ['a page where the API should be', { status: 405, body: '<html>' }, 'account', 'no'],
  ['a wrong password', { status: 401, body: { detail: 'Not authenticated' } }, 'account', 'no'],
  ['a ban', { status: 403 }, 'account', 'no'],
  ['a full queue', { status: 429, body: { error: 'queue full' } }, 'rate_limited', 'no'],
  ['a server error', { status: 500, body: { error: 'server_error', message: 'x' } }, 'unavailable', 'no'],
  ['a gateway without a server', { status: 502, body: '<html>' }, 'unavailable', 'no'],
  ['a model still loading', { status: 503 }, 'unavailable', 'no'],
  ['a success with nothing in it', { status: 204 }, 'shape', 'no'],
  ['a success that is none', { status: 202, body: { images: [] } }, 'shape', 'no'],
  ['HTML', { status: 200, body: '<html>' }, 'shape', 'no'],
  ['null', { status: 200, body: null }, 'shape', 'no'],
  ['an array', { status: 200, body: [] }, 'shape', 'no'],
  ['a byte order mark', { status: 200, body: '\ufeff{"images":[]}' }, 'shape', 'no'],
  ['pictures that are no list', { status: 200, body: { images: 'x' } }, 'shape', 'no'],
  ['a picture that is no base64', { status: 200, body: { images: ['!!!!'] } }, 'shape', 'no'],
  ['a picture that is no text', { status: 200, body: { images: [7] } }, 'shape', 'no'],
  ['a redirect', { status: 307, headers: { location: 'http://169.254.169.254/' } }, 'shape', 'no'],
  ['a connection cut', (_request, response) => void response.destroy(), 'unavailable', 'no'],
  [
    'an answer cut short',
    (_request, response) => {
      response.writeHead(200, { 'content-length': '1000' });
      response.write('{"images":', () => response.destroy());
      return undefined;
    },
    'unavailable',
    'no',
  ],
];

/** Asked of Stability. */
const HOSTED: readonly Row[] = [
  ['a bad request', named(400, 'bad_request'), 'rejected', 'no'],
  ['a wrong key', named(401, 'unauthorized'), 'account', 'no'],
  ['no credits', named(402, 'payment_required'), 'account', 'no'],
  ['a refusal by moderation', named(403, 'content_moderation'), 'content_filtered', 'no'],
  ['another ban', named(403, 'permission_denied'), 'account', 'no'],
  ['a payload too large', named(413, 'payload_too_large'), 'rejected', 'no'],
  ['an unprocessable request', named(422, 'unprocessable_entity'), 'rejected', 'no'],
  ['too many requests', named(429, 'rate_limit_exceeded'), 'rate_limited', 'no'],
  ['an error on their side', named(500, 'internal_error'), 'unavailable', 'unknown'],
  ['a service that is down', named(503, 'service_unavailable'), 'unavailable', 'no'],
  ['errors by another name', { status: 500, body: { id: 'x', message: 'oh' } }, 'unavailable', 'unknown'],
  ['HTML', { status: 200, body: '<html>' }, 'shape', 'unknown'],
  ['no picture', { status: 200, body: { finish_reason: 'SUCCESS' } }, 'shape', 'unknown'],
  [
    'a reason nobody knows',
    { status: 200, body: { finish_reason: 'ERROR', image: 'AAAA' } },
    'shape',
    'unknown',
  ],
  ['a connection cut', (_request, response) => void response.destroy(), 'unavailable', 'unknown'],
];

function named(status: number, name: string): DiffusionAnswer {
  return { status, body: { id: 'a3b1c5d7', name, errors: ['whatever'] } };
}

function handlerOf(answer: DiffusionAnswer | DiffusionHandler): DiffusionHandler {
  return typeof answer === 'function' ? answer : () => answer;
}

for (const [what, answer, kind, billed] of OWN) {
  test(`a server of one's own answers ${what}: ${kind}, billed ${billed}`, async (t) => {
    const server = await during(t, createSdapiServer());
    server.override(TXT2IMG, handlerOf(answer));
    const error = await failure(stableDiffusion({ url: server.url, protocol: 'sdapi' }));
    assert.deepEqual([error.kind, error.billed], [kind, billed]);
  });
}

for (const [what, answer, kind, billed] of HOSTED) {
  test(`Stability answers ${what}: ${kind}, billed ${billed}`, async (t) => {
    const server = await during(t, createStabilityServer());
    server.override(CORE, handlerOf(answer));
    const error = await failure(
      stableDiffusion({ url: server.url, protocol: 'stability', apiKey: STABILITY_KEY }),
    );
    assert.deepEqual([error.kind, error.billed], [kind, billed]);
  });
}

test('a server that cannot be reached failed without a bill', async () => {
  const server = await createSdapiServer();
  const provider = stableDiffusion({ url: server.url });
  await server.close();
  const error = await failure(provider);
  assert.deepEqual([error.kind, error.billed], ['unavailable', 'no']);
});

test('where the host says that pictures cost, a failure may have been billed', async (t) => {
  const server = await during(t, createSdapiServer());
  server.override(TXT2IMG, () => ({ status: 500 }));
  const models = [{ price: { '*': { '*': 10_000 as never } } }];
  const error = await failure(stableDiffusion({ url: server.url, models }));
  assert.deepEqual([error.kind, error.billed], ['unavailable', 'unknown']);
});

test('a priced server that is not ready has not taken the request', async (t) => {
  const server = await during(t, createSdapiServer());
  server.override(TXT2IMG, () => ({ status: 503 }));
  const models = [{ price: { '*': { '*': 10_000 as never } } }];
  const error = await failure(stableDiffusion({ url: server.url, models }));
  assert.deepEqual([error.kind, error.billed], ['unavailable', 'no']);
});

test('a card without memory is said to be one, without a word of its own', async (t) => {
  const server = await during(t, createSdapiServer());
  const error = await failure(stableDiffusion({ url: server.url }), { prompt: TOO_LARGE_PROMPT });
  assert.deepEqual([error.kind, error.billed, error.status], ['unavailable', 'no', 500]);
  assert.match(error.message, /ran out of memory/);
  assert.deepEqual(error.cause, { status: 500, name: 'OutOfMemoryError' });
});

test('fields FastAPI refuses are named as the client knows them', async (t) => {
  const server = await during(t, createSdapiServer());
  const fault = (field: unknown) => ({ loc: ['body', field], msg: CANARY, type: 'value_error' });
  const detail = [fault('width'), fault('height'), fault('seed'), fault('alwayson_scripts')];
  server.override(TXT2IMG, () => ({ status: 422, body: { detail } }));
  const error = await failure(stableDiffusion({ url: server.url }));
  assert.deepEqual(
    error.details?.map(({ field }) => field),
    ['size', 'seed'],
  );
});

for (const [header, seconds] of [
  ['60', 60],
  ['0.2', 1],
  ['100000000000', 3600],
  ['-5', 1],
  ['soon', undefined],
] as const) {
  test(`a retry-after of ${header} is ${seconds} seconds`, async (t) => {
    const server = await during(t, createSdapiServer());
    server.override(TXT2IMG, () => ({ status: 429, headers: { 'retry-after': header } }));
    assert.equal((await failure(stableDiffusion({ url: server.url }))).retryAfter, seconds);
  });
}

test('a server without edits refuses them, and is no worse for it', async (t) => {
  const server = await during(t, createOpenAIShapedServer({ flavour: 'localai' }));
  const inputs = [{ bytes: await picture('png'), type: 'image/png' }];
  const error = await failure(stableDiffusion({ url: server.url }), { operation: 'edit', inputs });
  assert.deepEqual([error.kind, error.billed], ['rejected', 'no']);
});

test('good pictures arrive before the call fails for one that cannot be read', async (t) => {
  const server = await during(t, createSdapiServer());
  const good = (await picture('png')).toString('base64');
  server.override(TXT2IMG, () => ({ status: 200, body: { images: [good, '!', good] } }));
  const provider = stableDiffusion({ url: server.url, models: [{ maxImages: 3 }] });
  const { events, thrown } = await outcome(provider, { n: 3 });
  const drawn = events.map((event) => event.type === 'image' && event.index);
  assert.deepEqual(drawn, [0, 2]);
  assert.equal((thrown as { kind?: string }).kind, 'shape');
});

test('nothing the server or the caller wrote is in a failure', async (t) => {
  const server = await during(t, createStabilityServer());
  const provider = stableDiffusion({ url: server.url, protocol: 'stability', apiKey: STABILITY_KEY });
  const answers: readonly DiffusionAnswer[] = [
    {
      status: 400,
      body: { id: `sk ${CANARY}`, name: `${CANARY} 1`, errors: [CANARY], error: `no ${CANARY}!` },
    },
    { status: 500, body: `${CANARY} ${STABILITY_KEY}` },
    { status: 422, body: { detail: [{ loc: ['body', CANARY], msg: CANARY }] } },
    { status: 200, body: { image: CANARY, finish_reason: CANARY } },
  ];
  for (const answer of answers) {
    server.override(CORE, () => answer);
    const shown = inspect(await failure(provider, { prompt: CANARY }), { depth: 9, showHidden: true });
    assert.ok(!shown.includes(CANARY), shown);
    assert.ok(!shown.includes(STABILITY_KEY), shown);
  }
});

test('a picture Stability withholds is blocked, and the blurred one goes nowhere', async (t) => {
  const server = await during(t, createStabilityServer());
  const provider = stableDiffusion({ url: server.url, protocol: 'stability', apiKey: STABILITY_KEY });
  const prompt = STABILITY_PROMPTS.withheld;
  assert.deepEqual(await outcome(provider, { prompt }), {
    events: [{ type: 'blocked', index: 0, reason: 'content_filtered', stage: 'output' }, { type: 'end' }],
    thrown: undefined,
  });
  assert.equal((await pictures(provider)).length, 1);
});

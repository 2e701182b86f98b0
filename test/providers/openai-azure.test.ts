import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { inspect } from 'node:util';
import { AzureOpenAI } from 'openai';
import type { GenerateCall, Provider } from '../../src/core/provider.js';
import { isProviderError } from '../../src/errors.js';
import { type OpenAIOptions, openai } from '../../src/providers/openai.js';
import { generateCall, modelOf, outcomeOf } from '../support/generate-call.js';
import {
  answers,
  createOpenAIUpstream,
  formBody,
  jsonBody,
  type OpenAIUpstream,
  PIXEL_PNG,
  streamFrames,
} from '../support/openai-upstream.js';

const apiVersion = '2025-04-01-preview';
const QUERY = `?api-version=${apiVersion}`;
const EDIT = { operation: 'edit', inputs: [{ bytes: PIXEL_PNG, type: 'image/png' }] } as const;

interface Setting {
  readonly upstream: OpenAIUpstream;
  /** Where it is, as an endpoint. */
  readonly endpoint: string;
  /** Makes a provider in front of it, with a key unless a token provider is given. */
  make(deployment?: string | Record<string, string>, options?: OpenAIOptions): Provider;
}

async function setting(t: TestContext): Promise<Setting> {
  const upstream = await createOpenAIUpstream();
  t.after(() => upstream.close());
  const { origin: endpoint } = new URL(upstream.url);
  return {
    upstream,
    endpoint,
    make(deployment, options = {}) {
      const apiKey = options.azureADTokenProvider === undefined ? 'azure-key' : undefined;
      return openai({ apiKey, azure: { endpoint, apiVersion, deployment }, ...options });
    },
  };
}

async function run(provider: Provider, slug: string, changes: Partial<GenerateCall> = {}) {
  return await outcomeOf(provider, generateCall(modelOf(provider, slug), changes));
}

const deployments: readonly (readonly [
  what: string,
  deployment: string | Record<string, string> | undefined,
  slug: string,
  name: string,
])[] = [
  ['named like the model', undefined, 'openai/gpt-image-1.5', 'gpt-image-1.5'],
  ['that takes every request', 'drawing', 'openai/gpt-image-2', 'drawing'],
  ['named for the model', { 'dall-e-3': 'old', 'gpt-image-2': 'new' }, 'openai/gpt-image-2', 'new'],
];
for (const [what, deployment, slug, name] of deployments) {
  test(`pictures are drawn and edited by a deployment ${what}`, async (t) => {
    const { upstream, make } = await setting(t);
    const provider = make(deployment);
    assert.equal((await run(provider, slug)).thrown, undefined);
    assert.equal((await run(provider, slug, EDIT)).thrown, undefined);
    const path = `/openai/deployments/${name}/images`;
    assert.deepEqual(
      upstream.requests.map((request) => request.path),
      [`${path}/generations${QUERY}`, `${path}/edits${QUERY}`],
    );
    const id = slug.slice('openai/'.length);
    assert.equal(jsonBody(upstream.requests[0]).model, id);
    assert.equal((await formBody(upstream.requests[1])).get('model'), id);
  });
}

test('slashes at the end of an endpoint are none of the path', async (t) => {
  const { upstream, endpoint } = await setting(t);
  const provider = openai({ apiKey: 'azure-key', azure: { endpoint: `${endpoint}//`, apiVersion } });
  await run(provider, 'openai/dall-e-3');
  assert.equal(upstream.requests[0]?.path, `/openai/deployments/dall-e-3/images/generations${QUERY}`);
});

test('deployments by model leave no other model on offer', async (t) => {
  const { make } = await setting(t);
  const slugs = (provider: Provider) => provider.models.map(({ slug }) => slug);
  assert.deepEqual(slugs(make({ 'gpt-image-2': 'a', 'dall-e-3': 'b' })), [
    'openai/gpt-image-2',
    'openai/dall-e-3',
  ]);
  const models = [{ like: 'gpt-image-2', id: 'gpt-image-3' }];
  assert.deepEqual(slugs(make({ 'gpt-image-3': 'a' }, { models })), ['openai/gpt-image-3']);
  assert.ok(slugs(make()).length > 5, 'without names all models are on offer');
});

test('at Azure nothing retires, and nobody vouches for credentials', async (t) => {
  const { make } = await setting(t);
  for (const provider of [
    make(),
    openai({ apiKey: 'k', azure: { endpoint: 'https://x.openai.azure.com', apiVersion } }),
  ]) {
    assert.ok(
      provider.models.every(({ lifecycle }) => lifecycle === undefined),
      'a model has an end',
    );
    assert.equal(provider.contentCredentials, false);
  }
});

test('a key goes into its own header', async (t) => {
  const { upstream, make } = await setting(t);
  const provider = make();
  await run(provider, 'openai/gpt-image-2');
  await run(provider, 'openai/gpt-image-2', EDIT);
  for (const { headers } of upstream.requests) {
    assert.equal(headers['api-key'], 'azure-key');
    assert.equal(headers.authorization, undefined);
  }
});

test('a token is asked for before each call and goes into the header of tokens', async (t) => {
  const { upstream, make } = await setting(t);
  let tokens = 0;
  const azureADTokenProvider = async () => {
    tokens += 1;
    return `token-${tokens}`;
  };
  const provider = make(undefined, { azureADTokenProvider });
  assert.equal(tokens, 0);
  await run(provider, 'openai/gpt-image-2');
  await run(provider, 'openai/gpt-image-2', EDIT);
  assert.deepEqual(
    upstream.requests.map(({ headers }) => [headers.authorization, headers['api-key']]),
    [
      ['Bearer token-1', undefined],
      ['Bearer token-2', undefined],
    ],
  );
});

const providers: Readonly<Record<string, () => Promise<string>>> = {
  rejects: () => Promise.reject(new Error('secret-canary')),
  throws() {
    throw new Error('secret-canary');
  },
  'gives none': () => Promise.resolve(undefined as unknown as string),
  'gives what no header can hold': () => Promise.resolve('secret-canary\r\nX-Evil: 1'),
};
for (const [what, azureADTokenProvider] of Object.entries(providers)) {
  test(`a token provider that ${what} is the account's trouble, and nothing is sent`, async (t) => {
    const { upstream, make } = await setting(t);
    const provider = make(undefined, { azureADTokenProvider });
    const { thrown } = await run(provider, 'openai/gpt-image-2');
    assert.ok(isProviderError(thrown), `a ProviderError, not ${thrown}`);
    assert.deepEqual([thrown.kind, thrown.billed], ['account', 'no']);
    assert.ok(!inspect(thrown, { depth: 10, showHidden: true }).includes('canary'), inspect(thrown));
    assert.equal(upstream.requests.length, 0);
  });
}

test('an abort ends the wait for a token', { timeout: 10_000 }, async (t) => {
  const { make } = await setting(t);
  const provider = make(undefined, { azureADTokenProvider: () => new Promise(() => {}) });
  const controller = new AbortController();
  const reason = new Error('the client left');
  setTimeout(() => controller.abort(reason), 20);
  const { thrown } = await run(provider, 'openai/gpt-image-2', { signal: controller.signal });
  assert.equal(thrown, reason);
});

test('nothing of the environment reaches a request to Azure', async (t) => {
  const ambient = {
    AZURE_OPENAI_API_KEY: 'ambient-azure-key',
    AZURE_OPENAI_ENDPOINT: 'http://127.0.0.1:9/ambient',
    OPENAI_API_VERSION: '2020-ambient',
    OPENAI_API_KEY: 'sk-ambient',
    OPENAI_ADMIN_KEY: 'sk-ambient-admin',
    OPENAI_BASE_URL: 'http://127.0.0.1:9/ambient',
    OPENAI_ORG_ID: 'org-ambient',
    OPENAI_PROJECT_ID: 'proj-ambient',
    OPENAI_CUSTOM_HEADERS: 'Authorization: Bearer sk-ambient\napi-key: sk-ambient',
  };
  const before = { ...process.env };
  Object.assign(process.env, ambient);
  t.after(() => {
    for (const name of Object.keys(ambient)) {
      if (before[name] === undefined) delete process.env[name];
      else process.env[name] = before[name];
    }
  });
  const { upstream, make } = await setting(t);
  for (const provider of [make(), make(undefined, { azureADTokenProvider: async () => 'token' })]) {
    assert.equal((await run(provider, 'openai/gpt-image-2')).thrown, undefined);
    assert.equal((await run(provider, 'openai/gpt-image-2', EDIT)).thrown, undefined);
  }
  assert.equal(upstream.requests.length, 4);
  for (const { headers, path } of upstream.requests) {
    assert.ok(!JSON.stringify({ headers, path }).includes('ambient'), JSON.stringify(headers));
  }
});

for (const own of [undefined, 'own-deployment']) {
  test(`a client of the host's for Azure is copied with ${own ?? 'the model as'} deployment`, async (t) => {
    const { upstream, endpoint } = await setting(t);
    const client = new AzureOpenAI({ apiKey: 'host-key', endpoint, apiVersion, deployment: own });
    const provider = openai({ client });
    assert.equal(provider.contentCredentials, false);
    assert.equal((await run(provider, 'openai/gpt-image-2')).thrown, undefined);
    assert.equal((await run(provider, 'openai/gpt-image-2', EDIT)).thrown, undefined);
    const path = `/openai/deployments/${own ?? 'gpt-image-2'}/images`;
    assert.deepEqual(
      upstream.requests.map((request) => [request.path, request.headers['api-key']]),
      [
        [`${path}/generations${QUERY}`, 'host-key'],
        [`${path}/edits${QUERY}`, 'host-key'],
      ],
    );
  });
}

test("a client of the host's for Azure that has tokens keeps them", async (t) => {
  const { upstream, endpoint } = await setting(t);
  const client = new AzureOpenAI({ azureADTokenProvider: async () => 'host-token', endpoint, apiVersion });
  assert.equal((await run(openai({ client }), 'openai/gpt-image-2')).thrown, undefined);
  assert.equal(upstream.requests[0]?.headers.authorization, 'Bearer host-token');
});

test('Azure streams previews of pictures drawn and edited', async (t) => {
  const { upstream, make } = await setting(t);
  const provider = make('drawing');
  for (const [changes, prefix] of [
    [{}, 'image_generation'],
    [EDIT, 'image_edit'],
  ] as const) {
    upstream.respondWith(answers.stream(streamFrames({ prefix, previews: 1 })));
    const { events } = await run(provider, 'openai/gpt-image-1.5', { ...changes, previews: 1 });
    assert.deepEqual(
      events.map(({ type }) => type),
      ['preview', 'image', 'end'],
    );
  }
});

type Refusal = readonly [what: string, status: number, error: object, kind: string, billed: string];

const refusals: readonly Refusal[] = [
  ['a deployment that is not there', 404, { code: 'DeploymentNotFound' }, 'account', 'no'],
  ['a wrong key', 401, { code: '401' }, 'account', 'no'],
  [
    'what its filter refuses',
    400,
    { code: 'content_policy_violation', inner_error: { code: 'ResponsibleAIPolicyViolation' } },
    'content_filtered',
    // The same word for prompts and for pictures that were drawn, whose tokens are counted.
    'unknown',
  ],
  ['a rate limit', 429, { code: '429' }, 'rate_limited', 'no'],
];
for (const [what, status, error, kind, billed] of refusals) {
  test(`Azure's answer to ${what} is '${kind}', billed '${billed}'`, async (t) => {
    const { upstream, make } = await setting(t);
    upstream.respondWith(answers.json(status, { error: { message: 'upstream-secret', ...error } }));
    const { thrown } = await run(make(), 'openai/gpt-image-2');
    assert.ok(isProviderError(thrown), `a ProviderError, not ${thrown}`);
    assert.deepEqual([thrown.kind, thrown.billed, thrown.status], [kind, billed, status]);
  });
}

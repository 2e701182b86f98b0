import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { inspect } from 'node:util';
import { grpc } from 'google-gax';
import sharp from 'sharp';
import { isProviderError } from '../../src/errors.js';
import { type ClientOptions, type ImagenOptions, imagen } from '../../src/providers/imagen.js';
import { createUpstreamFetch } from '../../src/providers/upstream.js';
import { type CreateProvider, providerChecks } from '../../src/testing/provider-checks.js';
import { generateCall, modelOf, outcomeOf } from '../support/generate-call.js';
import { createGrpcUpstream, type RawAnswer } from '../support/google-grpc.js';
import { startGoogle } from '../support/google-providers.js';
import type { HttpAnswer } from '../support/google-rest.js';
import { only, overBoth, startFor, type Transport } from '../support/google-tests.js';
import {
  content,
  failures,
  type GoogleBody,
  type GoogleHandler,
  inlineData,
  pictures,
  prediction,
  predictions,
  promptOf,
} from '../support/google-upstream.js';
import { testChecks } from '../support/run-checks.js';
import { selfSigned } from '../support/self-signed.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const RAI = "This prompt contains words that violate Google's Responsible AI practices.";

const FAILURES = [
  ['a wrong request', failures.invalidArgument(), 'rejected', 'no'],
  ['a refused prompt', failures.invalidArgument(`${RAI} Support codes: 42876398`), 'content_filtered', 'no'],
  ['a late answer', failures.deadline(), 'timeout', 'unknown'],
  ['an unknown model', failures.notFound(), 'account', 'no'],
  ['a forbidden project', failures.permission(), 'account', 'no'],
  ['a used-up quota', failures.quota(), 'rate_limited', 'no'],
  ['an internal error', failures.internal(), 'unavailable', 'unknown'],
  ['an overloaded service', failures.unavailable(), 'unavailable', 'no'],
  ['a wrong token', failures.unauthenticated(), 'account', 'no'],
  ['a cut connection', { cut: true }, 'unavailable', 'unknown'],
] as const;

for (const [what, answer, kind, billed] of FAILURES) {
  overBoth(`${what} is ${kind}, billed: ${billed}`, async (t, transport) => {
    const { provider, upstream, model } = await startFor(t, transport);
    upstream.respondWith(only(answer));
    const { thrown } = await outcomeOf(provider, generateCall(model('imagen-4')));
    assert.ok(isProviderError(thrown), String(thrown));
    assert.deepEqual([thrown.kind, thrown.billed], [kind, billed]);
    assert.equal(thrown.retryAfter, undefined);
  });
}

for (const [message, billed] of [
  ['The service is currently unavailable.', 'no'],
  ['Received HTTP status code 503', 'no'],
  ['Received HTTP status code 502', 'unknown'],
  ['read ECONNRESET', 'unknown'],
  ['Connection dropped', 'unknown'],
  ['upstream connect error or disconnect/reset before headers', 'unknown'],
] as const) {
  test(`grpc: UNAVAILABLE in the words '${message}' is billed: ${billed}`, async (t) => {
    const { provider, upstream, model } = await startFor(t, 'grpc');
    upstream.respondWith(only({ failure: { code: 14, status: 'UNAVAILABLE', httpStatus: 503, message } }));
    const { thrown } = await outcomeOf(provider, generateCall(model('imagen-4')));
    assert.ok(isProviderError(thrown), String(thrown));
    assert.deepEqual([thrown.kind, thrown.billed], ['unavailable', billed]);
  });
}

overBoth('a used-up quota says when to come again', async (t, transport) => {
  const { provider, upstream, model } = await startFor(t, transport);
  for (const [seconds, expected] of [
    [16.5, 17],
    [0, 1],
    [90_000, 3_600],
  ] as const) {
    upstream.respondWith(only(failures.quota(seconds)));
    const { thrown } = await outcomeOf(provider, generateCall(model('nano-banana-2.1')));
    assert.ok(isProviderError(thrown));
    assert.equal(thrown.retryAfter, expected);
  }
});

overBoth('a server that cannot be reached has billed nothing', async (t, transport) => {
  const { provider, upstream, model } = await startFor(t, transport);
  await upstream.close();
  const { thrown } = await outcomeOf(provider, generateCall(model('imagen-4')));
  await upstream.close().catch(() => undefined);
  assert.ok(isProviderError(thrown));
  assert.deepEqual([thrown.kind, thrown.billed], ['unavailable', 'no']);
});

overBoth('prompts and answers of Google appear in no error', async (t, transport) => {
  const { provider, upstream, model } = await startFor(t, transport);
  const secret = 'CANARY-4711';
  upstream.respondWith((request) => failures.invalidArgument(`Bad: ${promptOf(request)}`));
  const { thrown } = await outcomeOf(provider, generateCall(model('imagen-4'), { prompt: secret }));
  assert.ok(!inspect(thrown, { depth: 9, showHidden: true }).includes(secret));
});

for (const [what, reason] of [
  ['a cancellation', { why: 'the client left' }],
  ['a deadline', new DOMException('The time is up.', 'TimeoutError')],
] as const) {
  overBoth(`${what} ends a call with its reason, and the server sees it`, async (t, transport) => {
    const { provider, upstream, model } = await startFor(t, transport);
    upstream.respondWith(only({ silence: true }));
    for (const [before, name] of ['imagen-4', 'nano-banana-2.1'].entries()) {
      const controller = new AbortController();
      const running = outcomeOf(provider, generateCall(model(name), { signal: controller.signal }));
      await upstream.arrived(before + 1);
      controller.abort(reason);
      assert.equal((await running).thrown, reason);
      assert.equal(await upstream.requests[before]?.left, true);
    }
  });
}

overBoth(
  'a reader that leaves after the first picture ends the requests for the others',
  async (t, transport) => {
    const { provider, upstream, model } = await startFor(t, transport);
    upstream.respondWith(async (request) => {
      if (request.body.parameters?.seed !== 1) return { silence: true };
      await upstream.arrived(2);
      return pictures()(request);
    });
    for await (const event of provider.generate(generateCall(model('imagen-4'), { n: 2, seed: 1 }))) {
      assert.equal(event.type, 'image');
      break;
    }
    const silent = upstream.requests.find(({ body }) => body.parameters?.seed === 2);
    assert.equal(await silent?.left, true);
  },
);

overBoth('an answer above the cap is cut', async (t, transport) => {
  const maxBytes = 1024 * 1024;
  const { provider, upstream, model } = await startFor(t, transport, { maxAnswerBytes: maxBytes });
  upstream.respondWith(pictures('A'.repeat(2 * maxBytes)));
  const signal = new AbortController().signal;
  const fetch = createUpstreamFetch({ maxBytes, signal });
  const { thrown } = await outcomeOf(provider, generateCall(model('imagen-4'), { signal, fetch }));
  assert.ok(isProviderError(thrown));
  assert.equal(thrown.kind, 'shape');
});

/** Credentials of the host's: a token, or none. */
function credentials(token: string | undefined) {
  return {
    async getRequestHeaders(): Promise<Headers> {
      if (token === undefined) throw new Error('no token for CANARY-4711');
      return new Headers({ authorization: `Bearer ${token}` });
    },
  };
}

test('rest: the token is that of the credentials', async (t) => {
  const clientOptions = { protocol: 'http', authClient: credentials('t0ken') } as unknown as ClientOptions;
  const { provider, upstream, model } = await startFor(t, 'rest', { clientOptions });
  await outcomeOf(provider, generateCall(model('imagen-4')));
  assert.equal(upstream.requests[0]?.headers.authorization, 'Bearer t0ken');
});

test('rest: credentials without a token are trouble of the account, and nothing is sent', async (t) => {
  const clientOptions = { protocol: 'http', authClient: credentials(undefined) } as unknown as ClientOptions;
  const { provider, upstream, model } = await startFor(t, 'rest', { clientOptions });
  const { thrown } = await outcomeOf(provider, generateCall(model('imagen-4')));
  assert.ok(isProviderError(thrown));
  assert.deepEqual([thrown.kind, thrown.billed], ['account', 'no']);
  assert.ok(!inspect(thrown, { depth: 9 }).includes('CANARY'));
  assert.equal(upstream.requests.length, 0);
});

/** A server with TLS, and a provider that trusts its certificate or does not. */
async function startTls(t: TestContext, options: { readonly trusts: boolean; readonly token?: string }) {
  const identity = selfSigned();
  const upstream = await createGrpcUpstream(identity);
  const authClient = credentials(options.token);
  const { combineChannelCredentials, createSsl, createFromGoogleCredential } = grpc.credentials;
  const sslCreds = combineChannelCredentials(
    createSsl(options.trusts ? Buffer.from(identity.certificate) : null),
    createFromGoogleCredential({
      getRequestHeaders: async () => Object.fromEntries(await authClient.getRequestHeaders()),
    }),
  );
  const provider = imagen({
    project: 'easel',
    apiEndpoint: `localhost:${upstream.port}`,
    clientOptions: { sslCreds, authClient } as unknown as ClientOptions,
  });
  t.after(async () => {
    await provider.close?.();
    await upstream.close();
  });
  return { upstream, provider, call: generateCall(modelOf(provider, 'google/imagen-4')) };
}

test('grpc: with TLS the call goes through, with the token of the credentials', async (t) => {
  const { upstream, provider, call } = await startTls(t, { trusts: true, token: 't0ken' });
  const { events } = await outcomeOf(provider, call);
  assert.equal(events.length, 2);
  assert.equal(upstream.requests[0]?.headers.authorization, 'Bearer t0ken');
});

test('grpc: a certificate nobody trusts is not spoken to', async (t) => {
  const { upstream, provider, call } = await startTls(t, { trusts: false, token: 't0ken' });
  const { thrown } = await outcomeOf(provider, call);
  assert.ok(isProviderError(thrown));
  assert.deepEqual([thrown.kind, thrown.billed], ['unavailable', 'no']);
  assert.equal(upstream.requests.length, 0);
});

test('grpc: credentials without a token are trouble of the account, and nothing is sent', async (t) => {
  const { upstream, provider, call } = await startTls(t, { trusts: true });
  const { thrown } = await outcomeOf(provider, call);
  assert.ok(isProviderError(thrown));
  assert.deepEqual([thrown.kind, thrown.billed], ['account', 'no']);
  assert.ok(!inspect(thrown, { depth: 9 }).includes('CANARY'));
  assert.equal(upstream.requests.length, 0);
});

test('grpc: an answer that is no message is malformed', async (t) => {
  const { provider, upstream, model } = await startFor(t, 'grpc');
  const answer: RawAnswer = { raw: Buffer.from([0xff, 0xff, 0xff, 0xff]) };
  upstream.respondWith(only({ json: answer }));
  const { thrown } = await outcomeOf(provider, generateCall(model('imagen-4')));
  assert.ok(isProviderError(thrown));
  assert.equal(thrown.kind, 'shape');
});

test('grpc: what could not be prepared once is prepared anew', async (t) => {
  const keyFilename = join(await temporaryFolder(t), 'key.json');
  const provider = imagen({ project: 'easel', clientOptions: { keyFilename } });
  t.after(() => provider.close?.());
  const failed = await provider.warmup?.().catch((error: unknown) => error);
  assert.ok(isProviderError(failed));
  assert.deepEqual([failed.kind, failed.billed], ['account', 'no']);
  const key = { type: 'authorized_user', client_id: 'id', client_secret: 'secret', refresh_token: 'token' };
  await writeFile(keyFilename, JSON.stringify(key));
  await provider.warmup?.();
});

const ODD_ANSWERS: readonly (readonly [string, HttpAnswer, kind: string])[] = [
  ['HTML', { httpStatus: 200, text: '<html>CANARY</html>' }, 'shape'],
  ['nothing', { httpStatus: 200, text: '' }, 'shape'],
  ['no content', { httpStatus: 204, text: '' }, 'shape'],
  ['null', { httpStatus: 200, text: 'null' }, 'shape'],
  ['a list', { httpStatus: 200, text: '[{"predictions":[]}]' }, 'shape'],
  ['a string', { httpStatus: 200, text: '"CANARY"' }, 'shape'],
  ['a byte order mark', { httpStatus: 200, text: '\ufeff{}' }, 'shape'],
  ['half an answer', { httpStatus: 200, text: '{"predictions":[{"bytesBase64' }, 'shape'],
  ['another type', { httpStatus: 200, text: '{"predictions":"CANARY"}' }, 'shape'],
  ['a redirect', { httpStatus: 307, text: '', headers: { location: 'http://169.254.169.254/' } }, 'shape'],
  ["a proxy's 502", { httpStatus: 502, text: '<html>CANARY</html>' }, 'unavailable'],
  ["a proxy's 504", { httpStatus: 504, text: 'CANARY' }, 'timeout'],
  ["a proxy's 429", { httpStatus: 429, text: 'CANARY', headers: { 'retry-after': '7' } }, 'rate_limited'],
  ["a proxy's 413", { httpStatus: 413, text: 'CANARY' }, 'rejected'],
];

for (const [what, answer, kind] of ODD_ANSWERS) {
  test(`rest: ${what} is ${kind}`, async (t) => {
    const { provider, upstream, model } = await startFor(t, 'rest');
    upstream.respondWith(only({ json: answer }));
    const { events, thrown } = await outcomeOf(provider, generateCall(model('imagen-4')));
    assert.deepEqual(events, []);
    assert.ok(isProviderError(thrown), String(thrown));
    assert.equal(thrown.kind, kind);
    assert.equal(thrown.retryAfter, kind === 'rate_limited' ? 7 : undefined);
    assert.ok(!inspect(thrown, { depth: 9, showHidden: true }).includes('CANARY'));
  });
}

for (const [status, billed] of [
  [503, 'no'],
  [502, 'unknown'],
] as const) {
  test(`rest: a proxy's ${status} is billed: ${billed}`, async (t) => {
    const { provider, upstream, model } = await startFor(t, 'rest');
    upstream.respondWith(only({ json: { httpStatus: status, text: '<html>' } }));
    const { thrown } = await outcomeOf(provider, generateCall(model('imagen-4')));
    assert.ok(isProviderError(thrown), String(thrown));
    assert.deepEqual([thrown.kind, thrown.billed], ['unavailable', billed]);
  });
}

const FAILING = 'a prompt that fails';
const BLOCKED = 'a prompt that is blocked';

/** The tokens of one picture in the image size asked for, and of its inputs. */
function usageOf({ contents = [], generationConfig }: GoogleBody): object {
  const { imageSize } = (generationConfig?.imageConfig ?? {}) as { readonly imageSize?: string };
  const drawnTokens = imageSize === '512' ? 747 : 1_120;
  const inputs = contents.flatMap(({ parts }) =>
    parts.filter(({ inlineData: input }) => input !== undefined),
  );
  const [text, image] = [12, inputs.length * 258];
  return {
    promptTokenCount: text + image,
    candidatesTokenCount: drawnTokens,
    promptTokensDetails: [
      { modality: 1, tokenCount: text },
      { modality: 2, tokenCount: image },
    ],
    candidatesTokensDetails: [{ modality: 2, tokenCount: drawnTokens }],
  };
}

/** Draws the formats it is asked for, and the same for the same seed. */
const drawn: GoogleHandler = async (request) => {
  const prompt = promptOf(request);
  if (prompt === FAILING) return failures.quota(3);
  if (prompt === BLOCKED)
    return request.rpc === 'predict' ? predictions() : content([], { finishReason: 11 });
  const { parameters, generationConfig } = request.body;
  const config = generationConfig?.imageConfig as { imageOutputOptions?: object } | undefined;
  const { mimeType = 'image/png' } = (parameters?.outputOptions ?? config?.imageOutputOptions ?? {}) as {
    mimeType?: string;
  };
  const background = { r: Number(parameters?.seed ?? 0) % 256, g: 0, b: 0 };
  const bytes = await sharp({ create: { width: 8, height: 8, channels: 3, background } })
    .toFormat(mimeType.slice('image/'.length) as 'png')
    .toBuffer();
  const data = bytes.toString('base64');
  if (request.rpc === 'generateContent') {
    return content([inlineData(data, mimeType)], {}, usageOf(request.body));
  }
  const one = prediction(data, { mimeType });
  return predictions(...Array.from({ length: Number(parameters?.sampleCount) }, () => one));
};

function conforming(transport: Transport): CreateProvider {
  return async () => {
    const bench = await startGoogle(transport);
    bench.upstream.respondWith(drawn);
    return {
      provider: bench.provider,
      failingPrompt: FAILING,
      blockedPrompt: BLOCKED,
      upstreamCalls: () => bench.upstream.requests.length,
      close: () => bench.upstream.close(),
    };
  };
}

// Google is asked for shapes: the exact pixels of all sizes are the router's to make, which another test shows.
const checks = providerChecks.filter(({ id }) => id !== 'pictures.size');
for (const transport of ['grpc', 'rest'] as const) testChecks(transport, checks, conforming(transport));

test('a factory does nothing by itself', () => {
  const provider = imagen({ project: 'easel' });
  assert.equal(provider.name, 'imagen');
  assert.equal(provider.ownTransport, true);
  assert.equal(imagen({ project: 'easel', transport: 'rest' }).ownTransport, false);
});

test('closing what was never used is nothing', async () => {
  await imagen({ project: 'easel' }).close?.();
});

const ELSEWHERE: readonly Partial<ImagenOptions>[] = [
  { apiEndpoint: 'images.example' },
  { apiEndpoint: '127.0.0.1:8080' },
  { apiEndpoint: 'googleapis.com.example' },
  { clientOptions: { port: 8080 } },
  { clientOptions: { universeDomain: 'cloud.example' } },
];

test('only at Google itself are models retired and pictures signed', () => {
  const isGoogle = (options: Partial<ImagenOptions>) => {
    const provider = imagen({ project: 'easel', ...options });
    const retired = modelOf(provider, 'google/imagen-4').lifecycle !== undefined;
    assert.equal(provider.contentCredentials, retired);
    return retired;
  };
  for (const options of [{}, { location: 'us' }, { apiEndpoint: 'us-central1-aiplatform.googleapis.com' }]) {
    assert.ok(isGoogle(options), inspect(options));
  }
  for (const options of ELSEWHERE) assert.ok(!isGoogle(options), inspect(options));
});

const WRONG: readonly (readonly [string, object])[] = [
  ['imagen.project', {}],
  ['imagen.project', { project: 'a/../b' }],
  ['imagen.project', { project: '' }],
  ['imagen.name', { name: '' }],
  ['imagen.location', { location: 'global/publishers/other' }],
  ['imagen.transport', { transport: 'http' }],
  ['imagen.apiEndpoint', { apiEndpoint: 'https://images.example' }],
  ['imagen.clientOptions', { clientOptions: { fallback: true } }],
  ['imagen.retired', { retired: 'ignore' }],
  ['imagen.personGeneration', { personGeneration: 'all' }],
  ['imagen.safetySetting', { safetySetting: 'off' }],
  ['imagen.maxAnswerBytes', { maxAnswerBytes: 0 }],
  ['imagen.models', { models: {} }],
  ['imagen.models[0].like', { models: [{ like: 'imagen-9', id: 'imagen-10' }] }],
  ['imagen.apiKey', { apiKey: 'elsewhere' }],
];

for (const [path, options] of WRONG) {
  test(`a wrong option is named: ${inspect(options)}`, () => {
    const project = path === 'imagen.project' ? {} : { project: 'easel' };
    assert.throws(() => imagen({ ...project, ...options } as ImagenOptions), { name: 'ConfigError', path });
  });
}

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import OpenAI from 'openai';
import type { GenerateCall } from '../../src/core/provider.js';
import { isProviderError, type ProviderError } from '../../src/errors.js';
import { type OpenAIOptions, openai } from '../../src/providers/openai.js';
import { createUpstreamFetch } from '../../src/providers/upstream.js';
import { generateCall, modelOf, outcomeOf } from '../support/generate-call.js';
import {
  answers,
  createOpenAIUpstream,
  jsonBody,
  type OpenAIUpstream,
  PIXEL_PNG,
} from '../support/openai-upstream.js';

interface Setting {
  readonly upstream: OpenAIUpstream;
  /** Runs one call of a model. */
  run(slug: string, changes?: Partial<GenerateCall>): ReturnType<typeof outcomeOf>;
}

async function setting(t: TestContext, options: OpenAIOptions = {}): Promise<Setting> {
  const upstream = await createOpenAIUpstream();
  t.after(() => upstream.close());
  const own = options.client === undefined ? { apiKey: 'sk-test', baseURL: upstream.url } : {};
  const provider = openai({ ...own, ...options });
  return {
    upstream,
    run: (slug, changes) => outcomeOf(provider, generateCall(modelOf(provider, slug), changes)),
  };
}

function shapeOf(thrown: unknown): ProviderError {
  assert.ok(isProviderError(thrown), `a ProviderError, not ${thrown}`);
  assert.equal(thrown.kind, 'shape');
  assert.equal(thrown.billed, 'unknown');
  return thrown;
}

// ---- Requests ----

test('a DALL·E 3 request holds what DALL·E 3 takes and nothing else, to the byte', async (t) => {
  const { upstream, run } = await setting(t);
  await run('openai/dall-e-3', {
    size: { width: 1792, height: 1024 },
    quality: 'hd',
    style: 'natural',
    endUser: 'user-7',
    seed: 7,
    negativePrompt: 'rain',
    background: 'opaque',
    outputFormat: 'png',
    outputCompression: 50,
    metadata: { job: 'a label' },
  });
  const [request] = upstream.requests;
  assert.equal(request?.method, 'POST');
  assert.equal(request?.path, '/v1/images/generations');
  assert.equal(request?.headers.authorization, 'Bearer sk-test');
  assert.equal(request?.headers['content-type'], 'application/json');
  assert.equal(request?.headers['x-client-request-id'], 'req_test');
  assert.equal(
    request?.body.toString(),
    '{"model":"dall-e-3","prompt":"A lighthouse at dusk","n":1,"size":"1792x1024","quality":"hd",' +
      '"style":"natural","response_format":"b64_json","user":"user-7"}',
  );
});

test('a DALL·E 2 request has neither quality nor style', async (t) => {
  const { upstream, run } = await setting(t);
  await run('openai/dall-e-2', { n: 2, size: { width: 256, height: 256 }, quality: 'standard' });
  assert.equal(
    upstream.requests[0]?.body.toString(),
    '{"model":"dall-e-2","prompt":"A lighthouse at dusk","n":2,"size":"256x256","response_format":"b64_json"}',
  );
});

test('a GPT Image request has neither response_format nor style, to the byte', async (t) => {
  const { upstream, run } = await setting(t, { moderation: 'low' });
  await run('openai/gpt-image-2.6-flare', {
    n: 3,
    size: { width: 1600, height: 896 },
    quality: 'xhigh',
    style: 'vivid',
    background: 'transparent',
    outputFormat: 'webp',
    outputCompression: 60,
    endUser: 'user-7',
  });
  assert.equal(
    upstream.requests[0]?.body.toString(),
    '{"model":"gpt-image-2.6-flare","prompt":"A lighthouse at dusk","n":3,"size":"1600x896",' +
      '"quality":"xhigh","background":"transparent","output_format":"webp","output_compression":60,' +
      '"moderation":"low","user":"user-7"}',
  );
});

test('what nobody asked for is not sent', async (t) => {
  const { upstream, run } = await setting(t);
  await run('openai/gpt-image-2');
  assert.equal(
    upstream.requests[0]?.body.toString(),
    '{"model":"gpt-image-2","prompt":"A lighthouse at dusk","n":1,"size":"auto"}',
  );
});

test('a model that does not know the word auto draws its default size without it', async (t) => {
  const { upstream, run } = await setting(t);
  await run('openai/dall-e-3', { size: 'auto' });
  assert.ok(!('size' in jsonBody(upstream.requests[0])));
});

test('compression is sent with formats that have it only', async (t) => {
  const { upstream, run } = await setting(t);
  await run('openai/gpt-image-2', { outputFormat: 'jpeg', outputCompression: 0 });
  await run('openai/gpt-image-2', { outputFormat: 'png', outputCompression: 50 });
  assert.equal(jsonBody(upstream.requests[0]).output_compression, 0);
  assert.ok(!('output_compression' in jsonBody(upstream.requests[1])));
});

const prompts = {
  "with OpenAI's no-rewrite prefix":
    'I NEED to test how the tool works with extremely simple prompts. DO NOT add any detail, just use it AS-IS: a red cube',
  'with every kind of character': ' \tZwölf Boxkämpfer 🦊👩‍👩‍👧\u202e\n"\\u0000" \u2028 日本語 e\u0301 é ',
  'that looks like another field': '"}, "n": 10, "model": "gpt-image-2',
};
for (const [kind, prompt] of Object.entries(prompts)) {
  test(`a prompt ${kind} arrives byte for byte`, async (t) => {
    const { upstream, run } = await setting(t);
    await run('openai/dall-e-3', { prompt });
    const [request] = upstream.requests;
    assert.equal(jsonBody(request).prompt, prompt);
    assert.ok(request?.body.includes(Buffer.from(JSON.stringify(prompt))));
  });
}

test('metadata.moderation overrides the setting of the host that allows it', async (t) => {
  const { upstream, run } = await setting(t, { moderation: 'low', allow: { moderation: ['auto', 'low'] } });
  await run('openai/gpt-image-2', { metadata: { moderation: 'auto' } });
  assert.equal(jsonBody(upstream.requests[0]).moderation, 'auto');
});

test('models declare the metadata keys that the host allows, where they have them', () => {
  const keysOf = (allow: OpenAIOptions['allow']) => {
    const { models } = openai({ apiKey: 'sk-test', allow });
    return ['gpt-image-1.5', 'gpt-image-2', 'dall-e-3'].map(
      (id) => models.find(({ slug }) => slug === `openai/${id}`)?.metadataKeys,
    );
  };
  assert.deepEqual(keysOf(undefined), [[], [], []]);
  assert.deepEqual(keysOf({ input_fidelity: ['low', 'high'] }), [['input_fidelity'], [], []]);
  assert.deepEqual(keysOf({ moderation: ['auto'] }), [['moderation'], ['moderation'], []]);
});

for (const [path, allow] of [
  ['openai.allow', 'all'],
  ['openai.allow.steps', { steps: ['1'] }],
  ['openai.allow.moderation', { moderation: [] }],
  ['openai.allow.moderation', { moderation: 'low' }],
  ['openai.allow.input_fidelity', { input_fidelity: ['low', 'max'] }],
] as const) {
  test(`what clients may choose is checked: ${JSON.stringify(allow)}`, () => {
    const options = { apiKey: 'sk-test', allow } as unknown as OpenAIOptions;
    assert.throws(() => openai(options), { name: 'ConfigError', path });
  });
}

test('a metadata.moderation is a label where the host does not allow it', async (t) => {
  const { upstream, run } = await setting(t, { moderation: 'auto', allow: { input_fidelity: ['low'] } });
  const { thrown } = await run('openai/gpt-image-2', { metadata: { moderation: 'low' } });
  assert.equal(thrown, undefined);
  assert.equal(jsonBody(upstream.requests[0]).moderation, 'auto');
});

test('a metadata.moderation beyond what the host allows is refused before anything is sent', async (t) => {
  const { upstream, run } = await setting(t, { allow: { moderation: ['auto'] } });
  const { thrown } = await run('openai/gpt-image-2', { metadata: { moderation: 'low' } });
  assert.ok(isProviderError(thrown), `a ProviderError, not ${thrown}`);
  assert.deepEqual([thrown.kind, thrown.message], ['rejected', 'metadata.moderation must be "auto".']);
  assert.equal(upstream.requests.length, 0);
});

test('a metadata.moderation nobody knows is refused before anything is sent', async (t) => {
  const { upstream, run } = await setting(t, { allow: { moderation: ['auto', 'low'] } });
  const { thrown } = await run('openai/gpt-image-2', { metadata: { moderation: 'none' } });
  assert.ok(isProviderError(thrown));
  assert.equal(thrown.kind, 'rejected');
  assert.equal(thrown.billed, 'no');
  assert.equal(thrown.details?.[0]?.field, 'metadata.moderation');
  assert.equal(upstream.requests.length, 0);
});

test('nothing starts before the first event is asked for', async (t) => {
  const upstream = await createOpenAIUpstream();
  t.after(() => upstream.close());
  const provider = openai({ apiKey: 'sk-test', baseURL: upstream.url });
  const events = provider.generate(generateCall(modelOf(provider, 'openai/gpt-image-2')));
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(upstream.requests.length, 0);
  for await (const _ of events);
  assert.equal(upstream.requests.length, 1);
});

test('no failure is tried again behind our back', async (t) => {
  const { upstream, run } = await setting(t);
  for (const answer of [answers.serverError(), answers.rateLimited({ 'retry-after-ms': '1' })]) {
    upstream.respondWith(answer);
    await run('openai/gpt-image-2');
  }
  upstream.respondWith(answers.json(500, {}, { 'x-should-retry': 'true' }));
  await run('openai/gpt-image-2');
  assert.equal(upstream.requests.length, 3);
});

test('nothing of the environment reaches a request', async (t) => {
  const ambient = {
    OPENAI_API_KEY: 'sk-ambient',
    OPENAI_ADMIN_KEY: 'sk-ambient-admin',
    OPENAI_BASE_URL: 'http://127.0.0.1:9/ambient',
    OPENAI_ORG_ID: 'org-ambient',
    OPENAI_PROJECT_ID: 'proj-ambient',
    OPENAI_CUSTOM_HEADERS: 'Authorization: Bearer sk-ambient\nOpenAI-Organization: org-ambient',
  };
  const before = { ...process.env };
  Object.assign(process.env, ambient);
  t.after(() => {
    for (const name of Object.keys(ambient)) {
      if (before[name] === undefined) delete process.env[name];
      else process.env[name] = before[name];
    }
  });
  const { upstream, run } = await setting(t);
  const { thrown } = await run('openai/gpt-image-2');
  assert.equal(thrown, undefined);
  const [request] = upstream.requests;
  assert.equal(request?.headers.authorization, 'Bearer sk-test');
  assert.ok(!JSON.stringify(request?.headers).includes('ambient'));
});

test('organization and project are sent where given', async (t) => {
  const { upstream, run } = await setting(t, { organization: 'org-1', project: 'proj-1' });
  await run('openai/gpt-image-2');
  assert.equal(upstream.requests[0]?.headers['openai-organization'], 'org-1');
  assert.equal(upstream.requests[0]?.headers['openai-project'], 'proj-1');
});

test("a client of the host's keeps its key and headers, but not its retries", async (t) => {
  const upstream = await createOpenAIUpstream();
  t.after(() => upstream.close());
  const client = new OpenAI({
    apiKey: 'sk-host',
    baseURL: upstream.url,
    maxRetries: 5,
    defaultHeaders: { 'x-gateway': 'yes' },
  });
  const provider = openai({ client });
  upstream.respondWith(answers.serverError());
  await outcomeOf(provider, generateCall(modelOf(provider, 'openai/gpt-image-2')));
  assert.equal(upstream.requests.length, 1);
  assert.equal(upstream.requests[0]?.headers.authorization, 'Bearer sk-host');
  assert.equal(upstream.requests[0]?.headers['x-gateway'], 'yes');
});

test('the request goes through the fetch of the call', async (t) => {
  const { run } = await setting(t);
  let calls = 0;
  const { thrown } = await run('openai/gpt-image-2', {
    fetch: async (input, init) => {
      calls += 1;
      return await fetch(input, init);
    },
  });
  assert.equal(thrown, undefined);
  assert.equal(calls, 1);
});

// ---- Answers ----

test('a DALL·E 3 picture arrives with its rewritten prompt untouched', async (t) => {
  const { upstream, run } = await setting(t);
  const revised = '  Ein Leuchtturm “am Abend”\n🦊 ';
  upstream.respondWith(answers.dallE3(revised));
  const { events, thrown } = await run('openai/dall-e-3');
  assert.equal(thrown, undefined);
  assert.deepEqual(events, [
    { type: 'image', index: 0, image: { bytes: PIXEL_PNG, type: 'image/png' }, revisedPrompt: revised },
    { type: 'end', usage: undefined, upstreamId: 'req_0123456789abcdef0123456789abcdef' },
  ]);
});

test('GPT Image pictures arrive in order with their tokens', async (t) => {
  const { upstream, run } = await setting(t);
  upstream.respondWith(answers.gptImage());
  const { events } = await run('openai/gpt-image-2', { n: 3 });
  assert.deepEqual(
    events.map((event) => (event.type === 'end' ? 'end' : event.index)),
    [0, 1, 2, 'end'],
  );
  const end = events.at(-1);
  assert.ok(end?.type === 'end');
  assert.deepEqual(end.usage, { textIn: 50, imageIn: 0, imageOut: 1756, textOut: 0 });
});

const usages: readonly (readonly [what: string, usage: unknown, expected: unknown])[] = [
  ['without details', { input_tokens: 9, output_tokens: 100 }, [9, 0, 100, undefined]],
  [
    'with input details',
    { input_tokens: 30, output_tokens: 100, input_tokens_details: { text_tokens: 10, image_tokens: 20 } },
    [10, 20, 100, undefined],
  ],
  [
    'with output details',
    { input_tokens: 9, output_tokens: 110, output_tokens_details: { text_tokens: 10, image_tokens: 100 } },
    [9, 0, 100, 10],
  ],
  ['negative', { input_tokens: -9, output_tokens: -1e300 }, [-9, 0, -1e300, undefined]],
  ['of strings', { input_tokens: '9', output_tokens: null }, [Number.NaN, 0, Number.NaN, undefined]],
  ['of nothing', {}, [Number.NaN, 0, Number.NaN, undefined]],
];
for (const [what, usage, expected] of usages) {
  test(`usage ${what} is passed on as far as it is numbers`, async (t) => {
    const { upstream, run } = await setting(t);
    upstream.respondWith(answers.gptImage(usage));
    const { events } = await run('openai/gpt-image-2');
    const end = events.at(-1);
    assert.ok(end?.type === 'end' && end.usage !== undefined);
    const { textIn, imageIn, imageOut, textOut } = end.usage;
    assert.deepEqual([textIn, imageIn, imageOut, textOut], expected);
  });
}

for (const usage of [null, 'much', 7, []]) {
  test(`usage ${JSON.stringify(usage)} is none`, async (t) => {
    const { upstream, run } = await setting(t);
    upstream.respondWith(answers.gptImage(usage));
    const { events } = await run('openai/gpt-image-2');
    assert.deepEqual(events.at(-1), {
      type: 'end',
      usage: undefined,
      upstreamId: 'req_0123456789abcdef0123456789abcdef',
    });
  });
}

test('pictures beyond those asked for are dropped, and missing ones do not arrive', async (t) => {
  const { upstream, run } = await setting(t);
  upstream.respondWith(answers.pictures({ count: 5 }));
  const surplus = await run('openai/gpt-image-2', { n: 2 });
  assert.equal(surplus.events.filter(({ type }) => type === 'image').length, 2);
  upstream.respondWith(answers.pictures({ count: 1 }));
  const missing = await run('openai/gpt-image-2', { n: 2 });
  assert.equal(missing.events.filter(({ type }) => type === 'image').length, 1);
  assert.equal(missing.events.at(-1)?.type, 'end');
});

test('a picture is claimed to be of the format asked for, because it arrives before what the answer says of it', async (t) => {
  const { upstream, run } = await setting(t);
  upstream.respondWith(answers.pictures({ outputFormat: 'webp' }));
  const { events } = await run('openai/gpt-image-2', { outputFormat: 'jpeg' });
  assert.equal(events[0]?.type === 'image' && events[0].image.type, 'image/jpeg');
});

test('a picture as a data URL is read', async (t) => {
  const { upstream, run } = await setting(t);
  const url = `data:image/png;base64,${picture.b64_json}`;
  upstream.respondWith(answers.json(200, { data: [{ b64_json: url }] }));
  const { events } = await run('openai/gpt-image-2');
  assert.deepEqual(events[0]?.type === 'image' && events[0].image.bytes, PIXEL_PNG);
});

test('an answer with a tail fails the call only after its pictures have arrived', async (t) => {
  const { upstream, run } = await setting(t);
  upstream.respondWith(answers.raw(200, `${text}{}`, { 'content-type': 'application/json' }));
  const { events, thrown } = await run('openai/gpt-image-2');
  assert.equal(events.length, 1);
  shapeOf(thrown);
});

test("a request id that is none is not passed on as the vendor's", async (t) => {
  const { upstream, run } = await setting(t);
  upstream.respondWith(answers.json(200, { data: [] }, { 'x-request-id': 'a b <script>' }));
  const { events } = await run('openai/gpt-image-2');
  assert.deepEqual(events, [{ type: 'end', usage: undefined, upstreamId: undefined }]);
});

const picture = { b64_json: PIXEL_PNG.toString('base64') };
const text = JSON.stringify({ created: 1, data: [picture] });

const brokenAnswers: Readonly<Record<string, string | Buffer>> = {
  HTML: '<!doctype html><title>upstream-secret</title>',
  'nothing at all': '',
  null: 'null',
  'a list': `[${text}]`,
  'a string': '"upstream-secret"',
  'truncated JSON': text.slice(0, -20),
  'a byte order mark': `\ufeff${text}`,
  'an object without pictures': '{"created": 1}',
  'pictures that are null': '{"data": null}',
  'pictures that are an object': '{"data": {"0": {}, "length": 1}}',
  'a picture that is null': '{"data": [null]}',
  'a picture that is a string': `{"data": ["${picture.b64_json}"]}`,
  'a picture that is an empty object': '{"data": [{}]}',
  'a picture that is a number': '{"data": [{"b64_json": 7}]}',
  'a picture that is empty': '{"data": [{"b64_json": ""}]}',
  'a picture by URL, which is not fetched': '{"data": [{"url": "http://169.254.169.254/latest"}]}',
  'base64 with a line break': JSON.stringify({ data: [{ b64_json: 'QUJD\nQUJ' }] }),
  'base64 with a foreign character': JSON.stringify({
    data: [{ b64_json: `!${picture.b64_json.slice(1)}` }],
  }),
  'base64 with a character beyond Latin-1': JSON.stringify({
    data: [{ b64_json: `\u0169${picture.b64_json.slice(1)}` }],
  }),
  'base64 of the other alphabet': JSON.stringify({ data: [{ b64_json: '_-_-' }] }),
  'base64 that stops in the middle': JSON.stringify({ data: [{ b64_json: 'QUJD=QQ=' }] }),
  'base64 cut off': JSON.stringify({ data: [{ b64_json: picture.b64_json.slice(0, -3) }] }),
  'bytes that are no UTF-8': Buffer.from([0xff, 0xfe, 0x00, 0x7b]),
};
for (const [what, body] of Object.entries(brokenAnswers)) {
  test(`an answer of ${what} is of no shape we know`, async (t) => {
    const { upstream, run } = await setting(t);
    upstream.respondWith(answers.raw(200, body, { 'content-type': 'application/json' }));
    const { events, thrown } = await run('openai/gpt-image-2');
    assert.deepEqual(events, []);
    assert.ok(!shapeOf(thrown).message.includes('upstream-secret'));
  });
}

test('an unreadable picture fails the call only after the good ones have arrived', async (t) => {
  const { upstream, run } = await setting(t);
  upstream.respondWith(answers.json(200, { data: [picture, { b64_json: '?' }, picture] }));
  const { events, thrown } = await run('openai/gpt-image-2', { n: 3 });
  assert.deepEqual(
    events.map((event) => event.type === 'image' && event.index),
    [0, 2],
  );
  shapeOf(thrown);
});

test('a rewritten prompt that is no string is none', async (t) => {
  const { upstream, run } = await setting(t);
  upstream.respondWith(answers.json(200, { data: [{ ...picture, revised_prompt: { evil: true } }] }));
  const { events } = await run('openai/dall-e-3');
  assert.ok(events[0]?.type === 'image');
  assert.equal(events[0].revisedPrompt, undefined);
});

test('a redirect is an error and the prompt does not travel on', async (t) => {
  const { upstream, run } = await setting(t);
  const target = await createOpenAIUpstream();
  t.after(() => target.close());
  upstream.respondWith(answers.redirect(`${target.url}/images/generations`));
  shapeOf((await run('openai/gpt-image-2')).thrown);
  assert.equal(target.requests.length, 0);
});

test('an answer over the cap is an error', async (t) => {
  const { upstream, run } = await setting(t);
  const { signal } = new AbortController();
  upstream.respondWith(answers.pictures({ image: Buffer.alloc(10_000) }));
  const fetch = createUpstreamFetch({ maxBytes: 10_000, signal });
  shapeOf((await run('openai/gpt-image-2', { fetch, signal })).thrown);
});

// ---- Aborts ----

for (const [where, handler] of [
  ['waits for an answer', answers.silence()],
  ['reads an answer that stalls', answers.stall()],
] as const) {
  for (const guarded of [true, false]) {
    test(`an abort while it ${where} closes the connection and throws its reason${guarded ? '' : ', under any fetch'}`, {
      timeout: 10_000,
    }, async (t) => {
      const { upstream, run } = await setting(t);
      const controller = new AbortController();
      const { signal } = controller;
      const reason = new Error('the client left');
      upstream.respondWith(async (request, response) => {
        await handler(request, response);
        setTimeout(() => controller.abort(reason), 20);
      });
      const { thrown } = await run('openai/gpt-image-2', guarded ? { signal } : { signal, fetch });
      assert.equal(thrown, reason);
      assert.equal(await upstream.requests[0]?.left, true);
    });
  }
}

test('an abort beforehand sends nothing', async (t) => {
  const { upstream, run } = await setting(t);
  const reason = new Error('the client left');
  const { thrown } = await run('openai/gpt-image-2', { signal: AbortSignal.abort(reason) });
  assert.equal(thrown, reason);
  assert.equal(upstream.requests.length, 0);
});

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import fc from 'fast-check';
import type { GenerateCall } from '../../src/core/provider.js';
import { isProviderError } from '../../src/errors.js';
import { type OpenAIOptions, openai } from '../../src/providers/openai.js';
import { generateCall, modelOf, outcomeOf } from '../support/generate-call.js';
import {
  answers,
  createOpenAIUpstream,
  formBody,
  GPT_IMAGE_USAGE,
  type OpenAIUpstream,
  PIXEL_PNG,
} from '../support/openai-upstream.js';
import { runs } from '../support/runs.js';

const PNG = { bytes: PIXEL_PNG, type: 'image/png' };
/** Bytes of every kind, line ends among them. */
const JPEG = { bytes: Buffer.from(Array.from({ length: 1024 }, (_, at) => at % 256)), type: 'image/jpeg' };
const WEBP = { bytes: Buffer.from('--form-\r\n--\r\n'), type: 'image/webp' };

interface Setting {
  readonly upstream: OpenAIUpstream;
  /** Runs one edit of a picture by a model. */
  run(slug: string, changes?: Partial<GenerateCall>): ReturnType<typeof outcomeOf>;
}

async function setting(t: TestContext, options: OpenAIOptions = {}): Promise<Setting> {
  const upstream = await createOpenAIUpstream();
  t.after(() => upstream.close());
  const provider = openai({ apiKey: 'sk-test', baseURL: upstream.url, ...options });
  return {
    upstream,
    run(slug, changes) {
      const edit = { operation: 'edit', inputs: [PNG], ...changes } as const;
      return outcomeOf(provider, generateCall(modelOf(provider, slug), edit));
    },
  };
}

/** The fields of a form that are no files, and its files, each in order. */
async function partsOf({ requests }: OpenAIUpstream) {
  const entries = [...(await formBody(requests.at(-1)))];
  const fields = entries.filter(([, value]) => typeof value === 'string');
  const files = await Promise.all(
    entries.flatMap(([field, value]) => {
      if (typeof value === 'string') return [];
      return [
        value.arrayBuffer().then((bytes) => [field, value.name, value.type, Buffer.from(bytes)] as const),
      ];
    }),
  );
  return { fields, files };
}

test('an edit is a form, to the byte', async (t) => {
  const { upstream, run } = await setting(t);
  await run('openai/gpt-image-2', { prompt: 'Add a 🦊\nand a hat', inputs: [PNG, JPEG], mask: PNG });
  const [request] = upstream.requests;
  assert.equal(request?.method, 'POST');
  assert.equal(request?.path, '/v1/images/edits');
  assert.equal(request?.headers.authorization, 'Bearer sk-test');
  assert.equal(request?.headers['x-client-request-id'], 'req_test');
  assert.equal(request?.headers['content-length'], String(request?.body.length));
  const boundary = /^multipart\/form-data; boundary=(form-[\w-]{36})$/.exec(
    request?.headers['content-type'] ?? '',
  )?.[1];
  assert.ok(boundary, request?.headers['content-type']);
  const part = (head: string, body: string | Uint8Array) =>
    Buffer.concat([
      Buffer.from(`--${boundary}\r\nContent-Disposition: form-data; ${head}\r\n\r\n`),
      Buffer.from(body as Uint8Array),
      Buffer.from('\r\n'),
    ]);
  const expected = Buffer.concat([
    part('name="model"', 'gpt-image-2'),
    part('name="prompt"', 'Add a 🦊\nand a hat'),
    part('name="n"', '1'),
    part('name="size"', 'auto'),
    part('name="image[]"; filename="image-1.png"\r\nContent-Type: image/png', PIXEL_PNG),
    part('name="image[]"; filename="image-2.jpeg"\r\nContent-Type: image/jpeg', JPEG.bytes),
    part('name="mask"; filename="mask.png"\r\nContent-Type: image/png', PIXEL_PNG),
    Buffer.from(`--${boundary}--\r\n`),
  ]);
  assert.equal(request?.body.toString('latin1'), expected.toString('latin1'));
});

test('an edit by GPT Image holds what its edits take and nothing else', async (t) => {
  const { upstream, run } = await setting(t, { moderation: 'low', inputFidelity: 'high' });
  await run('openai/gpt-image-2.6-flare', {
    n: 3,
    size: { width: 1600, height: 896 },
    quality: 'xhigh',
    style: 'vivid',
    background: 'transparent',
    outputFormat: 'webp',
    outputCompression: 60,
    seed: 7,
    negativePrompt: 'rain',
    endUser: 'user-7',
    metadata: { job: 'a label', moderation: 'auto', input_fidelity: 'high' },
  });
  const { fields, files } = await partsOf(upstream);
  assert.deepEqual(fields, [
    ['model', 'gpt-image-2.6-flare'],
    ['prompt', 'A lighthouse at dusk'],
    ['n', '3'],
    ['size', '1600x896'],
    ['quality', 'xhigh'],
    ['background', 'transparent'],
    ['output_format', 'webp'],
    ['output_compression', '60'],
    ['user', 'user-7'],
  ]);
  assert.deepEqual(files, [['image[]', 'image-1.png', 'image/png', PIXEL_PNG]]);
});

test('an edit by DALL·E 2 has one picture and no list of them', async (t) => {
  const { upstream, run } = await setting(t);
  await run('openai/dall-e-2', { n: 2, size: { width: 256, height: 256 }, mask: PNG });
  const { fields, files } = await partsOf(upstream);
  assert.deepEqual(fields, [
    ['model', 'dall-e-2'],
    ['prompt', 'A lighthouse at dusk'],
    ['n', '2'],
    ['size', '256x256'],
    ['response_format', 'b64_json'],
  ]);
  assert.deepEqual(files, [
    ['image', 'image-1.png', 'image/png', PIXEL_PNG],
    ['mask', 'mask.png', 'image/png', PIXEL_PNG],
  ]);
});

test('sixteen pictures arrive in order with their bytes and types', async (t) => {
  const { upstream, run } = await setting(t);
  const inputs = Array.from({ length: 16 }, (_, index) => [PNG, JPEG, WEBP][index % 3] ?? PNG);
  await run('openai/gpt-image-1.5', { inputs });
  const { files } = await partsOf(upstream);
  assert.deepEqual(
    files.map(([field, , type, bytes]) => ({ field, type, bytes })),
    inputs.map(({ type, bytes }) => ({ field: 'image[]', type, bytes })),
  );
});

test('a type that is none cannot put anything into the form', async (t) => {
  const { upstream, run } = await setting(t);
  const type = 'image/png\r\nX-Evil: 1';
  await run('openai/gpt-image-2', { inputs: [{ bytes: PIXEL_PNG, type }] });
  const { files } = await partsOf(upstream);
  assert.deepEqual(files, [['image[]', 'image-1.bin', 'application/octet-stream', PIXEL_PNG]]);
  assert.ok(!upstream.requests[0]?.body.includes('Evil'), 'the type is in the form');
});

test('prompts and pictures of an edit arrive byte for byte, whatever they hold', async (t) => {
  const { upstream, run } = await setting(t);
  const wild = fc.string({ unit: 'binary', minLength: 1, maxLength: 40 });
  const prompts = fc.oneof(
    wild,
    fc.array(fc.constantFrom('\r', '\n', '"', '--', 'form-'), { minLength: 1 }).map((all) => all.join('')),
  );
  const property = fc.asyncProperty(prompts, fc.uint8Array({ maxLength: 100 }), async (prompt, bytes) => {
    const { thrown } = await run('openai/gpt-image-2', { prompt, inputs: [{ bytes, type: 'image/png' }] });
    assert.equal(thrown, undefined);
    const { fields, files } = await partsOf(upstream);
    assert.deepEqual(fields[1], ['prompt', prompt]);
    assert.deepEqual(files[0]?.[3], Buffer.from(bytes));
  });
  await fc.assert(property, runs(30));
});

const fidelities: readonly (readonly [
  what: string,
  slug: string,
  options: OpenAIOptions,
  metadata: Record<string, string>,
  sent: string | undefined,
])[] = [
  ['is not sent unasked', 'openai/gpt-image-1.5', {}, {}, undefined],
  ['is sent as the host says', 'openai/gpt-image-1.5', { inputFidelity: 'high' }, {}, 'high'],
  [
    'is sent as the client says, where it may',
    'openai/gpt-image-1',
    { inputFidelity: 'high', allow: { input_fidelity: ['low', 'high'] } },
    { input_fidelity: 'low' },
    'low',
  ],
  [
    'is sent as the host says, where the client may not say',
    'openai/gpt-image-1',
    { inputFidelity: 'high' },
    { input_fidelity: 'low' },
    'high',
  ],
  ['is not sent to a model without', 'openai/gpt-image-2', { inputFidelity: 'high' }, {}, undefined],
  ['is not sent to the mini model', 'openai/gpt-image-1-mini', { inputFidelity: 'high' }, {}, undefined],
];
for (const [what, slug, options, metadata, sent] of fidelities) {
  test(`input_fidelity ${what}`, async (t) => {
    const { upstream, run } = await setting(t, options);
    await run(slug, { metadata });
    assert.equal((await formBody(upstream.requests[0])).get('input_fidelity') ?? undefined, sent);
  });
}

test('a metadata.input_fidelity nobody knows is refused before anything is sent', async (t) => {
  const { upstream, run } = await setting(t, { allow: { input_fidelity: ['low', 'high'] } });
  const { thrown } = await run('openai/gpt-image-1.5', { metadata: { input_fidelity: 'max' } });
  assert.ok(isProviderError(thrown), `a ProviderError, not ${thrown}`);
  assert.deepEqual([thrown.kind, thrown.billed], ['rejected', 'no']);
  assert.equal(thrown.details?.[0]?.field, 'metadata.input_fidelity');
  assert.equal(upstream.requests.length, 0);
});

test('pictures of an edit arrive in order with their tokens', async (t) => {
  const { upstream, run } = await setting(t);
  const input_tokens_details = { text_tokens: 50, image_tokens: 1024 };
  upstream.respondWith(answers.gptImage({ ...GPT_IMAGE_USAGE, input_tokens_details }));
  const { events } = await run('openai/gpt-image-2', { n: 2 });
  const image = { bytes: PIXEL_PNG, type: 'image/png' };
  assert.deepEqual(events, [
    { type: 'image', index: 0, image, revisedPrompt: undefined },
    { type: 'image', index: 1, image, revisedPrompt: undefined },
    {
      type: 'end',
      usage: { textIn: 50, imageIn: 1024, imageOut: 1756, textOut: 0 },
      upstreamId: 'req_0123456789abcdef0123456789abcdef',
    },
  ]);
});

test('the fetch of the call is used once for an edit, and nothing is tried again', async (t) => {
  const { upstream, run } = await setting(t);
  upstream.respondWith(answers.serverError());
  const urls: string[] = [];
  const { thrown } = await run('openai/gpt-image-2', {
    fetch: async (input, init) => {
      urls.push(String(input));
      return await fetch(input, init);
    },
  });
  assert.deepEqual(urls, [`${upstream.url}/images/edits`]);
  assert.ok(isProviderError(thrown) && thrown.kind === 'unavailable', `unavailable, not ${thrown}`);
});

test('an edit refused for safety says so', async (t) => {
  const { upstream, run } = await setting(t);
  upstream.respondWith(answers.moderationBlocked('input'));
  const { thrown } = await run('openai/gpt-image-2');
  assert.ok(isProviderError(thrown), `a ProviderError, not ${thrown}`);
  assert.deepEqual([thrown.kind, thrown.billed], ['content_filtered', 'no']);
});

test('an abort while an edit waits closes the connection and throws its reason', {
  timeout: 10_000,
}, async (t) => {
  const { upstream, run } = await setting(t);
  const controller = new AbortController();
  const reason = new Error('the client left');
  upstream.respondWith(() => void setTimeout(() => controller.abort(reason), 20));
  const { thrown } = await run('openai/gpt-image-2', { signal: controller.signal });
  assert.equal(thrown, reason);
  assert.equal(await upstream.requests[0]?.left, true);
});

/** Streams of the OpenAI surface: what frames there are, in which order, and what they hold. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import sharp from 'sharp';
import { hourly, imageCount, monthly, usd } from '../../src/core/windows.js';
import { ProviderError } from '../../src/errors.js';
import { createTestApp, type TestApp, type TestAppOptions, testModel } from '../support/app.js';
import { altered, countingStorage } from '../support/hostile-providers.js';
import { type Frame, openAnswer, streamed, textOf } from '../support/sse.js';

const BODY = { model: 'placeholder/sketch', prompt: 'A lighthouse', stream: true };
const BUDGETS = { budgets: [monthly(usd(100)), hourly(imageCount(100))] } as const;
const NO_USAGE = {
  input_tokens: 0,
  output_tokens: 0,
  total_tokens: 0,
  input_tokens_details: { text_tokens: 0, image_tokens: 0 },
  output_tokens_details: { text_tokens: 0, image_tokens: 0 },
};

const names = (frames: readonly Frame[]) => frames.map(({ event }) => event);
const indexes = (frames: readonly Frame[]) => frames.map(({ data }) => data.index);

function pictureIn({ data }: Frame) {
  return sharp(Buffer.from(data.b64_json ?? '', 'base64')).metadata();
}

test('a completed frame has every field of OpenAI’s, and is named twice', async (t) => {
  const app = await createTestApp(t);
  const before = Math.floor(Date.now() / 1000);
  const frames = await streamed(app, { ...BODY, size: '96x48', quality: 'hd', output_format: 'webp' });
  assert.deepEqual(names(frames), ['image_generation.completed']);
  const { b64_json, created_at, ...rest } = frames[0]?.data ?? {};
  assert.deepEqual(rest, {
    type: 'image_generation.completed',
    index: 0,
    size: '96x48',
    quality: 'hd',
    background: 'opaque',
    output_format: 'webp',
    usage: NO_USAGE,
  });
  assert.ok(Number(created_at) >= before && Number(created_at) <= before + 60, `created_at ${created_at}`);
  const { width, height, format } = await sharp(Buffer.from(b64_json ?? '', 'base64')).metadata();
  assert.deepEqual({ width, height, format }, { width: 96, height: 48, format: 'webp' });
});

for (const partial_images of [0, 1, 2, 3]) {
  test(`partial_images: ${partial_images} gives as many previews before the completed picture`, async (t) => {
    const app = await createTestApp(t);
    const frames = await streamed(app, { ...BODY, partial_images, size: '96x48', background: 'transparent' });
    const previews = frames.slice(0, -1);
    assert.deepEqual(names(previews), Array(partial_images).fill('image_generation.partial_image'));
    assert.deepEqual(
      previews.map(({ data }) => data.partial_image_index),
      [0, 1, 2].slice(0, partial_images),
    );
    assert.equal(frames.at(-1)?.event, 'image_generation.completed');
    for (const preview of previews) {
      const { b64_json, created_at, partial_image_index, ...rest } = preview.data;
      assert.deepEqual(rest, {
        type: 'image_generation.partial_image',
        index: 0,
        size: '96x48',
        quality: 'standard',
        background: 'transparent',
        output_format: 'png',
      });
      assert.equal(created_at, frames.at(-1)?.data.created_at);
      assert.equal((await pictureIn(preview)).width, 96);
    }
  });
}

test('a stream without partial_images has no previews', async (t) => {
  const app = await createTestApp(t);
  assert.deepEqual(names(await streamed(app, BODY)), ['image_generation.completed']);
  assert.equal(app.calls[0]?.previews, 0);
});

test('a model without previews just completes, and its provider is asked for none', async (t) => {
  const app = await createTestApp(t, { placeholder: { models: [testModel({ maxPreviews: 0 })] } });
  assert.deepEqual(names(await streamed(app, { ...BODY, partial_images: 3 })), [
    'image_generation.completed',
  ]);
  assert.equal(app.calls[0]?.previews, 0);
});

test('previews nobody asked for are dropped', async (t) => {
  const provider = altered(async function* (events) {
    for await (const event of events) {
      if (event.type === 'image') {
        for (const step of [0, 1, 2, 3, -1, 0.5]) {
          yield { type: 'preview', index: 0, step, image: event.image };
        }
      }
      if (event.type !== 'preview') yield event;
    }
  });
  const app = await createTestApp(t, { providers: [provider] });
  assert.deepEqual(names(await streamed(app, BODY)), ['image_generation.completed']);
  const steps = (await streamed(app, { ...BODY, partial_images: 2 })).map(
    ({ data }) => data.partial_image_index,
  );
  assert.deepEqual(steps, [0, 1, undefined]);
});

test('a preview that cannot be finished is left out', async (t) => {
  const provider = altered(async function* (events) {
    for await (const event of events) {
      const broken = event.type === 'preview' && event.step === 0;
      yield broken ? { ...event, image: { ...event.image, bytes: Buffer.from('no picture') } } : event;
    }
  });
  const app = await createTestApp(t, { providers: [provider] });
  const frames = await streamed(app, { ...BODY, partial_images: 2 });
  assert.deepEqual(
    frames.map(({ data }) => data.partial_image_index),
    [1, undefined],
  );
});

test('n: 4 over several calls gives one completed frame for each picture', async (t) => {
  const app = await createTestApp(t, { placeholder: { models: [testModel({ maxImages: 1 })] } });
  const frames = await streamed(app, { ...BODY, n: 4, partial_images: 1, seed: 0 });
  const completed = frames.filter(({ event }) => event === 'image_generation.completed');
  assert.equal(frames.length, 8);
  assert.deepEqual([...indexes(completed)].sort(), [0, 1, 2, 3]);
  assert.equal(new Set(completed.map(({ data }) => data.b64_json)).size, 4);
  for (const { data } of completed) {
    const place = frames.findIndex((frame) => frame.data.index === data.index);
    assert.equal(frames[place]?.event, 'image_generation.partial_image', 'its preview comes first');
  }
});

test('the last frame has the usage of all calls, the others none', async (t) => {
  const app = await createTestApp(t, {
    placeholder: {
      models: [testModel({ maxImages: 1 })],
      usage: () => ({ textIn: 5, imageIn: 7, imageOut: 100 }),
    },
  });
  const frames = await streamed(app, { ...BODY, n: 3 });
  assert.deepEqual(
    frames.slice(0, -1).map(({ data }) => data.usage),
    [NO_USAGE, NO_USAGE],
  );
  assert.deepEqual(frames.at(-1)?.data.usage, {
    input_tokens: 36,
    output_tokens: 300,
    total_tokens: 336,
    input_tokens_details: { text_tokens: 15, image_tokens: 21 },
    output_tokens_details: { text_tokens: 0, image_tokens: 300 },
  });
});

test('a rewritten prompt is in the completed frame', async (t) => {
  const provider = altered(async function* (events) {
    for await (const event of events) {
      yield event.type === 'image' ? { ...event, revisedPrompt: 'Ein Leuchtturm 🗼' } : event;
    }
  });
  const app = await createTestApp(t, { providers: [provider] });
  assert.equal((await streamed(app, BODY))[0]?.data.revised_prompt, 'Ein Leuchtturm 🗼');
});

test('the last frame names the pictures that are missing, and no error follows', async (t) => {
  const failure = new ProviderError('rejected', 'The vendor refused this one.', { billed: 'no' });
  const app = await createTestApp(t, {
    placeholder: {
      models: [testModel({ maxImages: 1 })],
      // The failures come last, so that an eager stream would have sent everything before it knew.
      delayMs: ({ seed }) => (seed === 1 || seed === 2 ? 60 : 0),
      fail: ({ seed }) => (seed === 1 || seed === 2 ? failure : undefined),
    },
  });
  const frames = await streamed(app, { ...BODY, n: 4, seed: 0 });
  assert.deepEqual(names(frames), ['image_generation.completed', 'image_generation.completed']);
  assert.equal(frames[0]?.data.errors, undefined);
  const message = 'The vendor refused this one.';
  assert.deepEqual(frames[1]?.data.errors, [
    { index: 1, code: 'BACKEND_ERROR', reason: 'rejected', message },
    { index: 2, code: 'BACKEND_ERROR', reason: 'rejected', message },
  ]);
});

test('pictures withheld beside others are named in the last frame', async (t) => {
  const app = await createTestApp(t, {
    placeholder: {
      blocked: (_, index) => (index === 1 ? { reason: 'violence', stage: 'output' } : undefined),
    },
  });
  const frames = await streamed(app, { ...BODY, n: 3 });
  assert.deepEqual(indexes(frames), [0, 2]);
  assert.deepEqual(
    frames[1]?.data.errors?.map(({ index, reason }) => ({ index, reason })),
    [{ index: 1, reason: 'content_filtered' }],
  );
});

test('a provider that fails between two pictures leaves the first, with the second named', async (t) => {
  const provider = altered(async function* (events) {
    for await (const event of events) {
      yield event;
      if (event.type === 'image') throw new ProviderError('unavailable', 'Gone.', { billed: 'unknown' });
    }
  });
  const app = await createTestApp(t, { providers: [provider] });
  const frames = await streamed(app, { ...BODY, n: 2 });
  assert.deepEqual(names(frames), ['image_generation.completed']);
  assert.deepEqual(
    frames[0]?.data.errors?.map(({ index, code }) => ({ index, code })),
    [{ index: 1, code: 'BACKEND_ERROR' }],
  );
});

test('what is done other than asked is in the warnings of the last frame', async (t) => {
  const app = await createTestApp(t);
  const frames = await streamed(app, { ...BODY, n: 2, frobnicate: 1, output_compression: 50 });
  assert.equal(frames[0]?.data.warnings, undefined);
  const warnings = frames[1]?.data.warnings as readonly { readonly field: string }[];
  assert.deepEqual(
    warnings.map(({ field }) => field),
    ['frobnicate', 'output_compression'],
  );
});

test('a failure after a preview is one error event, with the object a plain answer would have', async (t) => {
  const failing: TestAppOptions = {
    providers: [
      altered(async function* (events) {
        for await (const event of events) {
          if (event.type === 'image') {
            const details = [{ field: 'prompt', message: 'not this' }];
            throw new ProviderError('content_filtered', 'No.', { billed: 'no', details });
          }
          yield event;
        }
      }),
    ],
    trustRequestId: true,
  };
  const app = await createTestApp(t, failing);
  const { response } = await openAnswer(app, { ...BODY, partial_images: 1 });
  const text = await textOf(response);
  assert.match(text, /\n\nevent: error\ndata: .*\n\n$/);
  const told = JSON.parse(text.slice(text.lastIndexOf('data: ') + 6));
  const plain = await app.openai({ ...BODY, stream: false });
  assert.equal(plain.status, 400);
  assert.deepEqual(told, plain.body);
  assert.equal(told.error.code, 'moderation_blocked');
  assert.equal(told.error.param, 'prompt');
  assert.equal(app.eventsOf('request.failed').length, 2);
});

test('headers say that nobody may keep, change or delay a stream', async (t) => {
  const app = await createTestApp(t, { caller: BUDGETS });
  const { response } = await openAnswer(app, BODY);
  await textOf(response);
  assert.equal(response.statusCode, 200);
  assert.match(response.headers['content-type'] ?? '', /^text\/event-stream/);
  assert.match(response.headers['cache-control'] ?? '', /no-store/);
  // Compressing middleware of the host's would hold frames back; this keeps it away.
  assert.match(response.headers['cache-control'] ?? '', /no-transform/);
  assert.equal(response.headers['x-accel-buffering'], 'no');
  assert.match(String(response.headers['x-request-id']), /^req_/);
  assert.equal(response.headers['x-scaigrid-ratelimit-remaining'], '99');
});

const REFUSALS: readonly (readonly [string, object, TestAppOptions, number, string])[] = [
  ['a bad field', { n: 11 }, {}, 400, 'validation_error'],
  ['an unknown model', { model: 'nobody/nothing' }, {}, 404, 'model_not_found'],
  ['a used-up budget', {}, { caller: { budgets: [monthly(usd(0.01))] } }, 402, 'insufficient_quota'],
  ['a refused prompt', { prompt: '[fail:content_filtered]' }, {}, 400, 'moderation_blocked'],
  ['a withheld picture', { prompt: '[blocked]' }, {}, 400, 'moderation_blocked'],
  ['a vendor’s limit', { prompt: '[fail:rate_limited]' }, {}, 429, 'rate_limit_exceeded'],
  ['a vendor’s silence', { prompt: '[fail:timeout]' }, {}, 504, 'backend_timeout'],
];
for (const [what, changes, options, status, code] of REFUSALS) {
  test(`${what} keeps its HTTP status in a stream`, async (t) => {
    const app = await createTestApp(t, options);
    const { response } = await openAnswer(app, { ...BODY, ...changes });
    const body = JSON.parse(await textOf(response));
    assert.equal(response.statusCode, status);
    assert.match(response.headers['content-type'] ?? '', /^application\/json/);
    assert.equal(body.error.code, code);
  });
}

test('response_format: url is refused with stream, b64_json is not', async (t) => {
  const app = await createTestApp(t);
  const { response } = await openAnswer(app, { ...BODY, response_format: 'url' });
  assert.equal(response.statusCode, 400);
  assert.equal(JSON.parse(await textOf(response)).error.param, 'response_format');
  assert.equal(app.calls.length, 0);
  assert.equal((await streamed(app, { ...BODY, response_format: 'b64_json' })).length, 1);
});

test('the native surface refuses streams and says where they are', async (t) => {
  const app = await createTestApp(t);
  const answer = await app.native(BODY);
  assert.equal(answer.status, 422);
  assert.equal(answer.body.error.details[0].field, 'stream');
  assert.match(answer.body.error.message, /\/oai\/v1\/images/);
  assert.equal(app.calls.length, 0);
});

test('nothing of a stream is stored', async (t) => {
  const { storage, puts } = countingStorage();
  const app = await createTestApp(t, { storage });
  await streamed(app, { ...BODY, n: 2, partial_images: 1 });
  assert.deepEqual(puts, []);
});

const MONEY: readonly (readonly [string, object])[] = [
  ['three pictures', { n: 3 }],
  ['withheld pictures', { n: 2, prompt: '[blocked]' }],
  ['an unbilled failure', { prompt: '[fail:rejected]' }],
  ['a failure that was billed', { n: 2, prompt: '[fail:shape]' }],
  ['a failure that may have been billed', { n: 2, prompt: '[fail:timeout]' }],
];
for (const [what, changes] of MONEY) {
  test(`${what} cost the same with and without streaming`, async (t) => {
    const plain = await createTestApp(t, { caller: BUDGETS });
    await plain.openai({ ...BODY, ...changes, stream: false });
    const streaming = await createTestApp(t, { caller: BUDGETS });
    const { response } = await openAnswer(streaming, { ...BODY, partial_images: 2, ...changes });
    await textOf(response);
    assert.deepEqual(await streaming.balances(), await plain.balances());
    const costs = (app: TestApp) => app.eventsOf('upstream.call').map((call) => call.costMicroUsd);
    assert.deepEqual(costs(streaming), costs(plain));
  });
}

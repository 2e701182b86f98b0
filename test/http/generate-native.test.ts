import assert from 'node:assert/strict';
import { test } from 'node:test';
import sharp from 'sharp';
import type { GenerateEvent } from '../../src/core/provider.js';
import { createTestApp, testModel } from '../support/app.js';
import { altered, countingStorage, revising } from '../support/hostile-providers.js';

const BODY = { model: 'placeholder/sketch', prompt: 'A lighthouse', seed: 7 };

async function sizeOf(bytes: Buffer): Promise<readonly unknown[]> {
  const { format, width, height } = await sharp(bytes).metadata();
  return [format, width, height];
}

test('a native answer has the documented envelope, field by field', async (t) => {
  const app = await createTestApp(t);
  const before = Math.floor(Date.now() / 1000);
  const answer = await app.native(BODY);
  assert.equal(answer.status, 200, answer.text);
  assert.match(answer.get('content-type') ?? '', /^application\/json/);
  assert.equal(answer.get('cache-control'), 'no-store');
  const { data } = answer.body;
  const [item] = data.data;
  assert.deepEqual(answer.body, {
    status: 'ok',
    data: {
      created: data.created,
      model: 'placeholder/sketch',
      data: [
        {
          ...{ index: 0, id: item.id, url: item.url, expires_at: item.expires_at },
          ...{ seed: 7, width: 64, height: 64, content_type: 'image/png', bytes: item.bytes },
        },
      ],
      usage: { images: 1, cost: '0.040000', currency: 'USD' },
    },
    meta: { request_id: answer.get('x-request-id') },
  });
  assert.match(item.id, /^img_\d{8}_[0-9a-f]{32}_[0-9a-f]{32}$/);
  assert.ok(item.url.startsWith(`${app.url}/v1/media/${item.id}.png?token=`), item.url);
  assert.match(answer.get('x-request-id') ?? '', /^req_[0-9a-f]{24}$/);
  assert.ok(data.created >= before && data.created <= before + 60, 'created is about now, in seconds');
  const life = item.expires_at - data.created;
  assert.ok(life >= 3600 && life <= 3720, `a link lives an hour, rounded up to a minute: ${life}`);
});

test('the URL of an answer needs no key and has exactly the bytes and pixels the answer says', async (t) => {
  const app = await createTestApp(t);
  const answer = await app.native({ ...BODY, size: '80x48' });
  const [item] = answer.body.data.data;
  const picture = await fetch(item.url);
  assert.equal(picture.status, 200);
  assert.equal(picture.headers.get('content-type'), item.content_type);
  const bytes = Buffer.from(await picture.arrayBuffer());
  assert.equal(bytes.byteLength, item.bytes);
  assert.deepEqual(await sizeOf(bytes), ['png', 80, 48]);
});

test('b64_json is bare base64 of the picture, which is not stored and so has no id and no link', async (t) => {
  const app = await createTestApp(t);
  const answer = await app.native({ ...BODY, response_format: 'b64_json' });
  const [item] = answer.body.data.data;
  assert.deepEqual(Object.keys(item).sort(), [
    ...['b64_json', 'bytes', 'content_type', 'height', 'index', 'seed', 'width'],
  ]);
  const bytes = Buffer.from(item.b64_json, 'base64');
  assert.equal(bytes.toString('base64'), item.b64_json);
  assert.equal(bytes.byteLength, item.bytes);
  assert.deepEqual(await sizeOf(bytes), ['png', 64, 64]);
});

test('nothing is put into storage for b64_json, and one object for each url', async (t) => {
  const { storage, puts } = countingStorage();
  const app = await createTestApp(t, { storage });
  await app.native({ ...BODY, n: 2, response_format: 'b64_json' });
  assert.equal(puts.length, 0);
  await app.native({ ...BODY, n: 2 });
  assert.equal(puts.length, 2);
});

test('n is drawn in several calls where the model draws one at a time, and the items come in order', async (t) => {
  const app = await createTestApp(t, {
    // The first calls are the slowest, so that pictures arrive in the opposite order.
    placeholder: { models: [testModel({ maxImages: 1 })], delayMs: ({ seed }) => 60 - (seed ?? 0) * 15 },
  });
  const answer = await app.native({ ...BODY, n: 4, seed: 0 });
  assert.equal(answer.status, 200, answer.text);
  assert.deepEqual(
    app.calls.map(({ n, seed }) => [n, seed]),
    [0, 1, 2, 3].map((seed) => [1, seed]),
  );
  const { data, usage } = answer.body.data;
  assert.deepEqual(
    data.map(({ index, seed }: { index: number; seed: number }) => [index, seed]),
    [0, 1, 2, 3].map((index) => [index, index]),
  );
  assert.deepEqual(usage, { images: 4, cost: '0.160000', currency: 'USD' });
});

test('pictures and failures of one call come in order, however the provider yields them', async (t) => {
  const backwards = altered(
    async function* (events) {
      const all: GenerateEvent[] = [];
      for await (const event of events) all.unshift(event);
      const [end, ...others] = all;
      yield* others;
      if (end !== undefined) yield end;
    },
    { blocked: (_, index) => (index % 2 === 1 ? { reason: 'violence', stage: 'output' } : undefined) },
  );
  const app = await createTestApp(t, { providers: [backwards] });
  const answer = await app.native({ ...BODY, n: 5 });
  const indexes = (entries: readonly { readonly index: number }[]) => entries.map(({ index }) => index);
  assert.deepEqual(indexes(answer.body.data.data), [0, 2, 4]);
  assert.deepEqual(indexes(answer.body.data.errors), [1, 3]);
});

test('n beyond what one call draws is split into full calls and a rest', async (t) => {
  const app = await createTestApp(t, { placeholder: { models: [testModel({ maxImages: 4 })] } });
  const answer = await app.native({ ...BODY, n: 10 });
  assert.equal(answer.body.data.data.length, 10);
  assert.deepEqual(app.calls.map(({ n }) => n).sort(), [2, 4, 4]);
});

test('no more calls of one request run at once than limits.callsAtOnce', async (t) => {
  let running = 0;
  let most = 0;
  const app = await createTestApp(t, {
    limits: { callsAtOnce: 2 },
    placeholder: {
      models: [testModel({ maxImages: 1 })],
      delayMs: () => {
        running += 1;
        most = Math.max(most, running);
        return 20;
      },
      fail: () => {
        running -= 1;
        return undefined;
      },
    },
  });
  const answer = await app.native({ ...BODY, n: 6 });
  assert.equal(answer.body.data.data.length, 6);
  assert.equal(most, 2);
});

test('the provider gets prompt, settings, metadata, end user and request id as the client wrote them', async (t) => {
  const app = await createTestApp(t);
  const prompt = '  Ein Leuchtturm\n\tim Sturm – 灯台 🏝️ "\\u0041" \u202Egnirts  ';
  const answer = await app.native({
    ...{ ...BODY, prompt, n: 2, size: '96x64', quality: 'hd', style: 'natural', background: 'opaque' },
    ...{ negative_prompt: ' fog ', output_format: 'webp', output_compression: 55, user: 'person-1' },
    metadata: { steps: 30, draft: true, label: 'für später' },
  });
  assert.equal(answer.status, 200, answer.text);
  const [call] = app.calls;
  assert.ok(call, 'a call');
  const { model, signal, sendBy, fetch, metadata, ...rest } = call;
  assert.equal(model.slug, 'placeholder/sketch');
  assert.equal(signal.aborted, false);
  assert.ok(sendBy > Date.now(), 'there was time left');
  assert.equal(typeof fetch, 'function');
  assert.equal(Object.getPrototypeOf(metadata), null);
  assert.deepEqual({ ...metadata }, { steps: 30, draft: true, label: 'für später' });
  assert.deepEqual(rest, {
    ...{ requestId: answer.body.meta.request_id, operation: 'generate', prompt, n: 2 },
    ...{ size: { width: 96, height: 64 }, quality: 'hd', style: 'natural', background: 'opaque' },
    ...{ outputFormat: 'webp', outputCompression: 55, seed: 7, negativePrompt: ' fog ' },
    ...{ inputs: [], mask: undefined, previews: 0, endUser: 'person-1' },
  });
});

test('a minimal body gives the provider the defaults of its model', async (t) => {
  const app = await createTestApp(t);
  await app.native({ model: 'placeholder/sketch', prompt: 'A' });
  const [call] = app.calls;
  assert.deepEqual(call?.size, { width: 64, height: 64 });
  assert.equal(call?.quality, 'standard');
  for (const field of ['style', 'background', 'outputFormat', 'seed', 'negativePrompt', 'endUser'] as const) {
    assert.equal(call?.[field], undefined, field);
  }
  assert.deepEqual({ ...call?.metadata }, {});
});

test('safety_identifier names the end user, also beside user', async (t) => {
  const app = await createTestApp(t);
  await app.native({ ...BODY, safety_identifier: 'safe-1' });
  await app.native({ ...BODY, safety_identifier: 'safe-2', user: 'person-2' });
  assert.deepEqual(
    app.calls.map(({ endUser }) => endUser),
    ['safe-1', 'safe-2'],
  );
});

test('null in any optional field means the field is absent', async (t) => {
  const app = await createTestApp(t);
  const fields = [
    ...['n', 'size', 'quality', 'style', 'response_format', 'metadata', 'output_format', 'seed', 'user'],
    ...['output_compression', 'background', 'negative_prompt', 'safety_identifier', 'stream'],
    ...['partial_images', 'something_new'],
  ];
  const nulls = Object.fromEntries(fields.map((field) => [field, null]));
  const answer = await app.native({ model: 'placeholder/sketch', prompt: 'A', ...nulls });
  assert.equal(answer.status, 200, answer.text);
  assert.equal(answer.body.data.warnings, undefined);
});

test('fields nobody knows are ignored and named in warnings, before those about the model', async (t) => {
  const app = await createTestApp(t);
  const body = {
    ...BODY,
    stepz: 3,
    'x-mode': {},
    constructor: 1,
    output_compression: 5,
    output_format: 'png',
  };
  const answer = await app.native(body);
  assert.equal(answer.status, 200, answer.text);
  assert.deepEqual(
    answer.body.data.warnings.map(({ field }: { field: string }) => field),
    ['stepz', 'x-mode', 'constructor', 'output_compression'],
  );
  for (const { message } of answer.body.data.warnings) assert.match(message, /ignored/);
});

test('an unknown field is named only when its name is harmless, and not without end', async (t) => {
  const app = await createTestApp(t);
  const many = Object.fromEntries(Array.from({ length: 40 }, (_, place) => [`field_${place}`, 1]));
  const answer = await app.native({ ...BODY, '<script>': 1, ...many });
  const fields = answer.body.data.warnings.map(({ field }: { field: string }) => field);
  assert.equal(fields.length, 16);
  assert.ok(!fields.includes('<script>'), 'a name with markup is not repeated');
});

test('revised prompts arrive untouched', async (t) => {
  const revised = ' A tall lighthouse, at dusk 🌅 ';
  const app = await createTestApp(t, { providers: [revising(revised)] });
  const native = await app.native(BODY);
  assert.equal(native.body.data.data[0].revised_prompt, revised);
  const openai = await app.openai(BODY);
  assert.equal(openai.body.data[0].revised_prompt, revised);
});

test('stream: true is refused on the native surface, saying where streams are', async (t) => {
  const app = await createTestApp(t);
  const answer = await app.native({ ...BODY, stream: true });
  assert.equal(answer.status, 422);
  assert.equal(answer.body.error.details[0].field, 'stream');
  assert.match(answer.body.error.message, /\/oai\/v1\/images/);
  assert.equal((await app.native({ ...BODY, stream: false })).status, 200);
});

test('a well-formed X-Request-Id of the client is its id everywhere, once the host trusts it', async (t) => {
  const app = await createTestApp(t, { trustRequestId: true });
  const id = 'trace-0123.ABC_def';
  const answer = await app.native(BODY).set('X-Request-Id', id);
  assert.equal(answer.get('x-request-id'), id);
  assert.equal(answer.body.meta.request_id, id);
  assert.equal(app.calls[0]?.requestId, id);
  assert.equal(app.eventsOf('request.completed')[0]?.requestId, id);
});

for (const id of [
  'short',
  'a'.repeat(129),
  'with space 123',
  'semi;colon123',
  '-leading-dash',
  'ümlaut-123',
]) {
  test(`an X-Request-Id that is not well-formed is replaced: ${id.slice(0, 20)}`, async (t) => {
    const app = await createTestApp(t, { trustRequestId: true });
    const answer = await app.native({}).set('X-Request-Id', Buffer.from(id).toString('latin1'));
    assert.match(answer.get('x-request-id') ?? '', /^req_[0-9a-f]{24}$/);
  });
}

test('an X-Request-Id of the client is not taken unless the host says so', async (t) => {
  const app = await createTestApp(t);
  const answer = await app.native(BODY).set('X-Request-Id', 'trace-0123456789');
  assert.match(answer.get('x-request-id') ?? '', /^req_[0-9a-f]{24}$/);
  assert.equal(answer.body.meta.request_id, answer.get('x-request-id'));
});

test('a completed request and its call are told as events without the prompt', async (t) => {
  const app = await createTestApp(t, { placeholder: { models: [testModel({ maxImages: 1 })] } });
  const answer = await app.native({ ...BODY, prompt: 'canary-prompt', n: 2 });
  const requestId = answer.body.meta.request_id;
  const [completed] = app.eventsOf('request.completed');
  assert.ok(completed, 'request.completed');
  const { at, latencyMs, ...facts } = completed;
  assert.deepEqual(facts, {
    ...{ type: 'request.completed', level: 'info', requestId, tenant: 'acme', model: 'placeholder/sketch' },
    ...{ servedBy: 'placeholder/sketch', asked: 2, images: 2, costMicroUsd: 80_000 },
  });
  assert.ok(latencyMs > 0 && at > 0);
  const calls = app.eventsOf('upstream.call');
  assert.deepEqual(
    calls.map(({ provider, asked, images, costMicroUsd, error }) => ({
      ...{ provider, asked, images, costMicroUsd, error },
    })),
    Array(2).fill({ provider: 'placeholder', asked: 1, images: 1, costMicroUsd: 40_000, error: undefined }),
  );
  assert.ok(!JSON.stringify(app.events).includes('canary-prompt'));
});

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type TestContext, test } from 'node:test';
import { inspect } from 'node:util';
import fc from 'fast-check';
import type { GenerateCall } from '../../src/core/provider.js';
import { isProviderError, type ProviderError } from '../../src/errors.js';
import { type OpenAIOptions, openai } from '../../src/providers/openai.js';
import { createUpstreamFetch } from '../../src/providers/upstream.js';
import { generateCall, modelOf, outcomeOf, saidBy } from '../support/generate-call.js';
import {
  answers,
  createOpenAIUpstream,
  formBody,
  jsonBody,
  type OpenAIUpstream,
  PIXEL_PNG,
  sseFrame,
  streamFrames,
} from '../support/openai-upstream.js';
import { runs } from '../support/runs.js';

const MODEL = 'openai/gpt-image-2';
const UPSTREAM_ID = 'req_0123456789abcdef0123456789abcdef';
const IMAGE = { bytes: PIXEL_PNG, type: 'image/png' };
const PICTURE = { type: 'image', index: 0, image: IMAGE, revisedPrompt: undefined };
const END = {
  type: 'end',
  usage: { textIn: 50, imageIn: 0, imageOut: 1756, textOut: 0 },
  upstreamId: UPSTREAM_ID,
};

function preview(step: number) {
  return { type: 'preview', index: 0, step, image: IMAGE };
}

interface Setting {
  readonly upstream: OpenAIUpstream;
  /** A call for one picture with previews. */
  call(changes?: Partial<GenerateCall>): GenerateCall;
  /** Runs it. */
  run(changes?: Partial<GenerateCall>): ReturnType<typeof outcomeOf>;
  /** Runs it to its first event, which it leaves it at. */
  begin(changes?: Partial<GenerateCall>): AsyncIterator<unknown>;
}

async function setting(t: TestContext, options: OpenAIOptions = {}): Promise<Setting> {
  const upstream = await createOpenAIUpstream();
  t.after(() => upstream.close());
  const provider = openai({ apiKey: 'sk-test', baseURL: upstream.url, ...options });
  const call = (changes: Partial<GenerateCall> = {}) =>
    generateCall(modelOf(provider, MODEL), { previews: 2, ...changes });
  return {
    upstream,
    call,
    run: (changes) => outcomeOf(provider, call(changes)),
    begin: (changes) => provider.generate(call(changes))[Symbol.asyncIterator](),
  };
}

function failureOf(thrown: unknown): ProviderError {
  assert.ok(isProviderError(thrown), `a ProviderError, not ${thrown}`);
  return thrown;
}

// ---- Requests ----

test('previews are asked for by a stream, to the byte', async (t) => {
  const { upstream, run } = await setting(t);
  await run({ previews: 3 });
  assert.equal(
    upstream.requests[0]?.body.toString(),
    '{"model":"gpt-image-2","prompt":"A lighthouse at dusk","n":1,"size":"auto","stream":true,"partial_images":3}',
  );
});

test('an edit asks for previews in its form', async (t) => {
  const { upstream, run } = await setting(t);
  await run({ operation: 'edit', inputs: [IMAGE] });
  const form = await formBody(upstream.requests[0]);
  assert.deepEqual([form.get('stream'), form.get('partial_images')], ['true', '2']);
});

test('without previews nothing is streamed', async (t) => {
  const { upstream, run } = await setting(t);
  await run({ previews: 0 });
  const body = jsonBody(upstream.requests[0]);
  assert.ok(!('stream' in body) && !('partial_images' in body), JSON.stringify(body));
});

test('every model with previews says that a stream is of one picture', () => {
  const { models } = openai({ apiKey: 'sk-test' });
  for (const { slug, maxPreviews, maxImagesWithPreviews } of models) {
    assert.equal(maxImagesWithPreviews, maxPreviews > 0 ? 1 : undefined, slug);
  }
});

// ---- Answers ----

for (const prefix of ['image_generation', 'image_edit'] as const) {
  test(`previews and the picture of ${prefix} events arrive in order, with the tokens`, async (t) => {
    const { upstream, run } = await setting(t);
    upstream.respondWith(answers.stream(streamFrames({ prefix, previews: 2 })));
    const { events, thrown } = await run();
    assert.equal(thrown, undefined);
    assert.deepEqual(events, [preview(0), preview(1), PICTURE, END]);
  });
}

test('it does not matter where a stream is cut into chunks', async (t) => {
  const { upstream, run } = await setting(t);
  const bytes = Buffer.from([': ok\r\n\r\n', ...streamFrames({ previews: 2 })].join(''));
  const places = fc.array(fc.nat({ max: bytes.length }), { maxLength: 12 });
  const property = fc.asyncProperty(places, async (at) => {
    const edges = [0, ...at.sort((a, b) => a - b), bytes.length];
    upstream.respondWith(
      answers.stream(edges.slice(1).map((edge, index) => bytes.subarray(edges[index], edge))),
    );
    assert.deepEqual((await run()).events, [preview(0), preview(1), PICTURE, END]);
  });
  await fc.assert(property, runs(20));
});

test('a preview arrives while the picture is still being drawn', { timeout: 10_000 }, async (t) => {
  const { upstream, begin } = await setting(t);
  const [first = '', last = ''] = streamFrames({ previews: 1 });
  const drawn = new EventTarget();
  upstream.respondWith(async (request, response) => {
    await answers.stallingStream([first])(request, response);
    await once(drawn, 'drawn');
    response.end(last);
  });
  const events = begin();
  const { value: arrived } = await events.next();
  assert.deepEqual(arrived && saidBy(arrived), preview(0));
  drawn.dispatchEvent(new Event('drawn'));
  const { value: picture } = await events.next();
  assert.deepEqual(picture && saidBy(picture), PICTURE);
  assert.deepEqual((await events.next()).value, END);
});

test('nothing is waited for once the picture is there', { timeout: 10_000 }, async (t) => {
  const { upstream, run } = await setting(t);
  upstream.respondWith(answers.stallingStream(streamFrames()));
  assert.deepEqual((await run()).events, [PICTURE, END]);
  assert.equal(await upstream.requests[0]?.left, true);
});

test('fewer previews than asked for are no failure, and more are dropped', async (t) => {
  const { upstream, run } = await setting(t);
  upstream.respondWith(answers.stream(streamFrames()));
  assert.deepEqual((await run()).events, [PICTURE, END]);
  upstream.respondWith(answers.stream(streamFrames({ previews: 5 })));
  assert.deepEqual((await run()).events, [preview(0), preview(1), PICTURE, END]);
});

test('a preview that cannot be read is left out, and the next one takes its number', async (t) => {
  const { upstream, run } = await setting(t);
  const type = 'image_generation.partial_image';
  const broken = ['?', undefined, 7].map((b64_json) => sseFrame({ type, b64_json, partial_image_index: 0 }));
  upstream.respondWith(answers.stream([...broken, ...streamFrames({ previews: 1 })]));
  assert.deepEqual((await run()).events, [preview(0), PICTURE, END]);
});

test('events nobody knows are skipped', async (t) => {
  const { upstream, run } = await setting(t);
  const strangers = [
    sseFrame({ type: 'image_generation.in_progress' }),
    sseFrame({ type: 'keepalive' }),
    'data: {}\n\n',
  ];
  upstream.respondWith(answers.stream([...strangers, ...streamFrames()]));
  assert.deepEqual((await run()).events, [PICTURE, END]);
});

test('an event that has its type in its name only is understood', async (t) => {
  const { upstream, run } = await setting(t);
  const data = JSON.stringify({ b64_json: PIXEL_PNG.toString('base64') });
  upstream.respondWith(
    answers.stream([`event: image_generation.completed\ndata: ${data}\n\ndata: [DONE]\n\n`]),
  );
  assert.deepEqual((await run()).events, [PICTURE, { ...END, usage: undefined }]);
});

test('a streamed picture is claimed to be of the format the event names, else of the one asked for', async (t) => {
  const { upstream, run } = await setting(t);
  const claimed = async (outputFormat: string) => {
    upstream.respondWith(answers.stream(streamFrames({ outputFormat })));
    const { events } = await run({ outputFormat: 'jpeg' });
    return events[0]?.type === 'image' ? events[0].image.type : undefined;
  };
  assert.equal(await claimed('webp'), 'image/webp');
  assert.equal(await claimed('x-evil/../svg'), 'image/jpeg');
});

test('JSON in place of a stream is an ordinary answer', async (t) => {
  const { upstream, run } = await setting(t);
  upstream.respondWith(answers.gptImage());
  const { events, thrown } = await run();
  assert.equal(thrown, undefined);
  assert.deepEqual(events, [PICTURE, END]);
});

test('an error before the stream keeps its status', async (t) => {
  const { upstream, run } = await setting(t);
  upstream.respondWith(answers.rateLimited());
  const { kind, billed, status, retryAfter } = failureOf((await run()).thrown);
  assert.deepEqual([kind, billed, status, retryAfter], ['rate_limited', 'no', 429, 20]);
});

// ---- Streams that fail ----

const [PARTIAL = '', COMPLETED = ''] = streamFrames({ previews: 1 });

const broken: Readonly<Record<string, readonly string[]>> = {
  'that is empty': [],
  'of heartbeats only': [':\n\n', ':\n\n'],
  'that ends after a preview': [PARTIAL],
  'that is done before its picture': ['data: [DONE]\n\n', COMPLETED],
  'that ends in the middle of its picture': [COMPLETED.slice(0, -40)],
  'of an event that is no JSON': ['data: upstream-secret\n\n'],
  'of an event that is null': ['data: null\n\n'],
  'of an event that is a list': ['data: []\n\n', COMPLETED],
  'of a picture that is missing': [sseFrame({ type: 'image_generation.completed' })],
  'of a picture that cannot be read': [
    sseFrame({ type: 'image_generation.completed', b64_json: 'upstream-secret' }),
  ],
  'of a picture by URL': [sseFrame({ type: 'image_generation.completed', url: 'http://169.254.169.254/' })],
  'of HTML': ['<!doctype html>\n<title>upstream-secret</title>\n'],
};
for (const [what, pieces] of Object.entries(broken)) {
  test(`a stream ${what} is of no shape we know`, async (t) => {
    const { upstream, run } = await setting(t);
    upstream.respondWith(answers.stream(pieces));
    const { events, thrown } = await run();
    assert.ok(
      events.every(({ type }) => type === 'preview'),
      inspect(events),
    );
    const { kind, billed, message } = failureOf(thrown);
    assert.deepEqual([kind, billed], ['shape', 'unknown']);
    assert.ok(!message.includes('upstream-secret'), message);
  });
}

test('a stream that is cut off is a broken connection', async (t) => {
  const { upstream, run } = await setting(t);
  upstream.respondWith(answers.cutStream([PARTIAL, COMPLETED.slice(0, 100)]));
  const { events, thrown } = await run();
  assert.deepEqual(events, [preview(0)]);
  const { kind, billed } = failureOf(thrown);
  assert.deepEqual([kind, billed], ['unavailable', 'unknown']);
});

function* forever(piece: string): Generator<string, void> {
  for (;;) yield piece;
}

test('a stream of ever more events is left long before it is over the cap', {
  timeout: 60_000,
}, async (t) => {
  const { upstream, run } = await setting(t);
  const frame = sseFrame({ type: 'image_generation.progress', padding: 'x'.repeat(1_000) });
  let sentBytes = 0;
  function* frames() {
    for (const piece of forever(frame)) {
      sentBytes += piece.length;
      yield piece;
    }
  }
  upstream.respondWith(async (_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    await pipeline(Readable.from(frames()), response).catch(() => undefined);
  });
  const { events, thrown } = await run();
  assert.deepEqual(events, []);
  const { kind, billed } = failureOf(thrown);
  assert.deepEqual([kind, billed], ['shape', 'unknown']);
  // Ten megabytes are ten thousand events, and connections hold some more.
  assert.ok(sentBytes < 40_000_000, `${sentBytes} bytes were sent`);
});

test('a stream over the cap is an error, whatever it is made of', { timeout: 20_000 }, async (t) => {
  const { upstream, run } = await setting(t);
  const { signal } = new AbortController();
  const fetch = createUpstreamFetch({ maxBytes: 100_000, signal });
  for (const piece of [':\n\n', 'data: 1', PARTIAL, 'x'.repeat(1000)]) {
    upstream.respondWith(async (_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      await pipeline(Readable.from(forever(piece.repeat(100))), response).catch(() => undefined);
    });
    const { kind, message } = failureOf((await run({ fetch, signal })).thrown);
    assert.equal(kind, 'shape');
    assert.match(message, /more than an answer may hold/);
    assert.equal(await upstream.requests.at(-1)?.left, true);
  }
});

const CANARY = 'canary-7f3a';
function errorFrame(error: unknown): string {
  return sseFrame({ type: 'error', error });
}

/** Kind, and what was billed when it came first and after a preview. */
const errors: readonly (readonly [
  what: string,
  frame: string,
  kind: string,
  first: string,
  later: string,
])[] = [
  [
    'a failure to draw',
    errorFrame({ type: 'image_generation_server_error', code: 'image_generation_failed', message: CANARY }),
    ...(['unavailable', 'unknown', 'unknown'] as const),
  ],
  [
    'a safety refusal of the drawn picture',
    errorFrame({ code: 'moderation_blocked', moderation_details: { moderation_stage: 'output' } }),
    ...(['content_filtered', 'unknown', 'unknown'] as const),
  ],
  [
    'a safety refusal of the prompt',
    errorFrame({ code: 'moderation_blocked', moderation_details: { moderation_stage: 'input' } }),
    ...(['content_filtered', 'no', 'unknown'] as const),
  ],
  ['a rate limit', errorFrame({ code: 'rate_limit_exceeded' }), 'rate_limited', 'no', 'unknown'],
  ['no credit', errorFrame({ type: 'insufficient_quota', code: null }), 'account', 'no', 'unknown'],
  ['an invalid request', errorFrame({ type: 'invalid_request_error' }), 'rejected', 'no', 'unknown'],
  [
    'more pictures than can be streamed',
    errorFrame({ type: 'image_generation_user_error', code: 'unsupported_parameter' }),
    ...(['rejected', 'no', 'unknown'] as const),
  ],
  ['a type alone', errorFrame({ type: 'server_error' }), 'unavailable', 'unknown', 'unknown'],
  ['a bare string', errorFrame(CANARY), 'unavailable', 'unknown', 'unknown'],
  ['no name', `data: {"error":{"code":"${CANARY}"}}\n\n`, 'unavailable', 'unknown', 'unknown'],
  ['no name and a bare string', `data: {"error":"${CANARY}"}\n\n`, 'unavailable', 'unknown', 'unknown'],
  [
    'everything in one object',
    sseFrame({ type: 'error', code: 'rate_limit_exceeded', message: CANARY }),
    ...(['rate_limited', 'no', 'unknown'] as const),
  ],
];
for (const [what, frame, kind, first, later] of errors) {
  test(`an error in the stream (${what}) is '${kind}', billed '${first}', or '${later}' once previews came`, async (t) => {
    const { upstream, run } = await setting(t);
    upstream.respondWith(answers.stream([frame, COMPLETED]));
    const early = await run();
    assert.deepEqual(early.events, []);
    upstream.respondWith(answers.stream([PARTIAL, frame, COMPLETED]));
    const late = await run();
    assert.deepEqual(late.events, [preview(0)]);
    for (const [{ thrown }, billed] of [
      [early, first],
      [late, later],
    ] as const) {
      const error = failureOf(thrown);
      assert.deepEqual([error.kind, error.billed], [kind, billed]);
      assert.equal(error.upstreamId, UPSTREAM_ID);
      assert.ok(!inspect(error, { depth: 10, showHidden: true }).includes('canary'), inspect(error));
    }
  });
}

test('an error after the picture does not take it back', async (t) => {
  const { upstream, run } = await setting(t);
  upstream.respondWith(answers.stream([COMPLETED, errorFrame({ type: 'server_error' })]));
  assert.deepEqual((await run()).events, [PICTURE, END]);
});

// ---- Leaving ----

for (const guarded of [true, false]) {
  test(`an abort in mid-stream is seen by the server and throws its reason${guarded ? '' : ', under any fetch'}`, {
    timeout: 10_000,
  }, async (t) => {
    const { upstream, begin } = await setting(t);
    upstream.respondWith(answers.stallingStream([PARTIAL, COMPLETED.slice(0, 50)]));
    const controller = new AbortController();
    const { signal } = controller;
    const events = begin(guarded ? { signal } : { signal, fetch });
    const { value: arrived } = await events.next();
    assert.deepEqual(arrived && saidBy(arrived), preview(0));
    const next = events.next();
    const reason = new Error('the client left');
    controller.abort(reason);
    await assert.rejects(next, (thrown) => thrown === reason);
    assert.equal(await upstream.requests[0]?.left, true);
  });
}

test('a reader that leaves in mid-stream closes the connection', { timeout: 10_000 }, async (t) => {
  const { upstream, begin } = await setting(t);
  upstream.respondWith(answers.stallingStream([PARTIAL]));
  const events = begin();
  await events.next();
  await events.return?.();
  assert.equal(await upstream.requests[0]?.left, true);
});

/**
 * What the `openai` package must be able to do with us, as a program that imports nothing but Node: run it with
 * whichever version of the package, against a server made by `startClientServer`.
 */
import assert from 'node:assert/strict';
import type { OpenAI as OpenAIClass } from 'openai';

/** What the program runs with. */
export interface OpenAIProgramOptions {
  /** The client class of the package. */
  readonly OpenAI: typeof OpenAIClass;
  /** Where the router is mounted. */
  readonly url: string;
}

/** One thing the package must be able to do. */
export interface OpenAIStep {
  /** The promise as a sentence. */
  readonly title: string;
  /** Throws when it is broken. */
  run(options: OpenAIProgramOptions): Promise<void>;
}

const MODEL = 'placeholder/sketch';
const PNG = '89504e470d0a1a0a';

/** A client whose API key is a scenario of the server. Retries are the package's own, as many as it likes. */
function clientOf({ OpenAI, url }: OpenAIProgramOptions, key: string): OpenAIClass {
  return new OpenAI({ baseURL: `${url}/oai/v1`, apiKey: key });
}

/** Draws for a scenario. The key is the end user too, by which the server counts the provider's calls. */
function draw(options: OpenAIProgramOptions, key: string, body: object = {}) {
  const client = clientOf(options, key);
  return client.images.generate({ model: MODEL, prompt: 'a hill', user: key, stream: false, ...body });
}

async function seen({ url }: OpenAIProgramOptions, key: string): Promise<unknown> {
  return (await fetch(new URL(`/seen/${key}`, url))).json();
}

/** What the package made of a refusal. */
async function refusal(
  { OpenAI }: OpenAIProgramOptions,
  request: Promise<unknown>,
): Promise<InstanceType<typeof OpenAIClass.APIError>> {
  const error = await request.then(
    () => assert.fail('it was not refused'),
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof OpenAI.APIError, String(error));
  assert.match(String(error.requestID), /^req_/);
  return error;
}

/** Every step, in no particular order. */
export const openaiProgram: readonly OpenAIStep[] = [
  {
    title: 'two pictures come as URLs that anybody can open',
    async run(options) {
      const answer = await draw(options, 'ordinary', { n: 2 });
      assert.equal(answer.data?.length, 2);
      assert.ok(Math.abs(answer.created - Date.now() / 1000) < 60);
      assert.equal(answer.size, '64x64');
      assert.equal(answer.usage?.total_tokens, 0);
      for (const { url } of answer.data ?? []) {
        const picture = await fetch(url ?? '');
        assert.equal(picture.headers.get('content-type'), 'image/png');
        assert.equal(Buffer.from(await picture.arrayBuffer()).toString('hex', 0, 8), PNG);
      }
    },
  },
  {
    title: 'two pictures come as base64',
    async run(options) {
      const answer = await draw(options, 'ordinary', { n: 2, response_format: 'b64_json', size: '128x64' });
      assert.equal(answer.data?.length, 2);
      for (const { b64_json: base64, url } of answer.data ?? []) {
        const bytes = Buffer.from(base64 ?? '', 'base64');
        assert.equal(bytes.toString('hex', 0, 8), PNG);
        assert.deepEqual([bytes.readUInt32BE(16), bytes.readUInt32BE(20)], [128, 64]);
        assert.equal(url, undefined);
      }
    },
  },
  {
    title: 'a model name needs no vendor, and gpt-image models answer base64 unasked',
    async run(options) {
      const answer = await draw(options, 'ordinary', { model: 'gpt-image-2' });
      assert.ok(answer.data?.[0]?.b64_json);
    },
  },
  {
    title: 'models are listed and retrieved',
    async run(options) {
      const client = clientOf(options, 'ordinary');
      const ids: string[] = [];
      for await (const model of client.models.list()) ids.push(model.id);
      assert.deepEqual(ids, ['openai/gpt-image-2', 'placeholder/gone', 'placeholder/old', MODEL]);
      const model = await client.models.retrieve(MODEL);
      assert.deepEqual([model.id, model.object, model.owned_by], [MODEL, 'model', 'placeholder']);
    },
  },
  {
    title: 'a model nobody offers is a NotFoundError, one not enabled a PermissionDeniedError',
    async run(options) {
      const { OpenAI } = options;
      const { models } = clientOf(options, 'restricted');
      const missing = await refusal(options, models.retrieve('nobody/nothing'));
      assert.ok(missing instanceof OpenAI.NotFoundError);
      assert.equal(missing.code, 'model_not_found');
      const denied = await refusal(options, models.retrieve(MODEL));
      assert.ok(denied instanceof OpenAI.PermissionDeniedError);
      assert.equal(denied.code, 'model_access_denied');
      const drawing = await refusal(options, draw(options, 'restricted'));
      assert.ok(drawing instanceof OpenAI.PermissionDeniedError);
      assert.equal(drawing.param, 'model');
      assert.deepEqual(await seen(options, 'restricted'), { requests: 3, calls: 0 });
    },
  },
  {
    title: 'a validation error is a BadRequestError that names the field, after one request',
    async run(options) {
      const error = await refusal(options, draw(options, 'validation', { n: 11 }));
      assert.ok(error instanceof options.OpenAI.BadRequestError);
      const { status, code, param, type } = error;
      assert.deepEqual([status, code, param, type], [400, 'validation_error', 'n', 'invalid_request_error']);
      assert.match(error.message, /from 1 to 10/);
      assert.deepEqual(await seen(options, 'validation'), { requests: 1, calls: 0 });
    },
  },
  {
    title: 'a budget that is used up costs one request and no call of the provider',
    async run(options) {
      const error = await refusal(options, draw(options, 'poor', { n: 2 }));
      assert.deepEqual(
        [error.status, error.code, error.type],
        [402, 'insufficient_quota', 'insufficient_quota'],
      );
      assert.deepEqual(await seen(options, 'poor'), { requests: 1, calls: 0 });
    },
  },
  {
    title: 'a wrong key is an AuthenticationError, after one request',
    async run(options) {
      const error = await refusal(options, draw(options, 'nobody'));
      assert.ok(error instanceof options.OpenAI.AuthenticationError);
      assert.equal(error.code, 'invalid_api_key');
      assert.deepEqual(await seen(options, 'nobody'), { requests: 1, calls: 0 });
    },
  },
  {
    title: 'a retired model is drawn by its successor, and the headers say so',
    async run(options) {
      const body = { model: 'placeholder/old', prompt: 'a hill', user: 'retired', quality: 'fine' } as object;
      const client = clientOf(options, 'retired');
      const request = client.images.generate({ prompt: 'a hill', ...body, stream: false });
      const { data, response } = await request.withResponse();
      assert.equal(data.data?.length, 1);
      assert.equal(response.headers.get('deprecation'), `@${Date.parse('2020-01-01') / 1000}`);
      assert.match(JSON.stringify(data), /"warnings":\[.*placeholder\/sketch/);
    },
  },
  {
    title: 'a retired model without a successor is refused once, naming who to use',
    async run(options) {
      const error = await refusal(options, draw(options, 'refused', { model: 'placeholder/gone' }));
      assert.deepEqual([error.status, error.code, error.param], [503, 'model_unavailable', 'model']);
      assert.match(error.message, /use placeholder\/sketch/);
      assert.deepEqual(await seen(options, 'refused'), { requests: 1, calls: 0 });
    },
  },
  {
    title: 'a safety refusal is moderation_blocked, after one request',
    async run(options) {
      const error = await refusal(options, draw(options, 'safety', { prompt: 'something unsafe' }));
      assert.ok(error instanceof options.OpenAI.BadRequestError);
      assert.deepEqual([error.code, error.type], ['moderation_blocked', 'image_generation_user_error']);
      assert.deepEqual(await seen(options, 'safety'), { requests: 1, calls: 1 });
    },
  },
  {
    title: 'a provider that is busy for a second is asked again, after that second',
    async run(options) {
      const startedAt = performance.now();
      const answer = await draw(options, 'busy', { prompt: 'busy at first' });
      assert.equal(answer.data?.length, 1);
      assert.ok(performance.now() - startedAt >= 990, 'it waited as it was told');
      assert.deepEqual(await seen(options, 'busy'), { requests: 2, calls: 2 });
    },
  },
  {
    title: 'a provider that is busy for minutes is not asked again, and the body says for how long',
    async run(options) {
      const error = await refusal(options, draw(options, 'busy-long', { prompt: 'busy for long' }));
      assert.ok(error instanceof options.OpenAI.RateLimitError);
      assert.equal(error.code, 'rate_limit_exceeded');
      assert.equal((error.error as { retry_after: number }).retry_after, 120);
      assert.deepEqual(await seen(options, 'busy-long'), { requests: 1, calls: 1 });
    },
  },
  {
    title: 'more pictures than a whole minute has is a RateLimitError nobody retries',
    async run(options) {
      const error = await refusal(options, draw(options, 'limited', { n: 2 }));
      assert.ok(error instanceof options.OpenAI.RateLimitError);
      assert.equal(error.code, 'rate_limit_exceeded');
      assert.deepEqual(await seen(options, 'limited'), { requests: 1, calls: 0 });
    },
  },
  {
    title: 'a provider that was too slow, and may have charged, is not asked again',
    async run(options) {
      const error = await refusal(options, draw(options, 'timeout', { prompt: 'too slow' }));
      assert.ok(error instanceof options.OpenAI.InternalServerError);
      assert.deepEqual([error.status, error.code], [504, 'backend_timeout']);
      assert.equal(error.headers?.get('x-should-retry'), 'false');
      assert.deepEqual(await seen(options, 'timeout'), { requests: 1, calls: 1 });
    },
  },
  {
    title: 'a request is sent again when the provider was down and charged nothing',
    async run(options) {
      await draw(options, 'flaky', { prompt: 'down at first' });
      assert.deepEqual(await seen(options, 'flaky'), { requests: 2, calls: 3 });
    },
  },
];

/** Checks of what every request has in common: ids, errors, who is asking, bodies. None draws a picture. */
import assert from 'node:assert/strict';
import type { Check } from '../check.js';
import {
  type ApiCheck,
  type ApiSubject,
  ask,
  askUrl,
  at,
  type CreateApi,
  GENERATE,
  jsonOf,
  post,
  toCheck,
} from './subject.js';

const UNKNOWN = 'nobody/no-such-model';

async function unknownModel(subject: ApiSubject, surface: keyof typeof GENERATE) {
  return post(subject, GENERATE[surface], { model: UNKNOWN, prompt: 'A lighthouse at dawn' });
}

/** Fails unless the JSON is the native surface's error with this code. */
function assertNativeError(json: unknown, code: string): void {
  assert.equal(at(json, 'status'), 'error', 'status says error');
  assert.equal(at(json, 'error.code'), code);
  assert.equal(typeof at(json, 'error.message'), 'string', 'error.message is for people');
  assert.equal(typeof at(json, 'meta.request_id'), 'string', 'meta.request_id is there');
}

const CHECKS: readonly ApiCheck[] = [
  {
    id: 'request-id.answers',
    title: 'every answer has an X-Request-Id, which the native envelope repeats',
    level: 'MUST',
    async run(subject) {
      const answers = [
        await ask(subject, '/v1/models?modality=image'),
        await unknownModel(subject, 'native'),
        await ask(subject, GENERATE.native),
      ];
      for (const { headers, bytes } of answers) {
        const id = headers.get('x-request-id');
        assert.ok(id, 'X-Request-Id is there');
        assert.equal(at(JSON.parse(bytes.toString()), 'meta.request_id'), id, 'both ids are the same');
      }
      const openai = await unknownModel(subject, 'openai');
      assert.ok(openai.headers.get('x-request-id'), 'X-Request-Id is there on the OpenAI surface');
      return undefined;
    },
  },
  {
    id: 'request-id.unique',
    title: 'no two requests have the same id',
    level: 'MUST',
    async run(subject) {
      const idOf = async () => at(jsonOf(await ask(subject, '/v1/models'), 200), 'meta.request_id');
      assert.notEqual(await idOf(), await idOf());
      return undefined;
    },
  },
  {
    id: 'auth.required',
    title: 'who does not say who is asking is answered 401, before the body is looked at',
    level: 'SHOULD',
    async run({ baseUrl }) {
      const json = jsonOf(await askUrl(`${baseUrl}/v1/models`), 401);
      assertNativeError(json, 'AUTH_TOKEN_MISSING');
      const request = { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{}' };
      jsonOf(await askUrl(baseUrl + GENERATE.native, request), 401);
      const openai = jsonOf(await askUrl(baseUrl + GENERATE.openai, request), 401);
      assert.equal(at(openai, 'error.code'), 'invalid_api_key');
      return undefined;
    },
  },
  {
    id: 'errors.native',
    title: 'a model nobody offers is 404 in the native envelope',
    level: 'MUST',
    async run(subject) {
      assertNativeError(jsonOf(await unknownModel(subject, 'native'), 404), 'MODEL_NOT_FOUND');
      const one = await ask(subject, `/v1/models/${encodeURIComponent(UNKNOWN)}`);
      assertNativeError(jsonOf(one, 404), 'MODEL_NOT_FOUND');
      return undefined;
    },
  },
  {
    id: 'errors.openai',
    title: "a model nobody offers is 404 in OpenAI's shape on its surface",
    level: 'MUST',
    async run(subject) {
      const json = jsonOf(await unknownModel(subject, 'openai'), 404);
      assert.equal(at(json, 'error.code'), 'model_not_found');
      assert.equal(at(json, 'error.type'), 'invalid_request_error');
      assert.equal(at(json, 'error.param'), 'model');
      assert.equal(typeof at(json, 'error.message'), 'string');
      return undefined;
    },
  },
  {
    id: 'errors.retries',
    title: 'errors that no retry can mend tell client libraries so',
    level: 'MUST',
    async run(subject) {
      const answers = [
        await unknownModel(subject, 'native'),
        await unknownModel(subject, 'openai'),
        await post(subject, GENERATE.openai, {}),
      ];
      for (const { headers } of answers) assert.equal(headers.get('x-should-retry'), 'false');
      return undefined;
    },
  },
  {
    id: 'methods.allow',
    title: 'a wrong method is 405 and says which are right, also to strangers',
    level: 'MUST',
    async run({ baseUrl }) {
      const endpoints = {
        [GENERATE.native]: 'POST',
        '/v1/models': 'GET, HEAD',
        '/v1/media/x.png': 'GET, HEAD',
      };
      for (const [path, allow] of Object.entries(endpoints)) {
        const answer = await askUrl(baseUrl + path, { method: 'DELETE' });
        assertNativeError(jsonOf(answer, 405), 'METHOD_NOT_ALLOWED');
        assert.equal(answer.headers.get('allow'), allow);
      }
      return undefined;
    },
  },
  {
    id: 'body.fields',
    title: 'every wrong field of a body is named, with what would be right',
    level: 'MUST',
    async run(subject) {
      const body = { model: subject.model, prompt: '', n: 0 };
      const json = jsonOf(await post(subject, GENERATE.native, body), 422);
      assertNativeError(json, 'VALIDATION_ERROR');
      const details = at(json, 'error.details');
      assert.ok(Array.isArray(details), 'error.details is a list');
      assert.deepEqual(details.map((detail) => at(detail, 'field')).sort(), ['n', 'prompt']);
      for (const detail of details) assert.equal(typeof at(detail, 'message'), 'string');
      const openai = jsonOf(await post(subject, GENERATE.openai, { ...body, prompt: 'x' }), 400);
      assert.equal(at(openai, 'error.param'), 'n');
      return undefined;
    },
  },
  {
    id: 'body.malformed',
    title: 'a body that is not JSON is refused',
    level: 'MUST',
    async run(subject) {
      const request = { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"model":' };
      const native = jsonOf(await ask(subject, GENERATE.native, request), 422);
      assertNativeError(native, 'VALIDATION_ERROR');
      const openai = jsonOf(await ask(subject, GENERATE.openai, request), 400);
      assert.equal(at(openai, 'error.type'), 'invalid_request_error');
      return undefined;
    },
  },
  {
    id: 'body.content-type',
    title: 'a body of another type is refused, because pages of other sites can send it',
    level: 'MUST',
    async run(subject) {
      // Wrong in itself too, so that nothing is drawn by a deployment that takes it.
      const body = JSON.stringify({ model: subject.model, prompt: '' });
      const request = { method: 'POST', headers: { 'content-type': 'text/plain' }, body };
      const json = jsonOf(await ask(subject, GENERATE.native, request), 422);
      assert.equal(at(json, 'error.details.0.field'), 'body');
      return undefined;
    },
  },
];

/** Checks of requests and errors. */
export const requestChecks: readonly Check<CreateApi>[] = CHECKS.map(toCheck);

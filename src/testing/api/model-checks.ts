/** Checks of the model listings and of the OpenAPI document. None draws a picture. */
import assert from 'node:assert/strict';
import type { Check } from '../check.js';
import {
  type ApiCheck,
  type ApiSubject,
  ask,
  askUrl,
  at,
  type CreateApi,
  jsonOf,
  toCheck,
} from './subject.js';

/** Every item of the native list, page by page. */
async function everyModel(subject: ApiSubject, limit: number): Promise<readonly unknown[]> {
  const items: unknown[] = [];
  let query = `modality=image&limit=${limit}`;
  for (;;) {
    const json = jsonOf(await ask(subject, `/v1/models?${query}`), 200);
    const page = at(json, 'data.items');
    assert.ok(Array.isArray(page), 'data.items is a list');
    assert.ok(page.length <= limit, 'a page holds no more than limit');
    items.push(...page);
    const cursor = at(json, 'pagination.next_cursor');
    assert.equal(at(json, 'pagination.has_more'), cursor !== null, 'has_more goes with next_cursor');
    if (cursor === null) return items;
    assert.ok(page.length > 0, 'a page with more to come is not empty');
    query = `modality=image&limit=${limit}&cursor=${encodeURIComponent(String(cursor))}`;
  }
}

function assertModel(item: unknown, model: string): void {
  assert.equal(at(item, 'slug'), model);
  assert.equal(at(item, 'modality'), 'image');
  assert.match(String(at(item, 'status')), /^(active|deprecated|retired)$/);
  assert.match(String(at(item, 'health_status')), /^(healthy|degraded|unhealthy|unavailable)$/);
  for (const count of ['active_backend_count', 'total_backend_count']) {
    assert.equal(typeof at(item, count), 'number', `${count} is a number`);
  }
  for (const facts of ['capabilities', 'pricing']) {
    assert.equal(typeof at(item, facts), 'object', `${facts} are there`);
  }
}

const CHECKS: readonly ApiCheck[] = [
  {
    id: 'models.list',
    title: 'the native list has the model, with what it can do and costs',
    level: 'MUST',
    async run(subject) {
      const { model } = subject;
      const items = await everyModel(subject, 1000);
      const found = items.find((item) => at(item, 'slug') === model);
      assert.ok(found, `${model} is listed`);
      assertModel(found, model);
      return undefined;
    },
  },
  {
    id: 'models.pages',
    title: 'small pages add up to the whole list',
    level: 'MUST',
    async run(subject) {
      const slugs = (items: readonly unknown[]) => items.map((item) => at(item, 'slug'));
      assert.deepEqual(slugs(await everyModel(subject, 1)), slugs(await everyModel(subject, 1000)));
      return undefined;
    },
  },
  {
    id: 'models.one',
    title: 'one model answers to its slug',
    level: 'MUST',
    async run(subject) {
      const json = jsonOf(await ask(subject, `/v1/models/${subject.model}`), 200);
      assertModel(at(json, 'data'), subject.model);
      return undefined;
    },
  },
  {
    id: 'models.encoded-slash',
    title: 'the slash in a slug may be written %2F, as client libraries do',
    level: 'MUST',
    async run(subject) {
      const slug = encodeURIComponent(subject.model);
      assertModel(at(jsonOf(await ask(subject, `/v1/models/${slug}`), 200), 'data'), subject.model);
      const openai = jsonOf(await ask(subject, `/oai/v1/models/${slug}`), 200);
      assert.equal(at(openai, 'id'), subject.model);
      return undefined;
    },
  },
  {
    id: 'models.openai',
    title: "the OpenAI surface lists the model and answers to its slug in OpenAI's shape",
    level: 'MUST',
    async run(subject) {
      const { model } = subject;
      const list = jsonOf(await ask(subject, '/oai/v1/models'), 200);
      assert.equal(at(list, 'object'), 'list');
      const data = at(list, 'data');
      assert.ok(Array.isArray(data), 'data is a list');
      const one = jsonOf(await ask(subject, `/oai/v1/models/${model}`), 200);
      for (const item of [data.find((entry) => at(entry, 'id') === model), one]) {
        assert.equal(at(item, 'id'), model);
        assert.equal(at(item, 'object'), 'model');
        assert.equal(typeof at(item, 'owned_by'), 'string');
      }
      return undefined;
    },
  },
  {
    id: 'openapi.served',
    title: 'the OpenAPI document is there for everybody',
    level: 'SHOULD',
    async run({ baseUrl }) {
      const json = jsonOf(await askUrl(`${baseUrl}/v1/images/openapi.json`), 200);
      assert.match(String(at(json, 'openapi')), /^3\.1\./);
      return undefined;
    },
  },
];

/** Checks of model listings. */
export const modelChecks: readonly Check<CreateApi>[] = CHECKS.map(toCheck);

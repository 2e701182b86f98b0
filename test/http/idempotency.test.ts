import assert from 'node:assert/strict';
import { test } from 'node:test';
import sharp from 'sharp';
import { memoryBudget } from '../../src/budgets/memory.js';
import type { BudgetStore } from '../../src/core/budget.js';
import type { Provider } from '../../src/core/provider.js';
import type { MediaStorage } from '../../src/core/storage.js';
import { ProviderError } from '../../src/errors.js';
import { placeholder } from '../../src/providers/placeholder.js';
import { memoryStorage } from '../../src/storage/memory.js';
import {
  createTestApp,
  TEST_KEY,
  type TestApp,
  type TestAppOptions,
  testModel,
  until,
} from '../support/app.js';
import { dataUrl, EDIT_PATHS } from '../support/forms.js';
import { picture } from '../support/pictures.js';
import { runs } from '../support/runs.js';

const BODY = { model: 'placeholder/sketch', prompt: 'a' };

/** What of a native answer is the same in a replay: all but URLs and the request's own id. */
function lasting({ data }: { readonly data: { readonly data: readonly Record<string, unknown>[] } }): object {
  return { ...data, data: data.data.map(({ url: _, expires_at: __, ...rest }) => rest) };
}

function keyed(app: TestApp, key: string, body: object = BODY) {
  return app.native(body).set('Idempotency-Key', key);
}

test('the same key and body get the first answer again, with fresh URLs, and pay once', async (t) => {
  const app = await createTestApp(t);
  const first = await keyed(app, 'k1', { ...BODY, n: 2 }).expect(200);
  const again = await keyed(app, 'k1', { n: 2, prompt: 'a', model: 'placeholder/sketch' }).expect(200);
  assert.equal(first.headers['idempotency-replayed'], undefined);
  assert.equal(again.headers['idempotency-replayed'], 'true');
  assert.deepEqual(lasting(again.body), lasting(first.body));
  assert.notEqual(again.body.meta.request_id, first.body.meta.request_id);
  assert.equal((await fetch(again.body.data.data[1].url)).status, 200);
  assert.equal(app.calls.length, 1);
  assert.deepEqual((await app.balances())['monthly-usd-tenant'], { spent: 80_000, held: 0 });
});

test('pictures handed over as base64 are stored for their replay, and are the same bytes', async (t) => {
  const app = await createTestApp(t);
  const body = { ...BODY, response_format: 'b64_json' };
  const first = await keyed(app, 'k', body).expect(200);
  const again = await keyed(app, 'k', body).expect(200);
  const [picture] = first.body.data.data;
  assert.match(picture.id, /^img_/);
  assert.ok(picture.expires_at > Date.now() / 1000, 'it says how long it is kept');
  assert.deepEqual(again.body.data, first.body.data);
});

test('the OpenAI surface replays its own answer', async (t) => {
  const app = await createTestApp(t);
  const body = { ...BODY, response_format: 'b64_json' };
  const first = await app.openai(body).set('Idempotency-Key', 'k').expect(200);
  const again = await app.openai(body).set('Idempotency-Key', 'k').expect(200);
  assert.deepEqual(again.body, first.body);
  assert.equal(app.calls.length, 1);
});

test('a streamed answer is replayed as a stream of its completed pictures', async (t) => {
  const app = await createTestApp(t);
  const body = { ...BODY, stream: true, partial_images: 2 };
  const first = await app.openai(body).set('Idempotency-Key', 'k').expect(200);
  const again = await app.openai(body).set('Idempotency-Key', 'k').expect(200);
  assert.match(first.text, /partial_image/);
  assert.doesNotMatch(again.text, /partial_image/);
  const completed = (text: string) => /event: image_generation\.completed\n.*\n/.exec(text)?.[0];
  assert.equal(completed(again.text), completed(first.text));
  assert.equal(again.headers['idempotency-replayed'], 'true');
});

test('another body, surface or operation under the same key is a conflict, and costs nothing', async (t) => {
  const app = await createTestApp(t);
  await keyed(app, 'k').expect(200);
  const edit = app.http
    .post(EDIT_PATHS[0])
    .set({ Authorization: `Bearer ${TEST_KEY}`, 'Idempotency-Key': 'k' })
    .send({ ...BODY, images: [dataUrl(await picture('png'))] });
  const others = [
    edit,
    keyed(app, 'k', { ...BODY, prompt: 'b' }),
    keyed(app, 'k', { ...BODY, seed: 1 }),
    app.openai(BODY).set('Idempotency-Key', 'k'),
  ];
  for (const other of others) {
    const { body, headers } = await other.expect(409);
    assert.match(JSON.stringify(body), /idempotency_conflict/i);
    assert.equal(headers['x-should-retry'], 'false');
  }
  assert.equal(app.calls.length, 1);
});

for (const path of EDIT_PATHS) {
  test(`the pictures of an edit are part of what its key stands for at ${path}`, async (t) => {
    const app = await createTestApp(t);
    const [one, two] = [dataUrl(await picture('png')), dataUrl(await picture('jpeg'), 'image/jpeg')];
    const [over, other] = await Promise.all(['#0000', '#0008'].map(maskOf));
    const edit = (changes: object) => {
      const body = { ...BODY, images: [one, two], mask: over, ...changes };
      return app.http
        .post(path)
        .set({ Authorization: `Bearer ${TEST_KEY}`, 'Idempotency-Key': 'k' })
        .send(body);
    };
    await edit({}).expect(200);
    const again = await edit({}).expect(200);
    assert.equal(again.headers['idempotency-replayed'], 'true');
    const others: Readonly<Record<string, object>> = {
      'another picture': { images: [one, one] },
      'fewer pictures': { images: [one] },
      'another order': { images: [two, one] },
      'another mask': { mask: other },
      'no mask': { mask: undefined },
    };
    for (const [name, changes] of Object.entries(others)) {
      assert.equal((await edit(changes)).status, 409, name);
    }
    assert.equal(app.calls.length, 1);
  });
}

/** A mask of one colour, as a data URL. */
async function maskOf(background: string): Promise<string> {
  const create = { width: 64, height: 64, channels: 4, background } as const;
  return dataUrl(await sharp({ create }).png().toBuffer());
}

test('a conflict is told before the model is looked at', async (t) => {
  const app = await createTestApp(t);
  await keyed(app, 'k').expect(200);
  await keyed(app, 'k', { ...BODY, model: 'no/such' }).expect(409);
});

test('tenants do not share keys', async (t) => {
  const budget = memoryBudget();
  const one = await createTestApp(t, { budget });
  const other = await createTestApp(t, { budget, caller: { tenant: 'other' } });
  await keyed(one, 'k').expect(200);
  const { headers } = await keyed(other, 'k', { ...BODY, prompt: 'b' }).expect(200);
  assert.equal(headers['idempotency-replayed'], undefined);
});

test('the same key sent many times at once draws once and answers all alike', async (t) => {
  const app = await createTestApp(t, { placeholder: { delayMs: 150 } });
  const answers = await Promise.all(
    Array.from({ length: runs(20).numRuns }, () => keyed(app, 'k').expect(200)),
  );
  const [first, ...others] = answers.map(({ body }) => lasting(body));
  for (const other of others) assert.deepEqual(other, first);
  assert.equal(app.calls.length, 1);
  assert.equal(answers.filter(({ headers }) => headers['idempotency-replayed'] === undefined).length, 1);
});

test('an unlimited caller’s keys work too', async (t) => {
  const app = await createTestApp(t, { caller: { budgets: 'unlimited' } });
  await keyed(app, 'k').expect(200);
  const { headers } = await keyed(app, 'k').expect(200);
  assert.equal(headers['idempotency-replayed'], 'true');
});

test('a request that ended unbilled is forgotten, so that its retry runs', async (t) => {
  const app = await createTestApp(t);
  await keyed(app, 'k', { ...BODY, prompt: '[fail:rejected]' }).expect(400);
  await keyed(app, 'k').expect(200);
});

test('an error that was billed is replayed rather than paid again', async (t) => {
  const fail = () => new ProviderError('shape', 'It came out wrong.', { billed: 'yes' });
  const app = await createTestApp(t, { placeholder: { fail } });
  const first = await keyed(app, 'k').expect(502);
  const again = await keyed(app, 'k').expect(502);
  assert.deepEqual(again.body.error, first.body.error);
  assert.equal(again.headers['x-should-retry'], 'false');
  assert.equal(app.calls.length, 1);
  assert.deepEqual((await app.balances())['monthly-usd-tenant'], { spent: 40_000, held: 0 });
});

/** A provider of one model that is drawn at a price by picture. */
function providing(generate: Provider['generate']): readonly Provider[] {
  const [model] = placeholder({ models: [testModel()] }).models;
  assert.ok(model, 'the placeholder has a model');
  return [{ name: 'p', models: [model], generate }];
}

test('an error that may have been billed is replayed although nothing is booked for it', async (t) => {
  const outcomes: Readonly<Record<string, TestAppOptions>> = {
    'the vendor may have charged, and the host waives that': {
      spend: { unknownCost: 'waive' },
      placeholder: { fail: () => new ProviderError('shape', 'It came out wrong.', { billed: 'unknown' }) },
    },
    'the vendor ended well, without a picture': {
      providers: providing(async function* () {
        yield { type: 'end' };
      }),
    },
  };
  for (const [what, options] of Object.entries(outcomes)) {
    const app = await createTestApp(t, options);
    const first = await keyed(app, 'k');
    assert.equal(first.headers['x-should-retry'], 'false', what);
    const again = await keyed(app, 'k').expect(first.status);
    assert.deepEqual(again.body.error, first.body.error, what);
    assert.deepEqual((await app.balances())['monthly-usd-tenant'], { spent: 0, held: 0 }, what);
    assert.equal(app.eventsOf('upstream.call').length, 1, what);
  }
});

test('the same key sent many times at once gets one unbilled failure, and draws once', async (t) => {
  const fail = () => new ProviderError('rejected', 'It will not draw this.', { billed: 'no' });
  const app = await createTestApp(t, { placeholder: { delayMs: 500, fail } });
  const answers = await Promise.all(Array.from({ length: 20 }, () => keyed(app, 'k').expect(400)));
  for (const { body } of answers) assert.deepEqual(body.error, answers[0]?.body.error);
  assert.equal(app.calls.length, 1);
  await keyed(app, 'k').expect(400);
  assert.equal(app.calls.length, 2, 'a retry after it is over runs');
});

test('of twins at several processes that fail unbilled, each process draws at most once', async (t) => {
  const budget = memoryBudget();
  const fail = () => new ProviderError('rejected', 'It will not draw this.', { billed: 'no' });
  const apps = await Promise.all(
    [1, 2, 3].map(() => createTestApp(t, { budget, placeholder: { delayMs: 500, fail } })),
  );
  const sent = apps.flatMap((app) => Array.from({ length: 8 }, () => keyed(app, 'k').expect(400)));
  await Promise.all(sent);
  for (const { calls } of apps) assert.ok(calls.length <= 1, `${calls.length} calls from one process`);
});

for (const format of ['url', 'b64_json']) {
  test(`a replay as ${format} says which of its pictures were deleted since, and hands over the others`, async (t) => {
    const app = await createTestApp(t);
    const body = { ...BODY, n: 2, response_format: format };
    const [deleted, kept] = (await keyed(app, 'k', body).expect(200)).body.data.data;
    await app.router.deletePicture(deleted.id);
    const { data } = (await keyed(app, 'k', body).expect(200)).body;
    assert.deepEqual(
      data.data.map(({ id }: { readonly id: string }) => id),
      [kept.id],
    );
    assert.deepEqual(
      [data.errors.length, data.errors[0].index, data.errors[0].code],
      [1, 0, 'MEDIA_NOT_FOUND'],
    );
    await app.router.deletePicture(kept.id);
    await keyed(app, 'k', body).expect(404);
    assert.equal(app.calls.length, 1);
  });
}

test('a replay that storage fails to read may be asked for again, and says when', async (t) => {
  const inner = memoryStorage();
  let fails = false;
  const get: MediaStorage['get'] = (...values) =>
    fails ? Promise.reject(new Error('down')) : inner.get(...values);
  const app = await createTestApp(t, { storage: { ...inner, get } });
  const body = { ...BODY, n: 2, response_format: 'b64_json' };
  await keyed(app, 'k', body).expect(200);
  fails = true;
  const { headers } = await keyed(app, 'k', body).expect(503);
  assert.equal(headers['x-should-retry'], undefined);
  assert.equal(headers['retry-after'], '5');
  fails = false;
  assert.equal((await keyed(app, 'k', body).expect(200)).body.data.data.length, 2);
});

test('a client that leaves has its pictures drawn, stored and paid, and its retry gets them', async (t) => {
  const app = await createTestApp(t, { placeholder: { delayMs: 150 } });
  const leaving = new AbortController();
  const left = fetch(`${app.url}/v1/inference/images/generate`, {
    method: 'POST',
    headers: {
      Authorization: 'Bearer test-key-1',
      'Content-Type': 'application/json',
      'Idempotency-Key': 'k',
    },
    body: JSON.stringify(BODY),
    signal: leaving.signal,
  });
  await until(() => app.calls.length === 1);
  leaving.abort();
  await assert.rejects(left, { name: 'AbortError' });
  const { headers, body } = await keyed(app, 'k').expect(200);
  assert.equal(headers['idempotency-replayed'], 'true');
  assert.equal(body.data.data.length, 1);
  assert.equal(app.calls.length, 1);
});

test('a request lost in a crash is booked, and its key says that nobody knows what came of it', async (t) => {
  const store = memoryBudget();
  // A process that dies between reserve and commit, as the store sees it.
  const dying: BudgetStore = {
    ...store,
    reserve: (request) => store.reserve({ ...request, leaseMs: 30 }),
    commit: async () => 'settled',
  };
  const app = await createTestApp(t, { budget: dying });
  await keyed(app, 'k').expect(200);
  await until(async () => (await app.balances())['monthly-usd-tenant']?.spent === 40_000);
  const { body } = await keyed(app, 'k').expect(409);
  assert.equal(body.error.code, 'IDEMPOTENCY_CONFLICT');
  assert.equal(body.error.reason, 'outcome_unknown');
  assert.equal(app.calls.length, 1);
});

test('a twin that waits beyond its own deadline is told to ask again', async (t) => {
  const budget = memoryBudget();
  const slow = await createTestApp(t, { budget, placeholder: { delayMs: 1500 } });
  const impatient = await createTestApp(t, { budget, limits: { requestMs: 200 } });
  const first = keyed(slow, 'k').then((answer) => answer);
  await until(() => slow.calls.length === 1);
  const { body } = await keyed(impatient, 'k').expect(409);
  assert.equal(body.error.reason, 'in_progress');
  assert.ok(body.error.retry_after >= 1, 'it says when to ask again');
  assert.equal((await first).status, 200);
});

test('bytes in hand are delivered although neither storage nor the spool took them', async (t) => {
  const storage = { ...memoryStorage(), put: () => Promise.reject(new Error('full')) };
  const app = await createTestApp(t, { storage, limits: { spoolBytes: 1 } });
  const { body } = await keyed(app, 'k', { ...BODY, response_format: 'b64_json' }).expect(200);
  assert.equal(typeof body.data.data[0].b64_json, 'string');
  assert.equal(body.data.data[0].id, undefined);
});

for (const key of ['', 'k'.repeat(256), 'a b', 'ä']) {
  test(`the key ${JSON.stringify(key.slice(0, 8))} is refused`, async (t) => {
    const app = await createTestApp(t);
    const { body } = await keyed(app, encodeHeader(key)).expect(422);
    assert.equal(body.error.details[0].field, 'Idempotency-Key');
  });
}

/** Header values travel as Latin-1. */
function encodeHeader(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1');
}

test('a replay says which of its pictures were damaged since, and hands over the others', async (t) => {
  const memory = memoryStorage();
  let rotten = '';
  const storage: MediaStorage = {
    ...memory,
    async get(key, options) {
      const object = await memory.get(key, options);
      return object && key.includes(rotten) && rotten !== '' ? { ...object, sha256: '0'.repeat(64) } : object;
    },
  };
  const app = await createTestApp(t, { storage });
  const body = { ...BODY, n: 2, response_format: 'b64_json' };
  const [whole, damaged] = (await keyed(app, 'k', body).expect(200)).body.data.data;
  rotten = damaged.id.split('_').at(-1);
  const { data } = (await keyed(app, 'k', body).expect(200)).body;
  assert.deepEqual(
    data.data.map(({ id }: { readonly id: string }) => id),
    [whole.id],
  );
  const [{ index, code, reason }] = data.errors;
  assert.deepEqual([index, code, reason], [1, 'STORAGE_ERROR', 'damaged']);
  assert.equal(app.calls.length, 1);
});

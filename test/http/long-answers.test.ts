/** Answers too long to be sent whole: pictures in base64 go out as they come, in pieces. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import sharp from 'sharp';
import { memoryStorage } from '../../src/storage/memory.js';
import { createTestApp, TEST_KEY, type TestApp, testModel } from '../support/app.js';
import { altered } from '../support/hostile-providers.js';

const EDGE = 400;
const BODY = {
  model: 'placeholder/sketch',
  prompt: 'Noise',
  size: `${EDGE}x${EDGE}`,
  response_format: 'b64_json',
};

/** A picture that no encoder makes small: about half a megabyte. */
const noise = await sharp(randomBytes(EDGE * EDGE * 3), { raw: { width: EDGE, height: EDGE, channels: 3 } })
  .png()
  .toBuffer();
const tamper = () => ({ bytes: noise, type: 'image/png' });

function post(
  app: TestApp,
  path: string,
  body: object,
  headers: Record<string, string> = {},
): Promise<Response> {
  return fetch(`${app.url}${path}`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${TEST_KEY}`, 'Content-Type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });
}

async function pixelsOf(text: string): Promise<Buffer> {
  return sharp(Buffer.from(text, 'base64')).raw().toBuffer();
}

for (const path of ['/v1/inference/images/generate', '/oai/v1/images/generations']) {
  test(`a long answer of ${path} is whole`, async (t) => {
    const app = await createTestApp(t, { placeholder: { tamper } });
    const answer = await post(app, path, { ...BODY, n: 3 });
    assert.equal(answer.status, 200);
    assert.equal(answer.headers.get('content-type'), 'application/json; charset=utf-8');
    const body = JSON.parse(await answer.text());
    const pictures = body.data.data ?? body.data;
    assert.equal(pictures.length, 3);
    const expected = await sharp(noise).raw().toBuffer();
    for (const { b64_json } of pictures)
      assert.ok((await pixelsOf(b64_json)).equals(expected), 'the same pixels');
  });
}

test('a picture is on its way to the client while the next one is being drawn', async (t) => {
  let draw = () => {};
  const drawn = new Promise<void>((resolve) => {
    draw = resolve;
  });
  const provider = altered(
    async function* (events) {
      for await (const event of events) {
        if (event.type === 'image' && event.index === 1) await drawn;
        yield event;
      }
    },
    { tamper },
  );
  const app = await createTestApp(t, { providers: [provider] });
  const answer = await post(app, '/oai/v1/images/generations', { ...BODY, n: 2 });
  assert.ok(answer.body, 'a body');
  let text = '';
  for await (const chunk of answer.body) {
    text += Buffer.from(chunk).toString();
    // The second is drawn only once the client has the first.
    if (text.includes('"b64_json"') && text.length > noise.length) draw();
  }
  assert.equal(JSON.parse(text).data.length, 2);
});

test('pictures stand in the order of their index, whichever came first', async (t) => {
  const app = await createTestApp(t, {
    placeholder: {
      models: [testModel({ maxImages: 1 })],
      tamper,
      delayMs: (call) => (call.seed === 0 ? 200 : 0),
    },
  });
  const answer = await post(app, '/v1/inference/images/generate', { ...BODY, n: 3, seed: 0 });
  const { data } = JSON.parse(await answer.text());
  assert.deepEqual(
    data.data.map(({ index }: { index: number }) => index),
    [0, 1, 2],
  );
});

test('an answer that cannot be finished is broken off, so that no client takes it for whole', async (t) => {
  const storage = memoryStorage();
  let reads = 0;
  const app = await createTestApp(t, {
    placeholder: { tamper },
    storage: {
      ...storage,
      get: (key, options) => {
        reads += 1;
        return reads > 1 ? Promise.reject(new Error('the disk is gone')) : storage.get(key, options);
      },
    },
  });
  const keyed = () =>
    post(app, '/v1/inference/images/generate', { ...BODY, n: 2 }, { 'Idempotency-Key': 'long' });
  await (await keyed()).text();
  const again = await keyed();
  assert.equal(again.status, 200);
  await assert.rejects(again.text());
  const [failed] = app.eventsOf('request.failed');
  assert.equal(failed?.code, 'STORAGE_ERROR');
});

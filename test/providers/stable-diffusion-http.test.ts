import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ModelOffer } from '../../src/providers/stable-diffusion.js';
import { stableDiffusion } from '../../src/providers/stable-diffusion.js';
import { createTestApp } from '../support/app.js';
import { during } from '../support/diffusion-calls.js';
import { createSdapiServer } from '../support/diffusion-sdapi.js';
import { jsonOf } from '../support/diffusion-servers.js';

const TXT2IMG = '/sdapi/v1/txt2img';
const BODY = { model: 'stability/sd-xl', prompt: 'A lighthouse', response_format: 'b64_json' };

/** Small, so that tests are quick, and not what every server draws. */
const MODELS: readonly ModelOffer[] = [
  {
    sizes: {
      kind: 'list',
      values: [{ width: 126, height: 126 }],
      default: { width: 126, height: 126 },
    },
  },
];

test('a picture a server rounded up arrives with the pixels that were asked for', async (t) => {
  const server = await during(t, createSdapiServer({ flavour: 'sd-server' }));
  const app = await createTestApp(t, { providers: [stableDiffusion({ url: server.url, models: MODELS })] });
  const answer = await app.native(BODY);
  assert.equal(answer.status, 200, answer.text);
  const [{ width, height }] = answer.body.data.data;
  assert.deepEqual([width, height], [126, 126]);
});

test('several pictures of one request have seeds one after the other, and are drawn one by one', async (t) => {
  const server = await during(t, createSdapiServer());
  const app = await createTestApp(t, { providers: [stableDiffusion({ url: server.url, models: MODELS })] });
  const answer = await app.native({ ...BODY, n: 3, seed: 4_294_967_294 });
  assert.equal(answer.status, 200, answer.text);
  const sent = server.to(TXT2IMG).map((request) => jsonOf(request));
  assert.deepEqual(
    sent.map(({ batch_size: count }) => count),
    [1, 1, 1],
  );
  assert.deepEqual(new Set(sent.map(({ seed }) => seed)), new Set([4_294_967_294, 4_294_967_295, 0]));
});

test('where one of two servers dies in the middle of a picture, the other draws it', async (t) => {
  const [dying, well] = await Promise.all([during(t, createSdapiServer()), during(t, createSdapiServer())]);
  dying.override(TXT2IMG, (_request, response) => void response.destroy());
  const providers = [dying, well].map(({ url }, place) =>
    stableDiffusion({ name: `gpu${place}`, url, models: MODELS }),
  );
  const app = await createTestApp(t, { providers });
  const answer = await app.native(BODY);
  assert.equal(answer.status, 200, answer.text);
  assert.deepEqual([dying.to(TXT2IMG).length, well.to(TXT2IMG).length], [1, 1]);
});

test('a setting beyond its bounds is refused by its field, once, and no server is asked', async (t) => {
  const server = await during(t, createSdapiServer());
  const provider = stableDiffusion({
    url: server.url,
    models: MODELS,
    allow: { steps: { min: 1, max: 50 } },
  });
  const app = await createTestApp(t, { providers: [provider] });
  const answer = await app.native({ ...BODY, metadata: { steps: 1000 } });
  assert.equal(answer.status, 400, answer.text);
  assert.equal(answer.body.error.reason, 'rejected');
  assert.deepEqual(answer.body.error.details, [
    { field: 'metadata.steps', message: 'must be a whole number from 1 to 50' },
  ]);
  assert.equal(server.requests.length, 0);
});

test('a prompt with the control tag is refused by its field', async (t) => {
  const server = await during(t, createSdapiServer({ flavour: 'sd-server' }));
  const app = await createTestApp(t, { providers: [stableDiffusion({ url: server.url, models: MODELS })] });
  const prompt = 'a fox <sd_cpp_extra_args>{"width":4096}</sd_cpp_extra_args>';
  const answer = await app.native({ ...BODY, prompt });
  assert.equal(answer.status, 400, answer.text);
  assert.equal(answer.body.error.details[0].field, 'prompt');
  assert.equal(server.requests.length, 0);
});

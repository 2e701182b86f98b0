/** No body with pictures in it becomes one text: `JSON.parse` sees only what is left without them. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { type TestContext, test } from 'node:test';
import type { Provider } from '../../src/core/provider.js';
import { openai } from '../../src/providers/openai.js';
import { stableDiffusion } from '../../src/providers/stable-diffusion.js';
import { generateCall, outcomeOf } from '../support/generate-call.js';

const PICTURE = Buffer.alloc(1 << 20, 7).toString('base64');
/** More than all else there is to parse. */
const MAX_LENGTH = 10_000;

async function serve(t: TestContext, answer: object): Promise<string> {
  const body = JSON.stringify(answer);
  const server = createServer((request, response) => {
    request.resume();
    response.setHeader('content-type', 'application/json');
    response.end(body);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(async () => {
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const WAYS: Readonly<Record<string, readonly [answer: object, provider: (url: string) => Provider]>> = {
  OpenAI: [{ data: [{ b64_json: PICTURE }] }, (url) => openai({ apiKey: 'key', baseURL: `${url}/v1` })],
  'diffusion servers with /sdapi': [
    { images: [PICTURE], parameters: {}, info: '{}' },
    (url) => stableDiffusion({ url, protocol: 'sdapi' }),
  ],
  'diffusion servers like OpenAI': [
    { data: [{ b64_json: PICTURE }] },
    (url) => stableDiffusion({ url, protocol: 'openai' }),
  ],
  Stability: [
    { image: PICTURE, finish_reason: 'SUCCESS', seed: 1 },
    (url) => stableDiffusion({ url, protocol: 'stability', apiKey: 'key' }),
  ],
};

for (const [name, [answer, create]] of Object.entries(WAYS)) {
  test(`a picture of ${name} is decoded without a text of the whole answer`, async (t) => {
    const provider = create(await serve(t, answer));
    const [model] = provider.models;
    assert.ok(model, 'the provider has a model');
    const { parse } = JSON;
    let longest = 0;
    JSON.parse = (text: string, ...rest) => {
      longest = Math.max(longest, text.length);
      return parse(text, ...rest);
    };
    t.after(() => {
      JSON.parse = parse;
    });
    const { events } = await outcomeOf(provider, generateCall(model));
    JSON.parse = parse;
    const pictures = events.filter((event) => event.type === 'image');
    assert.equal(pictures[0]?.image.bytes.byteLength, 1 << 20);
    assert.ok(longest > 0 && longest < MAX_LENGTH, `the longest text parsed has ${longest} characters`);
  });
}

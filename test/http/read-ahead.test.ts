/** Of pictures that a slow client does not take, one is in memory; the others wait in files, however many calls drew. */
import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, type TestContext, test } from 'node:test';
import sharp from 'sharp';
import type { ImageEvent, Provider } from '../../src/core/provider.js';
import { openai } from '../../src/providers/openai.js';
import { createTestApp, until } from '../support/app.js';
import { answers, createOpenAIUpstream } from '../support/openai-upstream.js';
import { hugeNoise } from '../support/pictures.js';
import { framesOf, openAnswer, textOf } from '../support/sse.js';

// A place of its own, where no other process makes folders meanwhile.
process.env.TMPDIR = await mkdtemp(join(tmpdir(), 'read-ahead-'));
after(() => rm(tmpdir(), { recursive: true }));

const EDGE = 1024;
const COUNT = 10;
/** The one that is being written, and the next. */
const MOST_HELD = 2;
/** Three of four megabytes of base64 are more than a connection holds. */
const MOST_SENT = 3;

/** A picture no encoder makes small: three megabytes. */
const noise = await hugeNoise(EDGE);
const pixels = await sharp(noise).raw().toBuffer();

/** The real adapter in front of a server that draws one picture a call; counts those whose memory was not given back. */
async function countedProvider(t: TestContext) {
  const upstream = await createOpenAIUpstream();
  t.after(() => upstream.close());
  upstream.respondWith(answers.json(200, { created: 1, data: [{ b64_json: noise.toString('base64') }] }));
  const inner = openai({ apiKey: 'secret', baseURL: upstream.url });
  let held = 0;
  const provider: Provider = {
    ...inner,
    async *generate(call) {
      for await (const event of inner.generate(call)) {
        if (event.type === 'image') held += 1;
        yield event.type === 'image' ? { ...event, release: () => giveBack(event) } : event;
      }
    },
  };
  function giveBack(event: ImageEvent): void {
    held -= 1;
    event.release?.();
  }
  return { provider, held: () => held };
}

/** Files of pictures that wait. */
async function filesThatWait(): Promise<number> {
  const entries = await readdir(tmpdir(), { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).length;
}

const BODY = { model: 'dall-e-3', prompt: 'Noise', size: `${EDGE}x${EDGE}`, n: COUNT } as const;

/** How pictures are asked for, and how they are read: in base64. */
const WAYS = {
  'in an answer': {
    body: { response_format: 'b64_json' },
    read: async (response: AsyncIterable<Buffer>) =>
      JSON.parse(await textOf(response)).data.map(({ b64_json }: { b64_json: string }) => b64_json),
  },
  'in a stream': {
    body: { stream: true },
    read: async (response: AsyncIterable<Buffer>) => {
      const pictures: string[] = [];
      for await (const { data } of framesOf(response)) pictures.push(data.b64_json ?? '');
      return pictures;
    },
  },
} as const;

for (const [what, { body, read }] of Object.entries(WAYS)) {
  test(`ten pictures of parallel calls that nobody reads ${what} wait in files`, async (t) => {
    const { provider, held } = await countedProvider(t);
    const app = await createTestApp(t, {
      providers: [provider],
      pictures: { verify: 'container' },
      limits: { callsAtOnce: COUNT },
    });
    const { response } = await openAnswer(app, { ...BODY, ...body });
    await until(() => app.eventsOf('request.completed').length === 1);
    assert.ok(held() <= MOST_HELD, `${held()} pictures are in memory`);
    const files = await filesThatWait();
    assert.ok(files >= COUNT - MOST_HELD - MOST_SENT, `${files} pictures are in files`);

    const pictures: readonly string[] = await read(response);
    assert.equal(pictures.length, COUNT);
    for (const base64 of pictures) {
      const read = await sharp(Buffer.from(base64, 'base64')).raw().toBuffer();
      assert.ok(read.equals(pixels), 'the same pixels');
    }
    await until(async () => (await filesThatWait()) === 0);
    assert.equal(held(), 0);
  });
}

test('a client that leaves such an answer leaves no file behind', async (t) => {
  const { provider } = await countedProvider(t);
  const pictures = { verify: 'container' } as const;
  const app = await createTestApp(t, { providers: [provider], pictures, limits: { callsAtOnce: COUNT } });
  const { leave } = await openAnswer(app, { ...BODY, response_format: 'b64_json' });
  await until(async () => (await filesThatWait()) > 0);
  leave();
  await until(async () => (await readdir(tmpdir())).length === 0);
});

test('the ten calls of a request are no leak of listeners, of which the host would be warned', async (t) => {
  const warnings: Error[] = [];
  const note = (warning: Error) => void warnings.push(warning);
  process.on('warning', note);
  t.after(() => process.off('warning', note));
  const { provider } = await countedProvider(t);
  const app = await createTestApp(t, { providers: [provider] });
  const { response } = await openAnswer(app, BODY);
  await textOf(response);
  assert.deepEqual(warnings, []);
});

/** What pictures say when they reach clients, by both surfaces, and what their providers sent. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import sharp from 'sharp';
import type { Provider } from '../../src/core/provider.js';
import type { ImagesRouterOptions } from '../../src/options.js';
import { openai } from '../../src/providers/openai.js';
import { createTestApp, type TestApp } from '../support/app.js';
import { readTags, sayings, withoutExiftool } from '../support/exiftool.js';
import { CANARY, talkativePictures } from '../support/hostile-pictures.js';
import { altered } from '../support/hostile-providers.js';
import { manifestStore } from '../support/metadata.js';
import { answers, createOpenAIUpstream } from '../support/openai-upstream.js';
import { picture, pngChunk, withPngChunks } from '../support/pictures.js';

const MARK = {
  'XMP-iptcExt:DigitalSourceType': 'http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia',
};

interface Scope {
  after(clean: () => Promise<void>): void;
}

/** A provider that sends these bytes, whatever it is asked for. */
function sending(bytes: Uint8Array, contentCredentials = false): Provider {
  return altered(
    async function* (events) {
      for await (const event of events)
        yield event.type === 'image' ? { ...event, image: { bytes, type: 'image/png' } } : event;
    },
    { contentCredentials },
  );
}

async function signedPng(): Promise<Buffer> {
  const chunks = [pngChunk('caBX', manifestStore(CANARY)), pngChunk('tEXt', Buffer.from(`Title\0${CANARY}`))];
  return withPngChunks(await picture('png'), chunks);
}

/** The same picture by a link of the native surface, and as base64 of OpenAI's. */
async function delivered(app: TestApp, model: string): Promise<readonly Buffer[]> {
  const linked = await app.native({ model, prompt: 'a hill' }).expect(200);
  const media = await fetch(linked.body.data.data[0].url);
  const inline = await app.openai({ model, prompt: 'a hill', response_format: 'b64_json' }).expect(200);
  return [Buffer.from(await media.arrayBuffer()), Buffer.from(inline.body.data[0].b64_json, 'base64')];
}

async function deliveredOf(t: Scope, provider: Provider, options: Partial<ImagesRouterOptions> = {}) {
  const app = await createTestApp(t, { providers: [provider], ...options });
  return await delivered(app, 'placeholder/sketch');
}

describe('a picture that says too much', async () => {
  for (const { name, bytes } of await talkativePictures()) {
    it(`reaches clients with the mark and nothing else, by link and inline: ${name}`, async (t) => {
      const results = await deliveredOf(t, sending(bytes));
      for (const result of results) {
        assert.ok(!result.includes(CANARY), 'it still says so');
        const { xmp } = await sharp(result).metadata();
        assert.match(xmp?.toString() ?? '', /digitalsourcetype\/trainedAlgorithmicMedia</);
      }
      assert.deepEqual(results[0], results[1]);
    });
  }

  it('says so no longer to exiftool', { skip: withoutExiftool }, async (t) => {
    const results: Buffer[] = [];
    for (const { bytes } of await talkativePictures())
      results.push(...(await deliveredOf(t, sending(bytes))));
    for (const tags of await readTags(t, results)) assert.deepEqual(sayings(tags), MARK);
  });
});

describe('a picture with content credentials', () => {
  it('reaches clients byte for byte from a provider that signs', async (t) => {
    const bytes = await signedPng();
    for (const result of await deliveredOf(t, sending(bytes, true))) assert.deepEqual(result, bytes);
  });

  it('is encoded anew all the same where the host says always', async (t) => {
    const bytes = await signedPng();
    const pictures = { reencode: 'always' } as const;
    for (const result of await deliveredOf(t, sending(bytes, true), { pictures })) {
      assert.ok(!result.includes(CANARY), 'it was kept');
    }
  });

  it('is cleaned when bytes follow it', async (t) => {
    const bytes = Buffer.concat([await signedPng(), Buffer.from('<html></html>')]);
    for (const result of await deliveredOf(t, sending(bytes, true))) {
      assert.ok(!result.includes(CANARY) && !result.includes('<html>'), 'it was kept');
    }
  });

  it('is kept from OpenAI at its own host, and cleaned from a server that only speaks like it', async (t) => {
    const upstream = await createOpenAIUpstream();
    t.after(() => upstream.close());
    const bytes = await signedPng();
    upstream.respondWith(answers.pictures({ image: bytes }));
    const elsewhere = openai({ apiKey: 'sk-test', baseURL: upstream.url });
    // Nobody but OpenAI can answer there: what is declared there is declared here of the server at hand.
    const { contentCredentials = false } = openai({ apiKey: 'sk-test' });
    for (const [provider, isKept] of [
      [elsewhere, false],
      [{ ...elsewhere, contentCredentials }, true],
    ] as const) {
      const app = await createTestApp(t, { providers: [provider] });
      for (const result of await delivered(app, 'openai/gpt-image-2'))
        assert.equal(result.equals(bytes), isKept);
    }
  });
});

describe('pictures.verify', () => {
  for (const verify of ['decode', 'container'] as const) {
    it(`'${verify}' ${verify === 'decode' ? 'refuses' : 'lets through'} damage inside the pixels of a JPEG`, async (t) => {
      const jpeg = Buffer.from(await picture('jpeg'));
      const scan = jpeg.indexOf('\xff\xda', 0, 'latin1') + 14;
      const damaged = Buffer.concat([jpeg.subarray(0, scan + 8), jpeg.subarray(-2)]);
      const app = await createTestApp(t, { providers: [sending(damaged)], pictures: { verify } });
      const answer = await app.native({ model: 'placeholder/sketch', prompt: 'a hill' });
      assert.equal(answer.status, verify === 'decode' ? 502 : 200);
    });
  }

  it("'container' refuses a PNG with a wrong checksum, and every cut", async (t) => {
    const png = Buffer.from(await picture('png'));
    const flipped = Buffer.from(png);
    flipped[png.length >> 1] = (png[png.length >> 1] ?? 0) ^ 1;
    const cuts = await Promise.all((['png', 'jpeg', 'webp'] as const).map((format) => picture(format)));
    for (const bytes of [flipped, ...cuts.map((whole) => whole.subarray(0, -2))]) {
      const app = await createTestApp(t, { providers: [sending(bytes)], pictures: { verify: 'container' } });
      const answer = await app.openai({ model: 'placeholder/sketch', prompt: 'a hill' }).expect(502);
      assert.equal(answer.body.error.code, 'upstream_shape_mismatch');
    }
  });
});

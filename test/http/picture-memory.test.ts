/** Who frees the memory of pictures, and when: never while anybody may still read them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import sharp from 'sharp';
import { giveBack } from '../../src/core/memory.js';
import type { Provider } from '../../src/core/provider.js';
import type { MediaStorage } from '../../src/core/storage.js';
import { type PlaceholderOptions, placeholder } from '../../src/providers/placeholder.js';
import { memoryStorage } from '../../src/storage/memory.js';
import { createTestApp, onlySize, testModel } from '../support/app.js';
import { altered } from '../support/hostile-providers.js';
import { manifestStore } from '../support/metadata.js';
import { noise, pngChunk, withPngChunks } from '../support/pictures.js';

const EDGE = 512;

/** More bytes than are worth giving back; copied, because those that sharp allocates cannot be taken away. */
const NOISE = Buffer.from(await noise(EDGE));

/** A provider of one picture, always the same bytes, in previews as well, that counts how often it gets them back. */
function lender(options: PlaceholderOptions = {}): {
  readonly provider: Provider;
  readonly returned: () => number;
} {
  let returned = 0;
  const drawing = placeholder({ ...options, models: [testModel({ sizes: onlySize(EDGE) })] });
  const provider: Provider = {
    ...drawing,
    async *generate(call) {
      for await (const event of drawing.generate(call)) {
        const lent = { image: { bytes: NOISE, type: 'image/png' }, release } as const;
        yield event.type === 'image' || event.type === 'preview' ? { ...event, ...lent } : event;
      }
    },
  };
  function release(): void {
    returned += 1;
  }
  return { provider, returned: () => returned };
}

const BODY = { model: 'placeholder/sketch', prompt: 'A lighthouse' };

for (const format of ['b64_json', 'url'] as const) {
  for (const verify of ['decode', 'container'] as const) {
    test(`a picture answered as ${format} after a ${verify} check is given back once, and answered whole`, async (t) => {
      const { provider, returned } = lender();
      const app = await createTestApp(t, { providers: [provider], pictures: { verify } });
      const answer = await app.native({ ...BODY, n: 2, response_format: format });
      assert.equal(answer.status, 200, answer.text.slice(0, 300));
      assert.equal(returned(), 2);
      const before = Buffer.from(NOISE);
      for (const picture of answer.body.data.data) {
        const bytes =
          format === 'url'
            ? Buffer.from(await (await fetch(picture.url)).arrayBuffer())
            : Buffer.from(picture.b64_json, 'base64');
        const pixels = (of: Buffer) => sharp(of).raw().toBuffer();
        assert.deepEqual(await pixels(bytes), await pixels(before));
      }
    });
  }
}

for (const verify of ['decode', 'container'] as const) {
  test(`previews that are streamed after a ${verify} check are given back once each, as their picture is`, async (t) => {
    const { provider, returned } = lender();
    const app = await createTestApp(t, { providers: [provider], pictures: { verify } });
    const answer = await app.openai({ ...BODY, stream: true, partial_images: 2 });
    assert.equal(answer.text.match(/^event: image_generation\.partial_image$/gm)?.length, 2);
    assert.equal(returned(), 3);
  });
}

for (const format of ['b64_json', 'url'] as const) {
  test(`a picture that was encoded anew is answered whole as ${format}, and can be asked for again`, async (t) => {
    const app = await createTestApp(t, { providers: [lender().provider] });
    const body = { ...BODY, n: 2, response_format: format, output_format: 'webp' };
    for (const round of [1, 2]) {
      const answer = await app.native(body).set('Idempotency-Key', 'encoded-anew');
      assert.equal(answer.status, 200, `round ${round}: ${answer.text.slice(0, 300)}`);
      for (const { b64_json: base64 = '', url } of answer.body.data.data) {
        const bytes =
          format === 'url' ? await (await fetch(url)).arrayBuffer() : Buffer.from(base64, 'base64');
        assert.ok(bytes.byteLength > 128 * 1024, 'it is large enough to be given back');
        const { info } = await sharp(bytes).raw().toBuffer({ resolveWithObject: true });
        assert.deepEqual([info.width, info.height], [EDGE, EDGE]);
      }
    }
  });
}

test('bytes of a provider that wants them not back are left alone', async (t) => {
  const app = await createTestApp(t, {
    placeholder: {
      tamper: () => ({ bytes: NOISE, type: 'image/png' }),
      models: [testModel({ sizes: onlySize(EDGE) })],
    },
    pictures: { verify: 'container' },
  });
  for (const round of [1, 2]) {
    const answer = await app.native({ ...BODY, response_format: 'b64_json' });
    assert.equal(answer.status, 200, `round ${round}: ${answer.text.slice(0, 300)}`);
    assert.ok(NOISE.byteLength > 128 * 1024, 'the picture is still there');
  }
});

/** A provider of one signed picture, whose bytes are the answer themselves, that frees what it gets back. */
function signer() {
  const signed = withPngChunks(NOISE, [pngChunk('caBX', manifestStore('a vendor'))]);
  const freed: Buffer[] = [];
  const provider = altered(
    async function* (events) {
      for await (const event of events) {
        if (event.type !== 'image') yield event;
        else {
          // Its own memory, as that of a picture that was received.
          const bytes = Buffer.from(new Uint8Array(signed).buffer);
          const release = () => {
            giveBack(bytes);
            freed.push(bytes);
          };
          yield { ...event, image: { bytes, type: 'image/png' }, release };
        }
      }
    },
    { models: [testModel({ sizes: onlySize(EDGE) })], contentCredentials: true },
  );
  return { provider, signed, freedLengths: () => freed.map(({ byteLength }) => byteLength) };
}

test('bytes that are the answer, as those of a signed picture, are freed when they were written and not before', async (t) => {
  const { provider, signed, freedLengths } = signer();
  const app = await createTestApp(t, { providers: [provider] });
  const { body } = await app.native({ ...BODY, n: 3, response_format: 'b64_json' }).expect(200);
  for (const { b64_json } of body.data.data) {
    assert.ok(Buffer.from(b64_json, 'base64').equals(signed), 'byte for byte');
  }
  assert.deepEqual(freedLengths(), [0, 0, 0]);
});

for (const [title, failures, freed] of [
  ['bytes that storage takes are freed when it has them and not before', 0, [0, 0]],
  ['bytes of a put that failed are left alone, as it may be at them still', 1, [0]],
] as const) {
  test(title, async (t) => {
    const { provider, signed, freedLengths } = signer();
    const sound = memoryStorage();
    let puts = 0;
    const storage: MediaStorage = {
      ...sound,
      put: async (...args) => {
        puts += 1;
        if (puts <= failures) throw new Error('storage is down');
        await sleep(20);
        await sound.put(...args);
      },
    };
    const app = await createTestApp(t, { providers: [provider], storage });
    const { body } = await app.native({ ...BODY, n: 2, response_format: 'url' }).expect(200);
    assert.deepEqual(freedLengths(), freed);
    for (const { url } of body.data.data) {
      const stored = Buffer.from(await (await fetch(url)).arrayBuffer());
      assert.ok(stored.equals(signed), 'byte for byte');
    }
  });
}

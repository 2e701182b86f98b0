/** Which pictures are kept, cleaned or encoded anew. */
import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { describe, it } from 'node:test';
import sharp from 'sharp';
import type { ImageFormat } from '../../src/core/image.js';
import type { PictureOrder } from '../../src/core/picture.js';
import { imageJobs } from '../../src/pipeline/gate.js';
import { type LoosePart, putTogether, takeApart } from '../support/container-parts.js';
import { exifOf, manifestStore } from '../support/metadata.js';
import { orderOf, testFinisher } from '../support/orders.js';
import { drawing, picture, unusualPngs } from '../support/pictures.js';

const finish = testFinisher();
const FORMATS = ['png', 'jpeg', 'webp'] as const;
const SIZE = { width: 64, height: 48 };

/** The compressed pixels of a picture, which no encoder would write again just so. */
function pixelsIn(format: (typeof FORMATS)[number], bytes: Uint8Array): Buffer {
  const types = { png: ['IDAT'], jpeg: ['\xda'], webp: ['VP8 ', 'VP8L'] }[format];
  const parts = takeApart(format, Buffer.from(bytes)).filter(({ type }) => types.includes(type));
  return Buffer.concat(parts.map(({ body }) => body));
}

/** Small and unlike what our own encoder writes. */
function source(format: ImageFormat): Promise<Buffer> {
  return drawing(SIZE)[format]({ quality: 40, effort: 1 }).toBuffer();
}

/** A picture with a part of its own at the place where its kind belongs. */
function withPart(
  format: (typeof FORMATS)[number],
  bytes: Buffer,
  part: { type: string; body: Buffer },
): Buffer {
  const parts = [...takeApart(format, bytes)];
  parts.splice({ png: 1, jpeg: 1, webp: parts.length }[format], 0, part);
  return putTogether(format, parts);
}

function signed(format: (typeof FORMATS)[number], bytes: Buffer): Buffer {
  const store = manifestStore('what the vendor says');
  const packet = Buffer.from('JP\0\x01\0\0\0\x01', 'latin1');
  const part = {
    png: { type: 'caBX', body: store },
    jpeg: { type: '\xeb', body: Buffer.concat([packet, store]) },
    webp: { type: 'C2PA', body: store },
  }[format];
  return withPart(format, bytes, part);
}

async function wayOf(bytes: Buffer, rest: Partial<PictureOrder>, made = finish): Promise<string> {
  const finished = await made(orderOf(bytes, rest));
  const format = finished.contentType.slice('image/'.length) as ImageFormat;
  if (Buffer.compare(finished.bytes, bytes) === 0) return 'kept';
  if (Buffer.from(finished.bytes).includes('jumb')) return 'changed and still signed';
  if (format === 'avif' || !finished.contentType.endsWith(format)) return 'encoded';
  const header = await sharp(bytes).metadata();
  if (header.format !== format) return 'encoded';
  return pixelsIn(format, finished.bytes).equals(pixelsIn(format, bytes)) ? 'cleaned' : 'encoded';
}

for (const format of FORMATS) {
  describe(`a ${format}`, () => {
    it('that is what was ordered keeps its pixels to the bit', async () => {
      const bytes = await source(format);
      for (const rest of [{}, { size: SIZE }, { format }, { size: SIZE, format }]) {
        assert.equal(await wayOf(bytes, rest), 'cleaned', JSON.stringify(rest));
      }
    });

    it('is encoded anew where other pixels, another format or a compression are ordered', async () => {
      const bytes = await source(format);
      assert.equal(await wayOf(bytes, { size: { width: 32, height: 24 } }), 'encoded');
      assert.equal(await wayOf(bytes, { format: format === 'png' ? 'webp' : 'png' }), 'encoded');
      // PNG loses nothing, so compression means nothing to it.
      assert.equal(await wayOf(bytes, { compression: 50 }), format === 'png' ? 'cleaned' : 'encoded');
    });

    it('is encoded anew when it lies on its side, or when nobody can tell', async () => {
      const bytes = await source(format);
      const label = Buffer.from(format === 'jpeg' ? 'Exif\0\0' : '');
      const type = { png: 'eXIf', jpeg: '\xe1', webp: 'EXIF' }[format];
      const turned = (exif: Buffer) => withPart(format, bytes, { type, body: Buffer.concat([label, exif]) });
      assert.equal(await wayOf(turned(exifOf(1)), {}), 'cleaned');
      for (const exif of [exifOf(6), exifOf(0), Buffer.from('II*\0\xff\xff\xff\xff', 'latin1')]) {
        assert.equal(await wayOf(turned(exif), {}), 'encoded', exif.toString('latin1'));
      }
    });

    it('is encoded anew when it has a colour profile, which has room for text', async () => {
      const bytes = await drawing(SIZE).withIccProfile('p3').toFormat(format).toBuffer();
      assert.equal(await wayOf(bytes, {}), 'encoded');
      assert.equal((await sharp((await finish(orderOf(bytes))).bytes).metadata()).icc, undefined);
    });

    it('is always encoded anew where the host prefers it, content credentials or not', async () => {
      const always = testFinisher({ reencode: 'always' });
      const bytes = await source(format);
      assert.equal(await wayOf(bytes, {}, always), 'encoded');
      assert.equal(await wayOf(signed(format, bytes), { contentCredentials: true }, always), 'encoded');
    });

    it('that its vendor signed is kept byte for byte', async () => {
      const bytes = signed(format, await source(format));
      assert.equal(await wayOf(bytes, { contentCredentials: true }), 'kept');
      assert.equal(await wayOf(bytes, { contentCredentials: true, size: SIZE, format }), 'kept');
    });

    it('that says it is signed is cleaned like any other when its provider signs nothing', async () => {
      const bytes = signed(format, await source(format));
      assert.equal(await wayOf(bytes, { contentCredentials: false }), 'cleaned');
      const finished = await finish(orderOf(bytes));
      assert.ok(!Buffer.from(finished.bytes).includes('jumb'), 'the manifest is still there');
    });

    it('of a vendor that signs is cleaned when it has no manifest, a false one, or bytes behind its end', async () => {
      const bytes = await source(format);
      const false_ = { png: 'caBX', jpeg: '\xeb', webp: 'C2PA' }[format];
      const claimed = withPart(format, bytes, {
        type: false_,
        body: Buffer.from('JP: a prompt, no manifest'),
      });
      for (const each of [bytes, claimed, Buffer.concat([signed(format, bytes), Buffer.from('PK')])]) {
        assert.equal(await wayOf(each, { contentCredentials: true }), 'cleaned');
      }
    });

    it('of a vendor that signs is encoded anew when something else was ordered', async () => {
      const bytes = signed(format, await source(format));
      const rest = { contentCredentials: true, size: { width: 32, height: 24 } };
      assert.equal(await wayOf(bytes, rest), 'encoded');
      assert.ok(
        !Buffer.from((await finish(orderOf(bytes, rest))).bytes).includes('jumb'),
        'a manifest that lies',
      );
    });

    it('is refused when its pixels are damaged, kept or cleaned', async () => {
      const bytes = signed(format, await source(format));
      const types = { png: ['IDAT'], jpeg: ['\xda'], webp: ['VP8 '] }[format];
      const parts = takeApart(format, bytes).map(({ type, body }) => {
        return types.includes(type)
          ? { type, body: Buffer.from(body).subarray(0, body.length >> 1) }
          : { type, body };
      });
      const damaged = putTogether(format, parts);
      for (const contentCredentials of [true, false]) {
        await assert.rejects(finish(orderOf(damaged, { contentCredentials })), {
          code: 'UPSTREAM_SHAPE_MISMATCH',
        });
      }
    });

    it('that needs no decoder waits for none when the container is trusted', async () => {
      const held = new EventEmitter();
      const jobs = Array.from({ length: imageJobs.limit }, () => imageJobs.run(() => once(held, 'end')));
      const trusting = testFinisher({ verify: 'container' });
      const bytes = signed(format, await source(format));
      assert.equal(await wayOf(bytes, {}, trusting), 'cleaned');
      assert.equal(await wayOf(bytes, { contentCredentials: true }, trusting), 'kept');
      held.emit('end');
      await Promise.all(jobs);
    });
  });
}

it('AVIF is always encoded anew', async () => {
  assert.equal(await wayOf(await picture('avif'), {}), 'encoded');
});

it('a PNG with 16 bits, a palette, grey or interlaced keeps its pixels to the bit', async () => {
  for (const [kind, bytes] of await unusualPngs(SIZE)) assert.equal(await wayOf(bytes, {}), 'cleaned', kind);
});

it('a CMYK JPEG, which viewers show differently, becomes sRGB', async () => {
  const bytes = await drawing(SIZE).toColourspace('cmyk').jpeg().toBuffer();
  assert.equal(await wayOf(bytes, {}), 'encoded');
  assert.equal((await sharp((await finish(orderOf(bytes))).bytes).metadata()).space, 'srgb');
});

it('a PNG that says twice how it is shown, or at too great length, is encoded anew', async () => {
  const png = await source('png');
  const gamma = { type: 'gAMA', body: Buffer.from([0, 0, 0xb1, 0x8f]) };
  assert.equal(await wayOf(withPart('png', png, gamma), {}), 'cleaned');
  assert.equal(await wayOf(withPart('png', withPart('png', png, gamma), gamma), {}), 'encoded');
  const long = { type: 'gAMA', body: Buffer.concat([gamma.body, Buffer.from('a prompt')]) };
  assert.equal(await wayOf(withPart('png', png, long), {}), 'encoded');
});

it('a palette stays where pixels are numbers of its colours, goes where it is a hint, and is doubted in grey', async () => {
  const palette = { type: 'PLTE', body: Buffer.alloc(12, 7) };
  const inColour = withPart('png', await drawing(SIZE).png().toBuffer(), palette);
  assert.equal(await wayOf(inColour, {}), 'cleaned');
  assert.ok(
    !Buffer.from((await finish(orderOf(inColour))).bytes).includes('PLTE'),
    'the hint is still there',
  );
  const grey = await drawing(SIZE).toColourspace('b-w').png().toBuffer();
  assert.equal(await wayOf(withPart('png', grey, palette), {}), 'encoded');
});

it('a PNG says which colour is transparent in as many bytes as its kind of colour needs, or is encoded anew', async () => {
  const transparent = (length: number) => ({ type: 'tRNS', body: Buffer.alloc(length) });
  const kinds = {
    colour: [await drawing(SIZE).png().toBuffer(), 6],
    grey: [await drawing(SIZE).toColourspace('b-w').png().toBuffer(), 2],
  } as const;
  for (const [kind, [png, length]] of Object.entries(kinds)) {
    assert.equal(await wayOf(withPart('png', png, transparent(length)), {}), 'cleaned', kind);
    assert.equal(await wayOf(withPart('png', png, transparent(200)), {}), 'encoded', kind);
  }
  const withAlpha = await drawing(SIZE).ensureAlpha(0.5).png().toBuffer();
  assert.equal(await wayOf(withPart('png', withAlpha, transparent(6)), {}), 'encoded');
});

it('a PNG whose palette is out of place, or has fewer colours than are said to be transparent, is encoded anew', async () => {
  const png = takeApart('png', await drawing({ width: 4, height: 4 }).png({ palette: true }).toBuffer());
  const critical = png.filter(({ type }) => /^[A-Z]/.test(type));
  const [header, palette, ...rest] = critical as [LoosePart, LoosePart, ...LoosePart[]];
  const transparent = (length: number) => ({ type: 'tRNS', body: Buffer.alloc(length, 128) });
  const gamma = { type: 'gAMA', body: Buffer.from([0, 0, 0xb1, 0x8f]) };
  const density = { type: 'pHYs', body: Buffer.from([0, 0, 0x0b, 0x13, 0, 0, 0x0b, 0x13, 1]) };
  const colours = palette.body.length / 3;
  const ways = async (parts: readonly LoosePart[]) =>
    wayOf(putTogether('png', [header, ...parts, ...rest]), {});
  assert.equal(await ways([gamma, palette, transparent(colours), density]), 'cleaned');
  assert.equal(await ways([palette, transparent(1)]), 'cleaned');
  for (const length of [0, colours + 1, 200]) {
    assert.equal(await ways([palette, transparent(length)]), 'encoded', `${length} of ${colours}`);
  }
  assert.equal(await ways([transparent(1), palette]), 'encoded');
  assert.equal(await ways([palette, gamma]), 'encoded');
});

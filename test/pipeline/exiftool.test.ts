/** What finished pictures say, read back by a program that is not ours. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ImageFormat } from '../../src/core/image.js';
import { readTags, sayings, withoutExiftool } from '../support/exiftool.js';
import { CANARY, talkativePictures } from '../support/hostile-pictures.js';
import { orderOf, testFinisher } from '../support/orders.js';
import { drawing, picture } from '../support/pictures.js';

const FORMATS = ['png', 'jpeg', 'webp', 'avif'] as const satisfies readonly ImageFormat[];
const MARK = {
  'XMP-iptcExt:DigitalSourceType': 'http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia',
};

const WAYS = {
  'cleaned and decoded': testFinisher(),
  'cleaned alone': testFinisher({ verify: 'container' }),
  'encoded anew': testFinisher({ reencode: 'always' }),
};

describe('exiftool finds', { skip: withoutExiftool }, () => {
  it('what talkative pictures say before they are finished', async (test) => {
    const talkative = (await talkativePictures()).filter(({ name }) =>
      /EXIF and GPS|prompt|comment|IPTC/.test(name),
    );
    const scope = { after: (clean: () => Promise<void>) => test.after(clean) };
    const tags = await readTags(
      scope,
      talkative.map(({ bytes }) => bytes),
    );
    for (const [place, each] of tags.entries()) {
      const said = Object.keys(each).filter((name) => String(each[name]).includes(CANARY));
      assert.notDeepEqual(said, [], talkative[place]?.name);
    }
  });

  for (const [way, finish] of Object.entries(WAYS)) {
    it(`nothing but the mark in pictures that were ${way}`, async (test) => {
      const plain = await Promise.all(FORMATS.map((format) => picture(format)));
      const kinds = [
        drawing({ width: 16, height: 16 }).png({ palette: true }),
        drawing({ width: 16, height: 16 }).ensureAlpha(0.5).webp(),
        drawing({ width: 16, height: 16 }).ensureAlpha(0.5).webp({ lossless: true }),
        drawing({ width: 16, height: 16 }).jpeg({ progressive: true }),
        drawing({ width: 16, height: 16 }).withIccProfile('p3').jpeg(),
      ].map((image) => image.toBuffer());
      const talkative = (await talkativePictures()).map(({ bytes }) => bytes);
      const sources = [...plain, ...(await Promise.all(kinds)), ...talkative];
      const orders = sources.flatMap((bytes) => [
        ...[undefined, ...FORMATS].map((format) => orderOf(bytes, { format })),
        orderOf(bytes, { size: { width: 8, height: 8 } }),
      ]);
      const results = await Promise.all(orders.map(async (order) => (await finish(order)).bytes));
      const scope = { after: (clean: () => Promise<void>) => test.after(clean) };
      const tags = await readTags(scope, results);
      assert.equal(tags.length, orders.length);
      for (const each of tags) assert.deepEqual(sayings(each), MARK);
    });
  }
});

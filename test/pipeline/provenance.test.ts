import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import sharp from 'sharp';
import type { ImageFormat } from '../../src/core/image.js';
import { CANARY, talkativePictures } from '../support/hostile-pictures.js';
import { orderOf, testFinisher } from '../support/orders.js';
import { picture } from '../support/pictures.js';

const finish = testFinisher();

async function finished(bytes: Uint8Array, format?: ImageFormat): Promise<Uint8Array> {
  return (await finish(orderOf(bytes, { format }))).bytes;
}

function chunkTypes(png: Uint8Array): readonly string[] {
  const data = Buffer.from(png);
  const types: string[] = [];
  for (let at = 8; at < data.length; at += 12 + data.readUInt32BE(at))
    types.push(data.toString('latin1', at + 4, at + 8));
  return types;
}

describe('a finished picture', async () => {
  for (const format of ['png', 'jpeg', 'webp', 'avif'] as const) {
    it(`says as ${format} that a machine made it, and nothing else`, async () => {
      const header = await sharp(await finished(await picture('png'), format)).metadata();
      assert.match(
        header.xmp?.toString() ?? '',
        /<Iptc4xmpExt:DigitalSourceType>http:\/\/cv\.iptc\.org\/newscodes\/digitalsourcetype\/trainedAlgorithmicMedia</,
      );
      assert.deepEqual([header.exif, header.icc, header.iptc, header.comments], Array(4).fill(undefined));
    });
  }

  for (const { name, bytes } of await talkativePictures()) {
    it(`has nothing left of a ${name}`, async () => {
      assert.ok(bytes.includes(CANARY) || name.includes('zTXt'), 'the fixture says nothing');
      for (const format of [undefined, 'png', 'webp'] as const) {
        const result = Buffer.from(await finished(bytes, format));
        assert.ok(!result.includes(CANARY));
        const header = await sharp(result).metadata();
        assert.deepEqual([header.exif, header.iptc, header.comments], Array(3).fill(undefined));
        if (header.format === 'png') {
          const others = chunkTypes(result).filter(
            (type) => !['IHDR', 'pHYs', 'iTXt', 'IDAT', 'IEND'].includes(type),
          );
          assert.deepEqual(others, []);
          assert.equal(chunkTypes(result).filter((type) => type === 'iTXt').length, 1);
        }
      }
    });
  }
});

/** What encoding costs is decided by settings, which nothing else would notice. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import sharp, { type Sharp } from 'sharp';
import type { ImageFormat } from '../../src/core/image.js';
import { encodePicture } from '../../src/pipeline/encode.js';
import { noise } from '../support/pictures.js';

const EDGE = 256;
// Smooth, as photographs are: noise would weigh the same however it was written.
const source = await sharp(await noise(EDGE))
  .blur(3)
  .png()
  .toBuffer();

/** As cheap as they may be for what a photograph then weighs, with the picture's own metadata left out. */
const SETTINGS: Readonly<Record<ImageFormat, (picture: Sharp) => Sharp>> = {
  png: (picture) => picture.png({ adaptiveFiltering: true, palette: false, compressionLevel: 6 }),
  jpeg: (picture) => picture.jpeg({ quality: 90, chromaSubsampling: '4:4:4', mozjpeg: false }),
  webp: (picture) => picture.webp({ quality: 85, effort: 2 }),
  avif: (picture) => picture.avif({ quality: 60, effort: 0, chromaSubsampling: '4:2:0' }),
};

for (const [format, encode] of Object.entries(SETTINGS) as [ImageFormat, (picture: Sharp) => Sharp][]) {
  test(`${format} is written with the settings whose cost was measured`, async () => {
    const ours = await encodePicture(sharp(source), { format, compression: undefined });
    const theirs = await encode(sharp(source)).toBuffer();
    // Beside the mark that it comes from a machine.
    assert.ok(
      Math.abs(ours.byteLength - theirs.byteLength) < 1024,
      `${ours.byteLength}, ${theirs.byteLength}`,
    );
    const [expected, actual] = await Promise.all(
      [theirs, ours].map((bytes) => sharp(bytes).removeAlpha().raw().toBuffer()),
    );
    assert.ok(expected !== undefined && actual?.equals(expected), 'the same pixels');
  });
}

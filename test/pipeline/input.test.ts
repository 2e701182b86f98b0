/** Pictures clients send to be edited: what is let through, what is not, and in whose words. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import sharp from 'sharp';
import type { CheckedInput } from '../../src/core/picture.js';
import { createInputChecker } from '../../src/pipeline/input.js';
import { bombs, refusedPictures, textBombs } from '../support/hostile-pictures.js';
import { picture } from '../support/pictures.js';

const MAX_PIXELS = 50_000_000;
const check = createInputChecker({ maxPixels: MAX_PIXELS });
const OUR_SENTENCES =
  /^expected (a PNG, JPEG, WebP or AVIF picture|a whole picture; this one is damaged or cut short|a picture, not an animation|at most 50000000 pixels)$/;

// What the bombs would inflate to has hundreds.
const MOST_GROWTH_MB = 100;

/** The most memory this process ever had. */
function peakMegabytes(): number {
  return process.resourceUsage().maxRSS / 1024;
}

async function accepted(bytes: Uint8Array): Promise<CheckedInput> {
  const result = await check(bytes);
  assert.ok(!('fault' in result), JSON.stringify(result));
  return result;
}

for (const { name, bytes } of await refusedPictures()) {
  test(`refused: ${name}`, async () => {
    const result = await check(bytes);
    assert.ok('fault' in result, 'it was let through');
    assert.match(result.fault, OUR_SENTENCES);
  });
}

for (const format of ['png', 'jpeg', 'webp', 'avif'] as const) {
  test(`a ${format} is let through to the byte, with its true type and pixels`, async () => {
    const bytes = await picture(format, { width: 80, height: 48 });
    const result = await accepted(bytes);
    assert.deepEqual(Buffer.from(result.bytes), bytes);
    assert.equal(result.type, `image/${format}`);
    assert.deepEqual(result.size, { width: 80, height: 48 });
  });
}

// Phones put a second picture, a film even, behind the end of a JPEG.
for (const format of ['png', 'jpeg', 'webp', 'avif'] as const) {
  test(`a ${format} loses what follows it`, async () => {
    const bytes = await picture(format);
    const result = await accepted(Buffer.concat([bytes, Buffer.from('<script>canary</script>')]));
    assert.deepEqual(Buffer.from(result.bytes), bytes);
  });
}

for (const { name, bytes } of await textBombs()) {
  test(`let through without its compressed text: ${name}`, async () => {
    const before = peakMegabytes();
    assert.deepEqual(Buffer.from((await accepted(bytes)).bytes), await picture('png'));
    const grown = peakMegabytes() - before;
    assert.ok(grown < MOST_GROWTH_MB, `${grown} MB`);
  });
}

test('transparency is kept, because masks are made of it', async () => {
  const bytes = await sharp({ create: { width: 8, height: 8, channels: 4, background: '#0000' } })
    .png()
    .toBuffer();
  assert.equal((await sharp((await accepted(bytes)).bytes).metadata()).hasAlpha, true);
});

test('pixels are counted the right way up', async () => {
  const bytes = await sharp(await picture('jpeg', { width: 80, height: 48 }))
    .withMetadata({ orientation: 6 })
    .toBuffer();
  assert.deepEqual((await accepted(bytes)).size, { width: 48, height: 80 });
});

test('the limit of pixels is to the pixel', async () => {
  const strict = createInputChecker({ maxPixels: 64 * 48 });
  assert.ok(!('fault' in (await strict(await picture('png', { width: 64, height: 48 })))), 'at the limit');
  assert.deepEqual(await strict(await picture('png', { width: 64, height: 49 })), {
    fault: 'expected at most 3072 pixels',
  });
});

test('bombs are refused before they inflate, all at once', async () => {
  const hostile = await bombs();
  const before = peakMegabytes();
  const results = await Promise.all(hostile.map(({ bytes }) => check(bytes)));
  assert.ok(
    results.every((result) => 'fault' in result),
    'one was let through',
  );
  const grown = peakMegabytes() - before;
  assert.ok(grown < MOST_GROWTH_MB, `${grown} MB`);
});

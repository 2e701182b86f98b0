/** What sharp is asked for: nothing for a PNG that is kept, and one job at most for any other picture. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import sharp from 'sharp';
import { orderOf, testFinisher } from '../support/orders.js';
import { picture, unusualPngs } from '../support/pictures.js';

const SIZE = { width: 64, height: 48 };

/** How many jobs sharp is given meanwhile. Reading a header is none. */
async function jobsOf(work: () => Promise<unknown>): Promise<number> {
  let changes = 0;
  const note = () => {
    changes += 1;
  };
  // What ended before is told of late.
  await turn();
  sharp.queue.on('change', note);
  await work();
  await turn();
  sharp.queue.off('change', note);
  // The queue is longer by each, and shorter again.
  return changes / 2;
}

const CASES = [
  ['a PNG whose every pixel is checked', 'png', { verify: 'decode' }, {}, 0],
  ['a PNG whose container is checked', 'png', { verify: 'container' }, {}, 0],
  ['a JPEG whose every pixel is checked', 'jpeg', { verify: 'decode' }, {}, 1],
  ['a JPEG whose container is checked', 'jpeg', { verify: 'container' }, {}, 0],
  ['a WebP whose every pixel is checked', 'webp', { verify: 'decode' }, {}, 1],
  ['a WebP whose container is checked', 'webp', { verify: 'container' }, {}, 0],
  ['a PNG that is ordered smaller', 'png', {}, { size: { width: 32, height: 24 } }, 1],
  ['a PNG that is ordered as WebP', 'png', {}, { format: 'webp' }, 1],
  ['a JPEG that is always encoded anew', 'jpeg', { reencode: 'always' }, {}, 1],
  ['an AVIF', 'avif', {}, {}, 1],
] as const;

for (const [what, format, options, order, expected] of CASES) {
  test(`${what} takes ${expected === 0 ? 'no job' : 'one job'} of sharp`, async () => {
    const bytes = await picture(format, SIZE);
    assert.equal(await jobsOf(() => testFinisher(options)(orderOf(bytes, order))), expected);
  });
}

test('a PNG of any kind is checked to the last pixel without sharp', async () => {
  for (const [kind, bytes] of await unusualPngs(SIZE)) {
    assert.equal(await jobsOf(() => testFinisher()(orderOf(bytes))), 0, kind);
  }
});

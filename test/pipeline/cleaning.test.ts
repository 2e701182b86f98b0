/** What becomes of random pictures in random distress: sharp says which pixels there are, before and after. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import sharp from 'sharp';
import { isImagesError } from '../../src/errors.js';
import { readContainer } from '../../src/pipeline/container.js';
import { PROVENANCE_XMP } from '../../src/pipeline/provenance.js';
import { putTogether, takeApart } from '../support/container-parts.js';
import { orderOf, testFinisher } from '../support/orders.js';
import { picture } from '../support/pictures.js';
import { bake, befall, type Mishap, mishaps, type Recipe, recipes } from '../support/random-pictures.js';
import { runs } from '../support/runs.js';

const finish = testFinisher();

const distressed: fc.Arbitrary<readonly [Recipe, readonly Mishap[]]> = recipes.chain((recipe) =>
  fc.tuple(fc.constant(recipe), mishaps(recipe.format)),
);

/** What a lenient decoder makes of bytes, the right way up; `undefined` when nothing. */
async function pixels(bytes: Uint8Array): Promise<object | undefined> {
  try {
    const image = sharp(bytes, { failOn: 'none', autoOrient: true, pages: 1 });
    const { data, info } = await image.raw().toBuffer({ resolveWithObject: true });
    return { data, width: info.width, height: info.height, channels: info.channels };
  } catch {
    return undefined;
  }
}

function cleaned(bytes: Uint8Array): Buffer | undefined {
  const container = readContainer(bytes);
  if ('fault' in container || container.layout?.cleaned === undefined) return undefined;
  return Buffer.concat(container.layout.cleaned);
}

it('a JPEG keeps its colours, which segments tell by being there', async () => {
  const jfif = { type: '\xe0', body: Buffer.from('JFIF\0\x01\x02\0\0\x01\0\x01\0\0', 'latin1') };
  const adobe = (transform: number) => {
    return { type: '\xee', body: Buffer.from([...Buffer.from('Adobe'), 0, 100, 0, 0, 0, 0, transform]) };
  };
  const parts = takeApart('jpeg', await picture('jpeg'));
  const plain = await pixels(putTogether('jpeg', parts));
  const asRgb = await pixels(putTogether('jpeg', [adobe(0), ...parts]));
  assert.notDeepEqual(asRgb, plain);
  for (const [told, shown] of [
    [[jfif], plain],
    [[adobe(1)], plain],
    [[adobe(0)], asRgb],
    [[adobe(1), adobe(0)], asRgb],
    [[adobe(0), adobe(1)], plain],
    [[jfif, adobe(0)], plain],
    [[adobe(0), jfif], plain],
  ] as const) {
    const bytes = putTogether('jpeg', [...told, ...parts]);
    assert.deepEqual(await pixels(bytes), shown);
    const clean = cleaned(bytes);
    assert.ok(clean, 'it was not cleaned');
    assert.deepEqual(await pixels(clean), shown);
  }
});

describe('a random picture', () => {
  it('decodes after cleaning to exactly the pixels it had before', async () => {
    await fc.assert(
      fc.asyncProperty(distressed, async ([recipe, events]) => {
        const bytes = befall(recipe.format, await bake(recipe), events);
        const clean = cleaned(bytes);
        if (clean === undefined) return;
        const before = await pixels(bytes);
        if (before !== undefined) assert.deepEqual(await pixels(clean), before);
        assert.ok(clean.includes(PROVENANCE_XMP), 'the mark is missing');
        assert.deepEqual(cleaned(clean), clean, 'what is clean stays as it is');
        assert.ok(clean.length < bytes.length + PROVENANCE_XMP.length + 200, 'the picture grew');
      }),
      runs(400),
    );
  });

  it('is finished as a whole picture or refused, and nothing else happens', async () => {
    await fc.assert(
      fc.asyncProperty(distressed, async ([recipe, events]) => {
        const bytes = befall(recipe.format, await bake(recipe), events);
        const finished = await finish(orderOf(bytes)).catch((error: unknown) => {
          assert.ok(isImagesError(error) && error.code === 'UPSTREAM_SHAPE_MISMATCH', String(error));
        });
        if (finished === undefined) return;
        const header = await sharp(finished.bytes, { failOn: 'warning' }).stats();
        assert.ok(header.channels.length > 0, 'it decodes');
      }),
      runs(150),
    );
  });

  it('that nothing has happened to is never refused, and upright, without a profile, not encoded anew', async () => {
    await fc.assert(
      fc.asyncProperty(recipes, async (recipe) => {
        const bytes = await bake(recipe);
        const { bytes: finished } = await finish(orderOf(bytes));
        const { cmyk, format, channels } = recipe;
        const isCmyk = cmyk && format === 'jpeg' && channels !== 1;
        const isPlain = !recipe.profile && !isCmyk && (recipe.orientation ?? 1) === 1;
        assert.equal(cleaned(bytes) !== undefined, isPlain);
        if (isPlain) assert.deepEqual(Buffer.from(finished), cleaned(bytes));
      }),
      runs(150),
    );
  });
});

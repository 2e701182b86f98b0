import assert from 'node:assert/strict';
import { test } from 'node:test';
import { modelStatus } from '../../src/core/lifecycle.js';
import { ceiling, isTokenPrice, tokenCost } from '../../src/core/prices.js';
import type { Model, SizeRule } from '../../src/core/provider.js';
import { isSizeAllowed, parseSize } from '../../src/core/sizes.js';
import { type CatalogOptions, googleCatalog } from '../../src/providers/imagen-catalog.js';
import { GOOGLE_MODELS } from '../../src/providers/imagen-models.js';
import { frameFor, sizeName } from '../../src/providers/imagen-sizes.js';
import { orderOf, testFinisher } from '../support/orders.js';
import { picture } from '../support/pictures.js';

const TODAY = Date.parse('2026-11-22');

function catalog(changes: Partial<CatalogOptions> = {}) {
  return googleCatalog({ additions: [], atGoogle: true, successorServes: true, ...changes });
}

function modelNamed(name: string, changes?: Partial<CatalogOptions>): Model {
  const row = catalog(changes).get(`google/${name}`);
  assert.ok(row, name);
  return row.model;
}

function sizesIn({ sizes }: Model) {
  assert.ok(sizes.kind === 'list');
  return sizes.values;
}

for (const { model, frames } of GOOGLE_MODELS) {
  test(`${model.slug} draws what it declares, a tenth smaller at most`, () => {
    for (const size of sizesIn(model)) {
      const frame = frameFor(size, frames);
      assert.ok(frame, sizeName(size));
      const scale = Math.max(size.width / frame.size.width, size.height / frame.size.height);
      assert.ok(scale <= 1.1, `${sizeName(size)} from ${sizeName(frame.size)}`);
    }
  });
}

test("a model's own sizes are asked for as they are", () => {
  for (const { frames } of GOOGLE_MODELS) {
    for (const frame of frames) assert.deepEqual(frameFor(frame.size, frames), frame);
  }
});

const HABITUAL = [
  ['nano-banana-2.1', '1536x1024', '3:2 2K'],
  ['nano-banana-2.1', '1024x1792', '9:16 2K'],
  ['gemini-3-pro-image', '1792x1024', '16:9 2K'],
  ['imagen-4', '1792x1024', '16:9 2K'],
  ['imagen-4', '1536x1024', undefined],
  ['imagen-4-fast', '1792x1024', undefined],
  ['gemini-2.5-flash-image', '1536x1024', undefined],
] as const;

for (const [name, size, frame] of HABITUAL) {
  test(`${size} of ${name} is ${frame ?? 'not offered'}`, () => {
    const row = catalog().get(`google/${name}`);
    const pixels = parseSize(size);
    assert.ok(row && pixels);
    assert.equal(isSizeAllowed(pixels, row.model.sizes), frame !== undefined);
    const asked = frameFor(pixels, row.frames);
    assert.equal(asked && `${asked.aspectRatio} ${asked.imageSize}`, frame);
  });
}

test('pictures of the nearest shape are finished to exactly the pixels asked for', async () => {
  const finish = testFinisher();
  const cut = GOOGLE_MODELS.flatMap(({ model, frames }) =>
    sizesIn(model).flatMap((size) => {
      const drawn = frameFor(size, frames)?.size ?? size;
      return sizeName(drawn) === sizeName(size) ? [] : [{ size, drawn }];
    }),
  );
  const names = cut.map(({ size, drawn }) => `${sizeName(drawn)} ${sizeName(size)}`);
  const once = cut.filter((_, index) => names.indexOf(names[index] ?? '') === index);
  assert.ok(once.length > 0);
  for (const { size, drawn } of once) {
    const { size: finished } = await finish(orderOf(await picture('jpeg', drawn), { size }));
    assert.deepEqual(finished, { ...size });
  }
});

test('Imagen is retired, and every size of it has one that its successor draws', () => {
  const imagens = GOOGLE_MODELS.filter(({ rpc }) => rpc === 'predict').map(({ model }) => model);
  assert.equal(imagens.length, 4);
  for (const model of imagens) {
    assert.equal(modelStatus(model, TODAY), 'retired');
    const { successor } = model.lifecycle ?? {};
    assert.ok(successor?.serves);
    const { sizes } = modelNamed(successor.slug.slice('google/'.length));
    for (const size of sizesIn(model)) {
      const drawn = parseSize(successor.sizes?.[sizeName(size)] ?? sizeName(size));
      assert.ok(drawn && isSizeAllowed(drawn, sizes), `${model.slug} ${sizeName(size)}`);
      const off = (drawn.width * size.height) / (drawn.height * size.width);
      assert.ok(Math.max(off, 1 / off) < 1.05, `${model.slug} ${sizeName(size)}: ${sizeName(drawn)}`);
    }
  }
});

test('a model on its way out has a successor that is not', () => {
  const model = modelNamed('gemini-2.5-flash-image');
  assert.equal(modelStatus(model, TODAY), 'deprecated');
  const successor = modelNamed('gemini-3.1-flash-lite-image');
  assert.equal(model.lifecycle?.successor?.slug, successor.slug);
  assert.equal(modelStatus(successor, TODAY), 'active');
});

test('a host may refuse what is retired', () => {
  assert.equal(modelNamed('imagen-4', { successorServes: false }).lifecycle?.successor?.serves, false);
});

test('elsewhere than at Google nothing is retired', () => {
  for (const { model } of catalog({ atGoogle: false }).values()) assert.equal(model.lifecycle, undefined);
});

const CALL = { negativePrompt: undefined, n: 1, quality: undefined, inputs: 0, previews: 0 };

/** What is held for a picture of a size, in dollars. */
function held(name: string, size: string): number {
  const { price } = modelNamed(name);
  assert.ok(price !== undefined && price !== 0);
  const micro = ceiling(price, {
    ...CALL,
    prompt: '',
    size: size === 'auto' ? size : (parseSize(size) ?? 'auto'),
  });
  return (micro ?? Number.NaN) / 1_000_000;
}

test('what is held covers the picture and the thinking', () => {
  assert.equal(held('imagen-4-ultra', '2048x2048'), 0.06);
  assert.equal(held('gemini-2.5-flash-image', '1024x1024'), 0.0387 + 0.00256);
  assert.equal(held('gemini-3-pro-image', '1024x1024'), held('gemini-3-pro-image', '2048x2048'));
  assert.ok(held('gemini-3-pro-image', '1024x1024') > 0.1344);
  assert.ok(held('nano-banana-2.1', '1536x1024') > held('nano-banana-2.1', '1264x848'));
  assert.equal(held('nano-banana-2.1', 'auto'), held('nano-banana-2.1', '4096x4096'));
});

test('what a picture usually takes costs less than is held, and no less than the picture alone', () => {
  const { price } = modelNamed('nano-banana-2.1');
  assert.ok(price && isTokenPrice(price));
  const cost = tokenCost(price, { textIn: 12, imageIn: 0, imageOut: 1_120, textOut: 900 }) ?? Number.NaN;
  assert.equal(cost, 33_600 + 6_750 + 18);
  assert.ok(cost / 1_000_000 < held('nano-banana-2.1', '1024x1024'));
});

test('an addition is like a model, asked the same way, and has no end unless said', () => {
  const rows = catalog({ additions: [{ like: 'imagen-4.0-generate-001', id: 'Imagen@005', maxImages: 8 }] });
  const row = rows.get('google/imagen-005');
  assert.ok(row);
  assert.equal(row.rpc, 'predict');
  assert.deepEqual(
    [row.model.upstreamId, row.model.maxImages, row.model.lifecycle, row.model.price],
    ['Imagen@005', 8, undefined, 40_000],
  );
});

test('an addition by an id of the table replaces its row', () => {
  const additions = [{ like: 'gemini-nano-banana-2.1', id: 'gemini-nano-banana-2.1', maxInputs: 3 }];
  assert.equal(modelNamed('nano-banana-2.1', { additions }).maxInputs, 3);
});

const ODD_SIZES: readonly SizeRule[] = [
  { kind: 'list', values: [{ width: 1000, height: 900 }], default: 'auto' },
  { kind: 'list', values: [{ width: 5000, height: 5000 }], default: 'auto' },
  {
    ...{ kind: 'range', multiple: 16, minEdge: 64, maxEdge: 4096, minPixels: 4096, maxPixels: 16_777_216 },
    ...{ maxRatio: 3, default: 'auto' },
  },
];

for (const [index, sizes] of ODD_SIZES.entries()) {
  test(`an addition with sizes Google cannot be asked for is refused (${index})`, () => {
    const additions = [{ like: 'gemini-nano-banana-2.1', id: 'gemini-9', sizes }];
    assert.throws(() => catalog({ additions }), { name: 'ConfigError', path: 'imagen.models[0].sizes' });
  });
}

test('an id that would change the path is refused', () => {
  const additions = [{ like: 'gemini-nano-banana-2.1', id: '../../endpoints/1' }];
  assert.throws(() => catalog({ additions }), { name: 'ConfigError', path: 'imagen.models[0].id' });
});

/** Checks of the models as data; they call nobody. */
import assert from 'node:assert/strict';
import type { MicroUsd } from '../../core/image.js';
import type { Model, ModelFeature, Price, PriceTable, SizeRule, TokenPrice } from '../../core/provider.js';
import type { Check } from '../check.js';
import { type CreateProvider, check } from './subject.js';

const FORMATS: readonly string[] = ['png', 'jpeg', 'webp', 'avif'];
const OPERATIONS: readonly string[] = ['generate', 'edit'];
const FEATURES: readonly ModelFeature[] = ['seed', 'negative_prompt', 'mask', 'streaming', 'end_user'];

/** A check that looks at each model by itself. */
function ofEach(parts: { id: string; title: string; look(model: Model): void }): Check<CreateProvider> {
  return check({
    id: parts.id,
    title: parts.title,
    async run({ provider }) {
      for (const model of provider.models) parts.look(model);
    },
  });
}

function isWhole(value: number, least: number): boolean {
  return Number.isSafeInteger(value) && value >= least;
}

function expectList(values: readonly string[], allowed: readonly string[] | undefined, what: string): void {
  assert.equal(new Set(values).size, values.length, `${what} has a value twice`);
  for (const value of values) {
    assert.ok(typeof value === 'string' && value !== '', `${what} has an empty value`);
    assert.ok(allowed === undefined || allowed.includes(value), `${what} has "${value}", which is unknown`);
  }
}

function expectLists(model: Model): void {
  const { slug } = model;
  expectList(model.operations, OPERATIONS, `${slug}: operations`);
  expectList(model.formats, FORMATS, `${slug}: formats`);
  expectList(model.features, FEATURES, `${slug}: features`);
  for (const field of ['qualities', 'styles', 'backgrounds', 'metadataKeys'] as const) {
    expectList(model[field], undefined, `${slug}: ${field}`);
  }
  assert.ok(model.operations.length > 0, `${slug} can do nothing`);
  assert.ok(model.formats.length > 0, `${slug} delivers no format`);
  assert.ok(['url', 'b64_json'].includes(model.defaultResponseFormat), `${slug}: defaultResponseFormat`);
}

function expectCounts(model: Model): void {
  const { slug, operations, features } = model;
  assert.ok(isWhole(model.maxImages, 1), `${slug}: maxImages must be whole and at least 1`);
  const { maxImages, maxImagesWithPreviews = maxImages } = model;
  assert.ok(
    isWhole(maxImagesWithPreviews, 1) && maxImagesWithPreviews <= maxImages,
    `${slug}: maxImagesWithPreviews must be whole, at least 1 and at most maxImages`,
  );
  assert.ok(isWhole(model.maxPromptLength, 1), `${slug}: maxPromptLength must be whole and at least 1`);
  assert.ok(isWhole(model.maxInputs, 0), `${slug}: maxInputs must be whole and at least 0`);
  assert.ok(isWhole(model.maxPreviews, 0), `${slug}: maxPreviews must be whole and at least 0`);
  assert.equal(
    operations.includes('edit'),
    model.maxInputs > 0,
    `${slug}: maxInputs must be above 0 exactly with edits`,
  );
  assert.ok(
    !features.includes('mask') || operations.includes('edit'),
    `${slug} takes masks but does not edit`,
  );
}

function allows(sizes: SizeRule, width: number, height: number): boolean {
  if (sizes.kind === 'list')
    return sizes.values.some((size) => size.width === width && size.height === height);
  const [short, long] = [Math.min(width, height), Math.max(width, height)];
  const whole = width % sizes.multiple === 0 && height % sizes.multiple === 0;
  const edges = short >= sizes.minEdge && long <= sizes.maxEdge && long / short <= sizes.maxRatio;
  return whole && edges && width * height >= sizes.minPixels && width * height <= sizes.maxPixels;
}

function expectSizes({ slug, sizes }: Model): void {
  if (sizes.kind === 'list') {
    assert.ok(sizes.values.length > 0, `${slug} lists no sizes`);
    const names = sizes.values.map(({ width, height }) => `${width}x${height}`);
    expectList(names, undefined, `${slug}: sizes`);
    for (const { width, height } of sizes.values)
      assert.ok(isWhole(width, 1) && isWhole(height, 1), `${slug}: sizes`);
  } else {
    const { multiple, minEdge, maxEdge, minPixels, maxPixels, maxRatio } = sizes;
    for (const bound of [multiple, minEdge, maxEdge, minPixels, maxPixels]) {
      assert.ok(isWhole(bound, 1), `${slug}: the bounds of sizes must be whole and at least 1`);
    }
    assert.ok(minEdge <= maxEdge && minPixels <= maxPixels && maxRatio >= 1, `${slug} allows no size`);
  }
  if (sizes.default === 'auto') return;
  const { width, height } = sizes.default;
  assert.ok(
    allows(sizes, width, height),
    `${slug}: the default size ${width}x${height} is not one of its sizes`,
  );
}

function expectAmount(amount: number, what: string): void {
  assert.ok(isWhole(amount, 0), `${what} must be whole micro-dollars of 0 or more`);
}

function expectAmounts(amounts: MicroUsd | 0 | PriceTable, what: string): void {
  if (typeof amounts !== 'object') {
    expectAmount(amounts, what);
    return;
  }
  const rows = Object.entries(amounts);
  assert.ok(rows.length > 0, `${what} is an empty table`);
  for (const [size, row] of rows) {
    assert.match(size, /^(\*|auto|\d+x\d+)$/, `${what} has a row "${size}"`);
    for (const [quality, cell] of Object.entries(row)) expectAmount(cell, `${what}, ${size}, ${quality}`);
  }
}

function isTokenPrice(price: Price): price is TokenPrice {
  return typeof price === 'object' && 'tokens' in price;
}

function expectPrice({ slug, price, operations }: Model): void {
  const what = `${slug}: the price`;
  if (price === undefined) return;
  if (!isTokenPrice(price)) {
    expectAmounts(price, what);
    return;
  }
  for (const [kind, rate] of Object.entries(price.tokens)) {
    if (rate !== undefined) expectAmount(rate, `${what} of ${kind}`);
  }
  expectAmounts(price.ceiling, `${what} at most`);
  const { inputImageTokens } = price;
  if (!operations.includes('edit')) return;
  assert.ok(
    inputImageTokens !== undefined && isWhole(inputImageTokens, 0),
    `${what} by token bounds no input picture`,
  );
}

function isDate(text: string): boolean {
  const at = Date.parse(`${text}T00:00:00Z`);
  return /^\d{4}-\d{2}-\d{2}$/.test(text) && !Number.isNaN(at) && new Date(at).toISOString().startsWith(text);
}

function expectLifecycle({ slug, lifecycle, sources }: Model): void {
  const { deprecatedAt, shutdownAt, successor } = lifecycle ?? {};
  const dates = [deprecatedAt, shutdownAt, ...Object.values(sources ?? {}).map((source) => source.date)];
  for (const date of dates)
    assert.ok(date === undefined || isDate(date), `${slug}: "${date}" is no YYYY-MM-DD`);
  assert.ok(
    !(deprecatedAt && shutdownAt) || deprecatedAt <= shutdownAt,
    `${slug} ends before it is deprecated`,
  );
  assert.notEqual(successor?.slug, slug, `${slug} succeeds itself`);
  for (const [from, to] of Object.entries(successor?.sizes ?? {})) {
    for (const name of [from, to]) assert.match(name, /^\d+x\d+$/, `${slug}: the successor's sizes`);
  }
}

/** Models are complete, consistent and legal data. */
export const modelChecks: readonly Check<CreateProvider>[] = [
  check({
    id: 'models.some',
    title: 'A provider has a name and at least one model, all as plain data.',
    async run({ provider }) {
      assert.ok(typeof provider.name === 'string' && provider.name !== '', 'the provider has no name');
      assert.ok(provider.models.length > 0, 'the provider has no models');
      assert.doesNotThrow(
        () => structuredClone(provider.models),
        'the models hold something that is not data',
      );
    },
  }),
  check({
    id: 'models.slugs',
    title: 'Slugs are `vendor/name` in lower case, and no two models have the same.',
    async run({ provider }) {
      const slugs = provider.models.map((model) => model.slug);
      expectList(slugs, undefined, 'models');
      for (const slug of slugs) assert.match(slug, /^[a-z0-9][a-z0-9._-]*\/[a-z0-9][a-z0-9._:-]*$/);
    },
  }),
  ofEach({
    id: 'models.lists',
    title: 'Lists hold known values, none twice, and are filled where they must be.',
    look: expectLists,
  }),
  ofEach({
    id: 'models.counts',
    title: 'Counts are whole, in bounds, and agree with the operations.',
    look: expectCounts,
  }),
  ofEach({
    id: 'models.sizes',
    title: 'A model has sizes, and its default size is one of them.',
    look: expectSizes,
  }),
  ofEach({
    id: 'models.prices',
    title: 'A price is whole micro-dollars, a table of them, or by token under a ceiling; or undefined.',
    look: expectPrice,
  }),
  ofEach({
    id: 'models.lifecycle',
    title: 'Dates are days in order, and no model succeeds itself.',
    look: expectLifecycle,
  }),
];

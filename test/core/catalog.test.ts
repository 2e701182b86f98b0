import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { mayUse } from '../../src/core/access.js';
import { createCatalog } from '../../src/core/catalog.js';
import type { ModelAlias, ModelSettings } from '../../src/core/model-settings.js';
import type { Model, Price } from '../../src/core/provider.js';
import { usd } from '../../src/core/windows.js';
import { ConfigError } from '../../src/errors.js';
import { placeholder } from '../../src/providers/placeholder.js';
import { TEST_CALLER } from '../support/app.js';
import { runs } from '../support/runs.js';

function catalogOf(
  models: readonly Partial<Model>[],
  settings: Record<string, ModelAlias | ModelSettings> = {},
) {
  const priced = models.map((model) => ({ price: usd(0.04), ...model }));
  return createCatalog({ providers: [placeholder({ models: priced })], models: settings });
}

const SKETCH = 'placeholder/sketch';

for (const [title, price] of [
  ['written without usd()', 0.04],
  ['below nothing', -1],
  ['that is no number', Number.NaN],
  ['in words', '0.04'],
  ['beyond counting', 2 ** 53],
  ['of a table without usd()', { '*': { '*': 0.04 } }],
  ['by token with a rate below nothing', { tokens: { textIn: -1, imageIn: 0, imageOut: 0 }, ceiling: 1 }],
  ['by token with half a ceiling', { tokens: { textIn: 0, imageIn: 0, imageOut: 0 }, ceiling: 0.5 }],
] as const) {
  test(`a price ${title} is refused at construction, from the provider as from the host`, () => {
    const wrong = price as unknown as Price;
    const refused = (error: unknown) =>
      error instanceof ConfigError && error.path === "models['placeholder/sketch'].price";
    assert.throws(() => catalogOf([{ price: wrong }]), refused);
    assert.throws(() => catalogOf([{}], { [SKETCH]: { price: wrong } }), refused);
  });
}

for (const maxImages of [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY]) {
  test(`a model that draws ${maxImages} pictures a call is refused, before a request splits into calls forever`, () => {
    assert.throws(
      () => catalogOf([{ maxImages }]),
      /placeholder\/sketch\.maxImages: expected a whole number/,
    );
  });
}

test('free has to be said: a price of 0 is one, a missing price is none', () => {
  assert.doesNotThrow(() => catalogOf([{ price: 0 }]));
  assert.throws(() => catalogOf([{ price: undefined }]), ConfigError);
  assert.doesNotThrow(() => catalogOf([{ price: undefined }], { [SKETCH]: { price: 0 } }));
});

test('an alias may not hide a model of a provider', () => {
  const models = [{}, { slug: 'house/other' }];
  assert.throws(() => catalogOf(models, { [SKETCH]: { aliasOf: 'house/other' } }), ConfigError);
});

test('a listing has what the caller may use, by slug', () => {
  const catalog = catalogOf([{ slug: 'b/two' }, { slug: 'a/one' }, { slug: 'b/one' }]);
  const slugs = (models: readonly string[] | 'all') =>
    Array.from(catalog.list({ ...TEST_CALLER, models }), ({ name }) => name);
  assert.deepEqual(slugs('all'), ['a/one', 'b/one', 'b/two']);
  assert.deepEqual(slugs(['b/*']), ['b/one', 'b/two']);
  assert.deepEqual(slugs(['*/one']), ['a/one', 'b/one']);
  assert.deepEqual(slugs(['c/*']), []);
});

test('what resolves is what is listed, and neither is open to others', () => {
  const slug = fc.constantFrom('a/one', 'a/two', 'b/one');
  const pattern = fc.constantFrom('*', 'a/*', '*/one', 'a/one', 'b/*', 'x', '');
  const catalog = catalogOf([{ slug: 'a/one' }, { slug: 'a/two' }, { slug: 'b/one' }]);
  fc.assert(
    fc.property(slug, fc.array(pattern, { minLength: 1, maxLength: 3 }), (asked, models) => {
      const caller = { ...TEST_CALLER, models };
      const listed = [...catalog.list(caller)].some(({ name }) => name === asked);
      let resolved = true;
      try {
        catalog.resolve(asked, { caller, bare: false });
      } catch {
        resolved = false;
      }
      assert.equal(resolved, listed);
    }),
    runs(100),
  );
});

test('a pattern without a star covers exactly itself, whatever characters it has', () => {
  const text = fc.string({ unit: fc.constantFrom(...'ab/.-+?^$(){}|[]\\'), maxLength: 6 });
  fc.assert(
    fc.property(text, text, (pattern, slug) => {
      assert.equal(mayUse({ ...TEST_CALLER, models: [pattern] }, slug), pattern === slug);
    }),
    runs(300),
  );
});

test('a star stands for any run of characters, also none', () => {
  const text = fc.string({ unit: fc.constantFrom(...'ab/.'), maxLength: 4 });
  fc.assert(
    fc.property(text, text, text, (start, middle, end) => {
      const caller = { ...TEST_CALLER, models: [`${start}*${end}`] };
      assert.equal(mayUse(caller, `${start}${middle}${end}`), true);
      assert.equal(mayUse(caller, `x${start}${middle}${end}`), start === '');
      assert.equal(mayUse(caller, `${start}${middle}${end}y`), end === '');
    }),
    runs(200),
  );
});

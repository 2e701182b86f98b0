import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ceiling, formatUsd, type PricedCall, tokenCost, unitPrice } from '../../src/core/prices.js';
import type { Price, PriceTable, TokenPrice } from '../../src/core/provider.js';
import { usd } from '../../src/core/windows.js';
import { runs } from '../support/runs.js';

function call(changes: Partial<PricedCall> = {}): PricedCall {
  return {
    ...{ prompt: '', negativePrompt: undefined, n: 1, size: 'auto', quality: undefined, inputs: 0 },
    previews: 0,
    ...changes,
  };
}

const square = { width: 1024, height: 1024 };
const TABLE: PriceTable = {
  '1024x1024': { low: usd(0.01), high: usd(0.2) },
  '1536x1024': { low: usd(0.02), '*': usd(0.3) },
  '*': { low: usd(0.05) },
};

for (const [title, changes, expected] of [
  ['its size and quality', { size: square, quality: 'low' }, 10_000],
  ['no quality: the dearest of the row', { size: square }, 200_000],
  ['quality auto: the dearest of the row', { size: square, quality: 'auto' }, 200_000],
  ['a quality the row does not have', { size: square, quality: 'medium' }, undefined],
  ['a quality the row covers by star', { size: { width: 1536, height: 1024 }, quality: 'medium' }, 300_000],
  ['a size the table covers by star', { size: { width: 64, height: 64 }, quality: 'low' }, 50_000],
  [
    'a size the table covers, in a quality it does not',
    { size: { width: 64, height: 64 }, quality: 'x' },
    undefined,
  ],
  ['any size: the dearest of all', {}, 300_000],
  ['any size in one quality: the dearest in it', { quality: 'low' }, 50_000],
  ['three pictures', { size: square, quality: 'low', n: 3 }, 30_000],
  ['a quality that every object inherits', { size: square, quality: 'constructor' }, undefined],
] as const) {
  test(`the ceiling of a priced table for ${title}`, () => {
    assert.equal(ceiling(TABLE, call(changes)), expected);
  });
}

const BY_TOKEN: TokenPrice = {
  tokens: { textIn: usd(5), imageIn: usd(10), imageOut: usd(40), textOut: usd(30) },
  ceiling: usd(0.2),
  ...{ inputImageTokens: 1000, previewTokens: 100 },
};

test('the ceiling by token bounds pictures, bytes of the prompt, inputs and previews', () => {
  assert.equal(ceiling(BY_TOKEN, call({ n: 2 })), 400_000);
  assert.equal(ceiling(BY_TOKEN, call({ prompt: 'aé🏝' })), 200_000 + 7 * 5);
  assert.equal(ceiling(BY_TOKEN, call({ negativePrompt: 'fog' })), 200_000 + 3 * 5);
  assert.equal(ceiling(BY_TOKEN, call({ inputs: 2 })), 200_000 + 2 * 1000 * 10);
  assert.equal(ceiling(BY_TOKEN, call({ n: 2, previews: 3 })), 400_000 + 2 * 3 * 100 * 40);
});

test('prompt and inputs count once for each picture, because vendors bill n pictures as n calls', () => {
  const one = call({ prompt: 'twelve bytes', inputs: 2, previews: 3 });
  const price = ceiling(BY_TOKEN, one) ?? 0;
  assert.equal(price, 200_000 + 12 * 5 + 2 * 1000 * 10 + 3 * 100 * 40);
  assert.equal(ceiling(BY_TOKEN, { ...one, n: 10 }), 10 * price);
});

test('fractions of a micro-dollar are rounded up', () => {
  const price: TokenPrice = {
    tokens: { textIn: usd(0.1), imageIn: usd(0), imageOut: usd(0) },
    ceiling: usd(0),
  };
  assert.equal(ceiling(price, call({ prompt: 'a' })), 1);
  assert.equal(tokenCost(price, { textIn: 1, imageIn: 0, imageOut: 0 }), 1);
  assert.equal(tokenCost(price, { textIn: 11, imageIn: 0, imageOut: 0 }), 2);
});

test('a ceiling beyond counting is none', () => {
  assert.equal(ceiling(usd(9_000_000_000), call({ n: 10 })), undefined);
});

test('what a vendor may bill within its bounds never exceeds what was held', () => {
  const micro = fc.integer({ min: 0, max: 200_000_000 }).map((amount) => usd(amount / 1e6));
  fc.assert(
    fc.property(
      fc.record({ textIn: micro, imageIn: micro, imageOut: micro }),
      ...([micro, fc.string({ unit: 'grapheme', maxLength: 50 }), fc.integer({ min: 1, max: 10 })] as const),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (tokens, top, prompt, n, part) => {
        const price: TokenPrice = { tokens, ceiling: top };
        const held = ceiling(price, call({ prompt, n }));
        // As many tokens as the bounds allow: a byte of prompt each, and a picture's worth for each picture.
        const imageOut = tokens.imageOut === 0 ? 0 : Math.floor((top * n * 1e6 * part) / tokens.imageOut);
        const cost = tokenCost(price, { textIn: Buffer.byteLength(prompt), imageIn: 0, imageOut });
        assert.ok(held !== undefined && cost !== undefined && cost <= held, `${cost} of ${held}`);
      },
    ),
    runs(300),
  );
});

test('the dearest counts where the vendor chooses: auto is never cheaper than any choice', () => {
  const amounts = fc.integer({ min: 0, max: 1e9 }).map((amount) => usd(amount / 1e6));
  const row = fc.dictionary(fc.constantFrom('low', 'high', '*'), amounts, { minKeys: 1 });
  const table = fc.dictionary(fc.constantFrom('64x64', '96x64', '*'), row, { minKeys: 1 });
  const size = fc.constantFrom({ width: 64, height: 64 }, { width: 96, height: 64 }, { width: 8, height: 8 });
  fc.assert(
    fc.property(table, size, fc.constantFrom('low', 'high', 'other'), (price, chosen, quality) => {
      const auto = ceiling(price as Price, call()) ?? 0;
      assert.ok(auto >= (ceiling(price as Price, call({ size: chosen, quality })) ?? 0));
    }),
    runs(300),
  );
});

test('a price by token has no price of one picture', () => {
  assert.equal(unitPrice(BY_TOKEN, call()), undefined);
  assert.equal(unitPrice(0, call()), 0);
});

for (const usage of [undefined, null, 'x', 7, {}, { textIn: 1 }, { textIn: '1', imageIn: 0, imageOut: 0 }]) {
  test(`usage that is none costs nothing that can be told: ${JSON.stringify(usage) ?? 'undefined'}`, () => {
    assert.equal(tokenCost(BY_TOKEN, usage as never), undefined);
  });
}

test('written tokens cost as drawn ones where no rate is given', () => {
  const { textOut: _, ...tokens } = BY_TOKEN.tokens;
  const usage = { textIn: 0, imageIn: 0, imageOut: 0, textOut: 10 };
  assert.equal(tokenCost(BY_TOKEN, usage), 300);
  assert.equal(tokenCost({ ...BY_TOKEN, tokens }, usage), 400);
});

test('micro-dollars are written as dollars with six digits and read back exactly', () => {
  assert.equal(formatUsd(0), '0.000000');
  assert.equal(formatUsd(1), '0.000001');
  assert.equal(formatUsd(40_000), '0.040000');
  assert.equal(formatUsd(12_345_678), '12.345678');
  fc.assert(
    fc.property(fc.maxSafeNat(), (micro) => {
      const written = formatUsd(micro);
      assert.match(written, /^(0|[1-9]\d*)\.\d{6}$/);
      assert.equal(Number(written.replace('.', '')), micro);
    }),
    runs(200),
  );
});

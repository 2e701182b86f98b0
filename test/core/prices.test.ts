import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { MicroUsd } from '../../src/core/image.js';
import { ceiling, type PricedCall } from '../../src/core/prices.js';
import type { TokenPrice } from '../../src/core/provider.js';

const micro = (amount: number) => amount as MicroUsd;

const BY_TOKEN: TokenPrice = {
  tokens: { textIn: micro(5_000_000), imageIn: micro(8_000_000), imageOut: micro(30_000_000) },
  ceiling: micro(50_000),
  inputImageTokens: 1000,
  previewTokens: 100,
};

const CALL: PricedCall = {
  prompt: 'twelve bytes',
  negativePrompt: undefined,
  n: 1,
  size: 'auto',
  quality: undefined,
  inputs: 2,
  previews: 3,
};

test('a ceiling by token bounds output, prompt, inputs and previews', () => {
  assert.equal(ceiling(BY_TOKEN, CALL), 50_000 + 12 * 5 + 2 * 1000 * 8 + 3 * 100 * 30);
});

test('prompt and inputs count once for each picture, because vendors bill n pictures as n calls', () => {
  const one = ceiling(BY_TOKEN, CALL) ?? 0;
  assert.equal(ceiling(BY_TOKEN, { ...CALL, n: 10 }), 10 * one);
});

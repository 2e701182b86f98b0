/** What OpenAI charges: rates it publishes, and bounds on the tokens of a picture, which it does not publish. */
import type { MicroUsd, Size } from '../core/image.js';
import type { PriceTable, TokenPrice, TokenRates } from '../core/provider.js';

/** Micro-dollars from dollars. */
export function dollars(amount: number): MicroUsd {
  return Math.round(amount * 1_000_000) as MicroUsd;
}

/** Ceilings lie this much above what is reported, because no list of OpenAI's bounds the tokens of a picture. */
const MARGIN = 1.25;

function withMargin(microUsd: number): MicroUsd {
  return Math.ceil(microUsd * MARGIN) as MicroUsd;
}

/** Output tokens of a preview, whatever its size: developers.openai.com, image generation guide. */
const PREVIEW_TOKENS = 100;

/**
 * Input tokens of a picture at models with three sizes: 65, and 129 for each of at most four tiles of 512 pixels,
 * since it is made to fit 2048 by 512. High fidelity adds up to 6,240. From developers.openai.com, vision guide.
 */
const TILED_INPUT_TOKENS = { low: 65 + 4 * 129, high: 65 + 4 * 129 + 6240 } as const;

/**
 * At models with free sizes: at most 1,536 patches of 32 pixels, found by measuring, community.openai.com/t/1382940.
 */
const PATCHED_INPUT_TOKENS = 1536;

/** Dollars per picture by quality. */
type Reported = Readonly<Record<string, number>>;

/** What a price of a model with three sizes is made from. */
export interface ThreeSizePrice {
  /** Rates per million tokens. */
  readonly tokens: TokenRates;
  /** Reported prices of the square picture. */
  readonly square: Reported;
  /** Reported prices of the two oblong ones. */
  readonly oblong: Reported;
  /** The highest `input_fidelity` there is. */
  readonly fidelity: 'low' | 'high';
}

/** The price of a model with three sizes. */
export function threeSizePrice({ tokens, square, oblong, fidelity }: ThreeSizePrice): TokenPrice {
  const row = (reported: Reported) =>
    Object.fromEntries(
      Object.entries(reported).map(([quality, price]) => [quality, withMargin(dollars(price))]),
    );
  return {
    tokens,
    ceiling: { '1024x1024': row(square), '*': row(oblong) },
    inputImageTokens: Math.ceil(TILED_INPUT_TOKENS[fidelity] * MARGIN),
    previewTokens: PREVIEW_TOKENS,
  };
}

/** Sizes worth a row of their own; every other one is held at the dearest, the largest square. */
const COMMON_SIZES: readonly Size[] = [
  { width: 1024, height: 1024 },
  { width: 1536, height: 1024 },
  { width: 1024, height: 1536 },
  { width: 1792, height: 1024 },
  { width: 1024, height: 1792 },
  { width: 2048, height: 2048 },
  { width: 2560, height: 1440 },
  { width: 1440, height: 2560 },
  { width: 3840, height: 2160 },
  { width: 2160, height: 3840 },
];
const DEAREST_SIZE: Size = { width: 2880, height: 2880 };

/** Published for every model with free sizes. */
const FREE_SIZE_RATES: TokenRates = { textIn: dollars(5), imageIn: dollars(8), imageOut: dollars(30) };

/**
 * Output tokens of a picture of the models with free sizes, `axis` being the quality's patches along the longer
 * edge. Users read it out of OpenAI's price calculator, and reported usage agrees: 7,024 for 1024x1024 at 96.
 */
function outputTokens(axis: number, { width, height }: Size): number {
  const shortAxis = Math.round((axis * Math.min(width, height)) / Math.max(width, height));
  return Math.ceil((axis * shortAxis * (2_000_000 + width * height)) / 4_000_000);
}

/** The price of a model with free sizes, from the axis of each of its qualities. */
export function freeSizePrice(axes: Readonly<Record<string, number>>): TokenPrice {
  const row = (size: Size) =>
    Object.fromEntries(
      Object.entries(axes).map(([quality, axis]) => [
        quality,
        withMargin((outputTokens(axis, size) * FREE_SIZE_RATES.imageOut) / 1_000_000),
      ]),
    );
  const ceiling: PriceTable = {
    ...Object.fromEntries(COMMON_SIZES.map((size) => [`${size.width}x${size.height}`, row(size)])),
    '*': row(DEAREST_SIZE),
  };
  return {
    tokens: FREE_SIZE_RATES,
    ceiling,
    inputImageTokens: Math.ceil(PATCHED_INPUT_TOKENS * MARGIN),
    previewTokens: PREVIEW_TOKENS,
  };
}

/** What Google charges for pictures by token, and the bounds that are held before a call. */
import type { MicroUsd } from '../core/image.js';
import type { PriceTable, TokenPrice, TokenRates } from '../core/provider.js';
import { type Frame, frameFor, type ImageSize, sizeName, sizesOf } from './imagen-sizes.js';

/** Micro-dollars from dollars. */
export function dollars(amount: number): MicroUsd {
  return Math.round(amount * 1_000_000) as MicroUsd;
}

/** How a Gemini model is charged. */
export interface GeminiRates {
  /** Per million tokens. */
  readonly rates: TokenRates & { readonly textOut: MicroUsd };
  /** Output tokens of one picture, which are fixed by its image size. */
  readonly pictureTokens: Readonly<Partial<Record<ImageSize, number>>>;
  /** Bounds what it writes and thinks beside the picture. */
  readonly textTokens: number;
  /** Bounds the tokens of one input picture. */
  readonly inputImageTokens: number;
}

/** The price of a Gemini model over its frames. */
export function geminiPrice(frames: readonly Frame[], charged: GeminiRates): TokenPrice {
  const { rates, pictureTokens, textTokens, inputImageTokens } = charged;
  const bound = (imageSize: ImageSize) => {
    const tokens = (pictureTokens[imageSize] ?? 0) * rates.imageOut + textTokens * rates.textOut;
    return Math.ceil(tokens / 1_000_000) as MicroUsd;
  };
  const rows = sizesOf(frames).flatMap((size) => {
    const frame = frameFor(size, frames);
    return frame === undefined ? [] : [[sizeName(size), { '*': bound(frame.imageSize) }] as const];
  });
  const dearest = Math.max(...frames.map(({ imageSize }) => bound(imageSize))) as MicroUsd;
  const ceiling: PriceTable = { ...Object.fromEntries(rows), '*': { '*': dearest } };
  return { tokens: rates, ceiling, inputImageTokens };
}

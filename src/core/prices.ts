/**
 * Prices: what a call can cost at most, held before it, and what it did cost, booked after it. Whole micro-dollars
 * everywhere; fractions are rounded up, so that what is held always covers what is booked.
 */
import type { Size } from './image.js';
import type { Price, PriceTable, TokenPrice, TokenUsage } from './provider.js';
import { sizeName } from './sizes.js';

/** What of a call decides its price. */
export interface PricedCall {
  /** Sent as is: a token is at least one byte, so bytes bound tokens. */
  readonly prompt: string;
  /** Sent as is. */
  readonly negativePrompt: string | undefined;
  /** Pictures. */
  readonly n: number;
  /** Pixels, or the vendor's choice. */
  readonly size: Size | 'auto';
  /** A quality, or the vendor's choice. */
  readonly quality: string | undefined;
  /** Input pictures, the mask included. */
  readonly inputs: number;
  /** Previews per picture. */
  readonly previews: number;
}

const PER_MILLION = 1_000_000;

function dearest(amounts: readonly (number | undefined)[]): number | undefined {
  const known = amounts.filter((amount) => amount !== undefined);
  return known.length === 0 ? undefined : Math.max(...known);
}

function rowAmount(row: PriceTable[string] | undefined, quality: string | undefined): number | undefined {
  if (row === undefined) return undefined;
  if (quality === undefined || quality === 'auto') return dearest(Object.values(row));
  return (Object.hasOwn(row, quality) ? row[quality] : undefined) ?? row['*'];
}

function tableAmount(table: PriceTable, call: PricedCall): number | undefined {
  if (call.size === 'auto') return dearest(Object.values(table).map((row) => rowAmount(row, call.quality)));
  const name = sizeName(call.size);
  return rowAmount(Object.hasOwn(table, name) ? table[name] : table['*'], call.quality);
}

/** True for a price by token. */
export function isTokenPrice(price: Price): price is TokenPrice {
  return typeof price === 'object' && 'tokens' in price;
}

/** True for a price all of whose figures are whole and not negative: without TypeScript, `0.04` looks like one. */
export function isWholePrice(price: Price): boolean {
  const figures = isTokenPrice(price)
    ? [
        ...Object.values(price.tokens),
        price.inputImageTokens,
        price.previewTokens,
        ...tableFigures(price.ceiling),
      ]
    : tableFigures(price);
  return figures.every((figure) => figure === undefined || (Number.isSafeInteger(figure) && figure >= 0));
}

function tableFigures(price: Exclude<Price, TokenPrice>): readonly number[] {
  return typeof price === 'object' ? Object.values(price).flatMap((row) => Object.values(row)) : [price];
}

function perPicture(price: Exclude<Price, TokenPrice>, call: PricedCall): number | undefined {
  return typeof price === 'number' ? price : tableAmount(price, call);
}

/**
 * The price of one picture of a call, or `undefined` when it is priced by token or not sold in this size or quality.
 */
export function unitPrice(price: Price, call: PricedCall): number | undefined {
  return isTokenPrice(price) ? undefined : perPicture(price, call);
}

function tokenCeiling(price: TokenPrice, call: PricedCall): number | undefined {
  const output = perPicture(price.ceiling, call);
  if (output === undefined) return undefined;
  const { textIn, imageIn, imageOut } = price.tokens;
  const text = Buffer.byteLength(call.prompt) + Buffer.byteLength(call.negativePrompt ?? '');
  const inputs = call.inputs * (price.inputImageTokens ?? 0);
  const previews = call.previews * (price.previewTokens ?? 0);
  // Vendors bill n pictures as n calls: what goes in counts for each of them (community.openai.com/t/1382940).
  const besides = text * textIn + inputs * imageIn + previews * imageOut;
  return output * call.n + Math.ceil((call.n * besides) / PER_MILLION);
}

/**
 * The most a call can cost, or `undefined` when its size or quality has no price: such a call must not start. The
 * vendor's free choice (`auto`) counts as the dearest.
 */
export function ceiling(price: Price, call: PricedCall): number | undefined {
  const amount = isTokenPrice(price) ? tokenCeiling(price, call) : multiply(perPicture(price, call), call.n);
  return amount !== undefined && Number.isSafeInteger(amount) ? amount : undefined;
}

function multiply(unit: number | undefined, n: number): number | undefined {
  return unit === undefined ? undefined : unit * n;
}

/** What reported tokens cost, or `undefined` when the report cannot be one: not numbers, negative, beyond counting. */
export function tokenCost(price: TokenPrice, usage: TokenUsage | undefined): number | undefined {
  // Not every plugin is written in TypeScript, and a vendor's null must not undo the settlement.
  if (typeof usage !== 'object' || usage === null) return undefined;
  const { textIn, imageIn, imageOut, textOut = imageOut } = price.tokens;
  const parts: readonly (readonly [unknown, number])[] = [
    [usage.textIn, textIn],
    [usage.imageIn, imageIn],
    [usage.imageOut, imageOut],
    [usage.textOut ?? 0, textOut],
  ];
  let sum = 0;
  for (const [tokens, rate] of parts) {
    if (typeof tokens !== 'number' || !(tokens >= 0)) return undefined;
    sum += tokens * rate;
  }
  const cost = Math.ceil(sum / PER_MILLION);
  return Number.isSafeInteger(cost) ? cost : undefined;
}

/** Micro-dollars as a decimal string of dollars with six digits, as on the wire: `0.040000`. */
export function formatUsd(microUsd: number): string {
  const digits = String(microUsd).padStart(7, '0');
  return `${digits.slice(0, -6)}.${digits.slice(-6)}`;
}

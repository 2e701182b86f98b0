/** Checks of what a call reports of its cost. */
import assert from 'node:assert/strict';
import type {
  EndEvent,
  GenerateCall,
  Price,
  PriceTable,
  TokenPrice,
  TokenUsage,
} from '../../core/provider.js';
import type { Check } from '../check.js';
import { type CreateProvider, check, collect, forEach } from './subject.js';

function isTokenPrice(price: Price): price is TokenPrice {
  return typeof price === 'object' && 'tokens' in price;
}

/** The dearest a picture can be; qualities nobody chose are the vendor's choice. */
function mostPerPicture(price: number | PriceTable, { size, quality }: GenerateCall): number | undefined {
  if (typeof price === 'number') return price;
  const named = size === 'auto' ? undefined : (price[`${size.width}x${size.height}`] ?? price['*']);
  const rows = size === 'auto' ? Object.values(price) : [named ?? {}];
  const cells = rows.flatMap((row) => {
    const cell = quality === undefined ? undefined : (row[quality] ?? row['*']);
    return cell === undefined ? Object.values(row) : [cell];
  });
  return cells.length === 0 ? undefined : Math.max(...cells);
}

/** The most a call can cost by the model's own price; `undefined` where that does not say. */
function ceilingOf(price: Price, call: GenerateCall): number | undefined {
  const most = mostPerPicture(isTokenPrice(price) ? price.ceiling : price, call);
  if (most === undefined || !isTokenPrice(price)) return most && most * call.n;
  const { textIn, imageIn, imageOut } = price.tokens;
  const words = Buffer.byteLength(call.prompt + (call.negativePrompt ?? '')) * textIn;
  const inputs = call.inputs.length * (price.inputImageTokens ?? 0) * imageIn;
  const previews = call.previews * (price.previewTokens ?? 0) * imageOut;
  return Math.ceil(call.n * (most + (words + inputs + previews) / 1_000_000));
}

function costOfTokens({ tokens }: TokenPrice, usage: TokenUsage): number {
  const { textIn, imageIn, imageOut, textOut = imageOut } = tokens;
  const written = (usage.textOut ?? 0) * textOut;
  return (usage.textIn * textIn + usage.imageIn * imageIn + usage.imageOut * imageOut + written) / 1_000_000;
}

/** What a report comes to; `undefined` where it says nothing that could be money. */
function reported({ cost, usage }: EndEvent, price: Price): number | undefined {
  if (cost !== undefined) return cost;
  return usage !== undefined && isTokenPrice(price) ? costOfTokens(price, usage) : undefined;
}

/** What is held before a call covers what is booked after it. */
export const costChecks: readonly Check<CreateProvider>[] = [
  check({
    id: 'costs.ceiling',
    title: "A call reports no more than the model's price allows for it.",
    run: (bench) =>
      forEach(
        bench.models.filter(({ price }) => price !== undefined),
        async (model) => {
          const calls = [{ n: model.maxImages }, ...(model.maxInputs > 0 ? [bench.edit(model)] : [])];
          for (const parts of calls) {
            const call = bench.call(model, parts);
            const ceiling = model.price === undefined ? undefined : ceilingOf(model.price, call);
            const end = (await collect(bench, call)).find((event) => event.type === 'end');
            const cost = end && model.price !== undefined ? reported(end, model.price) : undefined;
            if (cost === undefined || ceiling === undefined) continue;
            assert.ok(!(cost > ceiling), `${model.slug} reports ${cost} micro-dollars of at most ${ceiling}`);
          }
        },
      ),
  }),
];

/** Who may draw a request, and its calls: each small enough for all of them, and dear enough for the dearest. */
import type { ImagesError } from '../errors.js';
import type { Backend, CatalogEntry } from './backends.js';
import type { Plan } from './plan.js';
import { ceiling, type PricedCall } from './prices.js';
import type { Model } from './provider.js';
import { canDraw } from './rules.js';
import { invalid } from './validation.js';

/** One call of a request, and its part of the money. */
export interface Share {
  /** The index of its first picture in the request. */
  readonly offset: number;
  /** What it asks, as prices see it. */
  readonly priced: PricedCall;
  /** What is held for it: the ceiling of the dearest backend, because any of them may come to draw. */
  readonly microUsd: number;
  /** What it costs when the first backend draws: its price, or its ceiling where tokens decide. */
  readonly expectedMicroUsd: number;
}

/** Splits a request into calls that each of its backends can take. */
export function splitCalls(n: number, plan: Plan, backends: readonly Backend[]): readonly Share[] {
  const shares: Share[] = [];
  const { previews } = plan.settings;
  const perCall = Math.min(...backends.map(({ model }) => mostPerCall(model, previews)));
  for (let offset = 0; offset < n; offset += perCall) {
    const priced = pricedCall(plan, Math.min(perCall, n - offset));
    const ceilings = backends.map(({ price }) => ceiling(price, priced) ?? 0);
    shares.push({ offset, priced, microUsd: Math.max(...ceilings), expectedMicroUsd: ceilings[0] ?? 0 });
  }
  return shares;
}

function pricedCall({ settings }: Plan, n: number): PricedCall {
  const { prompt, negativePrompt, size, quality, inputs, mask, previews } = settings;
  const pictures = inputs.length + (mask === undefined ? 0 : 1);
  return { prompt, negativePrompt, n, size, quality, inputs: pictures, previews };
}

/** The backends that can draw what was agreed, at a price. Throws `VALIDATION_ERROR` where there is none. */
export function ableBackends(n: number, plan: Plan, { slug, backends }: CatalogEntry): readonly Backend[] {
  const able = backends.filter(({ model }) => canDraw(model, plan));
  if (able.length === 0) {
    throw invalid([{ field: 'model', message: `${slug} draws for it and cannot do all of this` }]);
  }
  const whole = pricedCall(plan, n);
  const sold = able.filter(({ price }) => ceiling(price, whole) !== undefined);
  if (sold.length === 0) throw unpriced();
  return sold;
}

/** The most pictures a model draws in one call, which may be fewer with previews. */
function mostPerCall(model: Model, previews: number): number {
  const { maxImages, maxImagesWithPreviews = maxImages } = model;
  return previews > 0 ? Math.min(maxImages, maxImagesWithPreviews) : maxImages;
}

function unpriced(): ImagesError {
  return invalid([
    { field: 'size', message: 'this model has no price in this size and quality, so it is not sold' },
  ]);
}

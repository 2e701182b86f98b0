/** One row of the table of OpenAI's models, and where its facts come from. */
import type { Size } from '../core/image.js';
import type { Model, Source } from '../core/provider.js';

/** The fields of a request that not every model takes; `model`, `prompt`, `n` and `size` go to all of them. */
export type RequestField =
  | 'quality'
  | 'style'
  | 'response_format'
  | 'background'
  | 'output_format'
  | 'output_compression'
  | 'moderation'
  | 'input_fidelity'
  | 'user';

/** One row: what the router is told about a model, and which fields a request to it may hold. */
export interface OpenAIModel {
  /** What the router is told. */
  readonly model: Model;
  /**
   * Fields it takes, `moderation` only for drawing and `input_fidelity` only for edits; OpenAI answers 400 to any
   * other.
   */
  readonly takes: readonly RequestField[];
}

/** A source, read on the day the table was made. */
export function source(from: string): Source {
  return { from, date: '2026-11-22' };
}

/** Where the request fields come from. */
export const SDK_TYPES: Source = source('openai 7.57.0, resources/images.d.ts');

/** Where the ends of lives come from. */
export const DEPRECATIONS: Source = source('developers.openai.com/api/docs/deprecations');

/** Where the prices of models come from that are no longer on OpenAI's list. */
export const UNVERIFIED_PRICE: Source = source("OpenAI's price list before the retirement, unverified");

/** Sizes from pairs of edges. */
export function sizes(...edges: readonly (readonly [width: number, height: number])[]): readonly Size[] {
  return edges.map(([width, height]) => ({ width, height }));
}

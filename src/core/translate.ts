/** Settings of a model in the words of another that draws in its place. */
import type { CatalogEntry } from './backends.js';
import type { Target } from './catalog.js';
import type { Adaptation, CallSettings } from './plan.js';
import type { Model } from './provider.js';
import type { Warning } from './request.js';
import { describeSizes, isSizeAllowed, parseSize, sizeName } from './sizes.js';
import { invalid } from './validation.js';

/** The settings that differ from model to model. */
export type Translatable = Pick<
  CallSettings,
  'size' | 'quality' | 'style' | 'background' | 'seed' | 'negativePrompt'
>;

/** What became of settings. */
export interface Translation {
  /** In the words of the model that draws. */
  readonly settings: Translatable;
  /** What changed. */
  readonly adapted: readonly Adaptation[];
  /** What the client has to know: who draws, and what was dropped because it has no counterpart. */
  readonly warnings: readonly Warning[];
}

/**
 * Translates settings along the successors of the model asked for. Throws `VALIDATION_ERROR` for a size nobody draws.
 */
export function translate(
  settings: Translatable,
  { asked, serving, successors }: Pick<Target, 'asked' | 'serving' | 'successors'>,
): Translation {
  if (successors.length === 0) return { settings, adapted: [], warnings: [] };
  const { model } = serving;
  let name = sizeName(settings.size);
  let { quality } = settings;
  for (const successor of successors) {
    name = lookUp(successor.sizes, name);
    quality = quality && lookUp(successor.qualities, quality);
  }
  const has = (feature: 'seed' | 'negative_prompt') => model.features.includes(feature);
  const { style, background, seed, negativePrompt } = settings;
  const translated: Translatable = {
    size: drawnSize(name, model, asked),
    quality: among(model.qualities, quality) ?? model.qualities[0],
    style: among(model.styles, style),
    background: among(model.backgrounds, background),
    seed: has('seed') ? seed : undefined,
    negativePrompt: has('negative_prompt') ? negativePrompt : undefined,
  };
  const adapted = differences(settings, translated);
  const warnings = adapted
    .filter(({ to }) => to === null)
    .map(({ field, from }) => {
      // A negative prompt is the client's text; names of styles and qualities are the model's own.
      const what = field === 'negative_prompt' ? field : `${field} ${from}`;
      return { field, message: `${serving.slug} has no ${what}, so it was left out.` };
    });
  const served = { field: 'model', message: `${asked.slug} is served by ${serving.slug}.` };
  return { settings: translated, adapted, warnings: [served, ...warnings] };
}

function lookUp(table: Readonly<Record<string, string>> | undefined, name: string): string {
  return (table !== undefined && Object.hasOwn(table, name) ? table[name] : undefined) ?? name;
}

function among(allowed: readonly string[], value: string | undefined): string | undefined {
  return value !== undefined && allowed.includes(value) ? value : undefined;
}

function drawnSize(name: string, model: Model, asked: CatalogEntry): Translatable['size'] {
  const size = parseSize(name);
  if (size === undefined) return model.sizes.default;
  if (isSizeAllowed(size, model.sizes)) return size;
  const message = `${asked.slug} is served by ${model.slug}, which draws ${describeSizes(model.sizes)}`;
  throw invalid([{ field: 'size', message }]);
}

const WIRE_NAMES: Readonly<Record<keyof Translatable, string>> = {
  size: 'size',
  quality: 'quality',
  style: 'style',
  background: 'background',
  seed: 'seed',
  negativePrompt: 'negative_prompt',
};

function differences(before: Translatable, after: Translatable): readonly Adaptation[] {
  const text = (value: Translatable[keyof Translatable]) =>
    typeof value === 'object' ? sizeName(value) : String(value);
  return (Object.keys(WIRE_NAMES) as (keyof Translatable)[]).flatMap((key) => {
    const [from, to] = [before[key], after[key]];
    if (from === undefined || text(from) === text(to)) return [];
    return [{ field: WIRE_NAMES[key], from: text(from), to: to === undefined ? null : text(to) }];
  });
}

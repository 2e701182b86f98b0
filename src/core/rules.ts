/**
 * The field rules of a model: what it cannot do is refused by name, the defaults real clients always send are
 * dropped, and settings of a model served by another are translated.
 */
import type { ErrorDetail } from '../errors.js';
import type { CatalogEntry } from './backends.js';
import type { Target } from './catalog.js';
import type { Size } from './image.js';
import type { Plan } from './plan.js';
import type { Model } from './provider.js';
import type { ImageRequest, Warning } from './request.js';
import { describeSizes, isSizeAllowed } from './sizes.js';
import { translate } from './translate.js';
import { invalid } from './validation.js';

/** What clients send without meaning it; where a model has no such setting it changes nothing. */
const HABITUAL_DEFAULTS: Readonly<Record<'quality' | 'style' | 'background', readonly string[]>> = {
  quality: ['standard', 'auto'],
  style: ['vivid'],
  background: ['auto'],
};

/** Collects the faults of a request, so that a client hears of all of them at once. */
interface Faults {
  readonly details: ErrorDetail[];
  add(field: string, message: string): void;
}

function createFaults(): Faults {
  const details: ErrorDetail[] = [];
  return { details, add: (field, message) => void details.push({ field, message }) };
}

/** Applies the rules of the target's models to a request. Throws `VALIDATION_ERROR` with every fault. */
export function planRequest(request: ImageRequest, target: Target): Plan {
  const faults = createFaults();
  const { asked, serving, successors } = target;
  checkCommon(request, asked, faults);
  const size = resolveSize(request, asked.model, faults);
  const quality = choose('quality', request, asked.model, faults) ?? asked.model.qualities[0];
  const style = choose('style', request, asked.model, faults);
  const background = choose('background', request, asked.model, faults);
  checkFormat(request, background, faults);
  if (faults.details.length > 0) throw invalid(faults.details);

  const { seed, negativePrompt } = request;
  const own = { size, quality, style, background, seed, negativePrompt };
  const { settings, adapted, warnings } = translate(own, { asked, serving, successors });
  const format = request.outputFormat;
  const compresses = format !== undefined && format !== 'png';
  const dropped: Warning[] = [];
  if (request.outputCompression !== undefined && !compresses) {
    const message = 'Only jpeg, webp and avif are compressed with loss, so this was ignored.';
    dropped.push({ field: 'output_compression', message });
  }
  const compression = compresses ? request.outputCompression : undefined;
  return {
    settings: {
      operation: request.operation,
      prompt: request.prompt,
      ...settings,
      inputs: request.inputs,
      mask: request.mask,
      previews: request.previews,
      endUser: request.endUser,
      metadata: request.metadata,
    },
    size: size === 'auto' ? undefined : size,
    format,
    compression,
    adapted,
    warnings: [...warnings, ...dropped],
  };
}

function checkCommon(request: ImageRequest, { model, settings }: CatalogEntry, faults: Faults): void {
  const maxPrompt = Math.min(
    model.maxPromptLength,
    settings.limits?.maxPromptLength ?? Number.POSITIVE_INFINITY,
  );
  const length = countCodePoints(request.prompt);
  if (length > maxPrompt) faults.add('prompt', `expected at most ${maxPrompt} characters, got ${length}`);
  const maxImages = settings.limits?.maxImages ?? Number.POSITIVE_INFINITY;
  if (request.n > maxImages) faults.add('n', `expected at most ${maxImages} for ${model.slug}`);
  if (!model.operations.includes(request.operation)) {
    faults.add(
      'model',
      `${model.slug} cannot ${request.operation}; it can ${model.operations.join(' and ')}`,
    );
  }
  if (request.seed !== undefined && !model.features.includes('seed')) {
    faults.add('seed', `${model.slug} takes no seed; leave it out`);
  }
  if (request.negativePrompt !== undefined && !model.features.includes('negative_prompt')) {
    faults.add('negative_prompt', `${model.slug} takes no negative prompt; leave it out`);
  }
  checkInputs(request, model, faults);
}

function checkInputs(request: ImageRequest, model: Model, faults: Faults): void {
  if (request.inputs.length > model.maxInputs && request.operation === 'edit') {
    faults.add('image', `expected at most ${model.maxInputs} pictures for ${model.slug}`);
  }
  if (request.mask !== undefined && !model.features.includes('mask')) {
    faults.add('mask', `${model.slug} takes no mask; leave it out`);
  }
}

function countCodePoints(text: string): number {
  let count = 0;
  for (const _ of text) count += 1;
  return count;
}

function checkFormat(request: ImageRequest, background: string | undefined, faults: Faults): void {
  if (background === 'transparent' && request.outputFormat === 'jpeg') {
    faults.add('output_format', 'a JPEG cannot be transparent; use png, webp or avif');
  }
}

/** A setting the model has, or `undefined` for one it does not have and nobody meant. */
function choose(
  field: 'quality' | 'style' | 'background',
  request: ImageRequest,
  model: Model,
  faults: Faults,
): string | undefined {
  const value = request[field];
  const allowed = { quality: model.qualities, style: model.styles, background: model.backgrounds }[field];
  if (value === undefined || allowed.includes(value)) return value;
  if (HABITUAL_DEFAULTS[field].includes(value)) return undefined;
  const right = allowed.length === 0 ? 'leave it out' : `expected one of ${allowed.join(', ')}`;
  const wrong = allowed.length === 0 ? `${model.slug} has no ${field}; ` : '';
  faults.add(field, wrong + right);
  return undefined;
}

function resolveSize(request: ImageRequest, model: Model, faults: Faults): Size | 'auto' {
  const { sizes } = model;
  const { size } = request;
  if (size === undefined || size === 'auto') return sizes.default;
  if (!isSizeAllowed(size, sizes)) faults.add('size', `expected ${describeSizes(sizes)}`);
  return size;
}

/** True when a model can do what was agreed: the backends of one slug need not be equal. */
export function canDraw(model: Model, { settings }: Plan): boolean {
  const { size, quality, style, background, seed, negativePrompt, inputs, mask, operation, prompt } =
    settings;
  const has = (value: string | undefined, values: readonly string[]) =>
    value === undefined || values.includes(value);
  return (
    model.operations.includes(operation) &&
    (size === 'auto' ? model.sizes.default === 'auto' : isSizeAllowed(size, model.sizes)) &&
    has(quality, model.qualities) &&
    has(style, model.styles) &&
    has(background, model.backgrounds) &&
    (seed === undefined || model.features.includes('seed')) &&
    (negativePrompt === undefined || model.features.includes('negative_prompt')) &&
    (mask === undefined || model.features.includes('mask')) &&
    inputs.length <= model.maxInputs &&
    countCodePoints(prompt) <= model.maxPromptLength
  );
}

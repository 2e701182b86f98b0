/** Imagen: `predict`, whose requests and answers are free-form JSON wrapped in protobuf values. */
import type { GenerateEvent } from '../core/provider.js';
import { ProviderError } from '../errors.js';
import { defined, frameOf, labelsOf, outputOf, type RequestParts } from './imagen-request.js';
import { raiRefusal } from './imagen-safety.js';
import type { Answer, Ending, ServiceCall } from './imagen-transport.js';
import { fieldsOf, type JsonObject } from './json-value.js';

/** The SDK's converters between JSON and protobuf values. */
export interface ValueHelpers {
  /** Wraps. Arrays, objects, strings, numbers and booleans; anything else becomes nothing. */
  toValue(value: object): unknown;
  /** Unwraps an object; throws for any other value. */
  fromValue(value: object): unknown;
}

/** Pictures of the call that one request asks for. */
interface Batch {
  readonly first: number;
  readonly count: number;
  readonly seed: number | undefined;
}

/**
 * The requests of a call. Imagen draws a whole batch from one seed, so a call with a seed asks for each picture by
 * itself: only so has each the seed it is said to have.
 */
export function predictCalls(parts: RequestParts, helpers: ValueHelpers): readonly ServiceCall[] {
  const { n, seed } = parts.call;
  const batches: readonly Batch[] =
    seed === undefined
      ? [{ first: 0, count: n, seed }]
      : Array.from({ length: n }, (_, first) => ({ first, count: 1, seed: (seed + first) % 2 ** 32 }));
  return batches.map((batch) => ({
    rpc: 'predict',
    routing: ['endpoint', parts.resource],
    request: {
      endpoint: parts.resource,
      instances: [helpers.toValue({ prompt: parts.call.prompt })],
      parameters: helpers.toValue(parametersOf(parts, batch)),
      labels: labelsOf(parts.call),
    },
    places: { picture: 'bytesBase64Encoded', list: 'predictions', isProtoJson: false },
    read: (answer) => readPredictions(answer, batch, helpers),
  }));
}

function parametersOf(parts: RequestParts, { count, seed }: Batch): object {
  const { call, row, personGeneration, safetySetting } = parts;
  const frame = frameOf(parts);
  return defined({
    sampleCount: count,
    aspectRatio: frame?.aspectRatio,
    sampleImageSize: row.takesImageSize ? frame?.imageSize : undefined,
    negativePrompt: call.negativePrompt,
    ...(seed !== undefined && seedParameters(seed)),
    personGeneration,
    safetySetting,
    // Without it what is withheld is missing without a word.
    includeRaiReason: true,
    outputOptions: outputOf(call),
  });
}

/** A seed is refused beside the watermark, and a prompt that is rewritten anew each time would draw another picture. */
function seedParameters(seed: number) {
  return { seed: imagenSeed(seed), addWatermark: false, enhancePrompt: false };
}

const MAX_SEED = 2 ** 31 - 1;

/** Imagen knows seeds from 1 to 2^31 - 1; those beyond share the picture of one of these. */
function imagenSeed(seed: number): number {
  return seed % 2 ** 31 || MAX_SEED;
}

/**
 * Yields what an answer holds, by its place in the batch. An answer with fewer predictions than asked for, down to
 * `{}`, is Google's way to say that the others were withheld. One that is unreadable fails the call with `shape`,
 * but only after the good ones were yielded: they were paid for.
 */
function* readPredictions(
  { message, picture }: Answer,
  { first, count, seed }: Batch,
  helpers: ValueHelpers,
): Generator<GenerateEvent, Ending, undefined> {
  const { predictions: found } = fieldsOf(message);
  const predictions: unknown[] = Array.isArray(found) ? found : [];
  const arrived = Math.min(predictions.length, count);
  let unreadable = 0;
  for (let place = 0; place < arrived; place += 1) {
    const event = readPrediction(predictions[place], { index: first + place, seed, helpers, picture });
    // The base64 text is the larger half of a picture: let it go before the next one.
    predictions[place] = undefined;
    if (event === undefined) unreadable += 1;
    else yield event;
  }
  const stage = arrived > 0 ? 'output' : 'unknown';
  for (let place = arrived; place < count; place += 1) {
    yield { type: 'blocked', index: first + place, reason: 'safety', stage };
  }
  if (unreadable === 0) return {};
  throw new ProviderError('shape', "The provider's answer holds a picture that cannot be read.", {
    billed: 'unknown',
  });
}

interface PredictionPlace {
  readonly index: number;
  readonly seed: number | undefined;
  readonly helpers: ValueHelpers;
  readonly picture: Answer['picture'];
}

function readPrediction(value: unknown, place: PredictionPlace): GenerateEvent | undefined {
  const { index, seed, helpers, picture } = place;
  const prediction = unwrapped(value, helpers);
  if (prediction === undefined) return undefined;
  const { bytesBase64Encoded, mimeType, prompt, raiFilteredReason } = prediction;
  if (typeof raiFilteredReason === 'string')
    return { type: 'blocked', index, ...raiRefusal(raiFilteredReason) };
  const read = typeof bytesBase64Encoded === 'string' ? picture(bytesBase64Encoded) : undefined;
  if (read === undefined) return undefined;
  const { bytes, release } = read;
  const type = typeof mimeType === 'string' ? mimeType : 'image/png';
  const revisedPrompt = typeof prompt === 'string' && prompt !== '' ? prompt : undefined;
  return { type: 'image', index, image: { bytes, type }, revisedPrompt, seed, release };
}

function unwrapped(value: unknown, { fromValue }: ValueHelpers): JsonObject | undefined {
  try {
    return fieldsOf(fromValue(fieldsOf(value)));
  } catch {
    return undefined;
  }
}

/** Imagen: `predict`, whose requests and answers are free-form JSON wrapped in protobuf values. */
import { decodeBase64 } from '../core/base64.js';
import type { GenerateEvent } from '../core/provider.js';
import { ProviderError } from '../errors.js';
import type { Answer, Ending, ServiceCall } from './imagen-call.js';
import { defined, frameOf, labelsOf, outputOf, type RequestParts } from './imagen-request.js';
import { raiRefusal } from './imagen-safety.js';
import { fieldsOf } from './json-value.js';

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
    count: batch.count,
    places: { picture: 'bytesBase64Encoded', list: 'predictions', isProtoJson: false },
    elementOf: (value) => predictionOf(value, helpers),
    read: (answer) => readPredictions(answer, batch),
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
async function* readPredictions(
  { elements, rest, releaseOf }: Answer,
  { first, count, seed }: Batch,
): AsyncGenerator<GenerateEvent, Ending, undefined> {
  let arrived = 0;
  let isUnreadable = false;
  for await (const prediction of elements) {
    if (arrived === count) continue;
    const event = readPrediction(prediction, { index: first + arrived, seed, releaseOf });
    arrived += 1;
    if (event === undefined) isUnreadable = true;
    else yield event;
  }
  rest();
  const stage = arrived > 0 ? 'output' : 'unknown';
  for (let place = arrived; place < count; place += 1) {
    yield { type: 'blocked', index: first + place, reason: 'safety', stage };
  }
  if (!isUnreadable) return {};
  throw new ProviderError('shape', "The provider's answer holds a picture that cannot be read.", {
    billed: 'unknown',
  });
}

interface PredictionPlace extends Pick<Answer, 'releaseOf'> {
  readonly index: number;
  readonly seed: number | undefined;
}

function readPrediction(
  prediction: unknown,
  { index, seed, releaseOf }: PredictionPlace,
): GenerateEvent | undefined {
  const { bytesBase64Encoded: bytes, mimeType, prompt, raiFilteredReason } = fieldsOf(prediction);
  if (typeof raiFilteredReason === 'string')
    return { type: 'blocked', index, ...raiRefusal(raiFilteredReason) };
  if (!Buffer.isBuffer(bytes)) return undefined;
  const type = typeof mimeType === 'string' ? mimeType : 'image/png';
  const revisedPrompt = typeof prompt === 'string' && prompt !== '' ? prompt : undefined;
  return { type: 'image', index, image: { bytes, type }, revisedPrompt, seed, release: releaseOf(bytes) };
}

/** A prediction that is a protobuf value. */
function predictionOf(value: unknown, { fromValue }: ValueHelpers): unknown {
  try {
    const prediction = fieldsOf(fromValue(fieldsOf(value)));
    const { bytesBase64Encoded: text } = prediction;
    return { ...prediction, bytesBase64Encoded: typeof text === 'string' ? decodeBase64(text) : undefined };
  } catch {
    return undefined;
  }
}

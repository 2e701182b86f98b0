/** Gemini's image models: `generateContent`, which answers with one picture, an excuse, or a reason. */
import type { GenerateCall, GenerateEvent, ImageEvent, TokenUsage } from '../core/provider.js';
import { ProviderError } from '../errors.js';
import type { Answer, Ending, ServiceCall } from './imagen-call.js';
import {
  defined,
  frameOf,
  labelsOf,
  outputOf,
  type PersonGeneration,
  type RequestParts,
  type SafetySetting,
} from './imagen-request.js';
import { finishRefusal, promptRefusal, type Refusal } from './imagen-safety.js';
import { fieldsOf, isObject } from './json-value.js';
import { vendorId } from './verdicts.js';

/** The request of a call: one picture. Inputs come before the words that say what to do with them. */
export function contentCall(parts: RequestParts): ServiceCall {
  const { call, resource, safetySetting } = parts;
  return {
    rpc: 'generateContent',
    routing: ['model', resource],
    request: {
      model: resource,
      contents: [{ role: 'user', parts: [...call.inputs.map(inputPart), { text: call.prompt }] }],
      generationConfig: { responseModalities: ['IMAGE'], imageConfig: imageConfigOf(parts) },
      safetySettings: safetySetting === undefined ? [] : safetySettings(safetySetting),
      labels: labelsOf(call),
    },
    count: 1,
    places: { picture: 'data', list: 'candidates', isProtoJson: true },
    elementOf: (candidate) => candidate,
    read: readContent,
  };
}

function inputPart({ bytes, type }: GenerateCall['inputs'][number]): object {
  return { inlineData: { mimeType: type, data: bytes } };
}

const PERSON_GENERATION = {
  dont_allow: 'ALLOW_NONE',
  allow_adult: 'ALLOW_ADULT',
  allow_all: 'ALLOW_ALL',
} as const satisfies Record<PersonGeneration, string>;

function imageConfigOf(parts: RequestParts): object {
  const { call, row, personGeneration } = parts;
  const frame = frameOf(parts);
  return defined({
    aspectRatio: frame?.aspectRatio,
    imageSize: row.takesImageSize ? frame?.imageSize : undefined,
    personGeneration: personGeneration && PERSON_GENERATION[personGeneration],
    imageOutputOptions: outputOf(call),
  });
}

const THRESHOLDS = {
  block_low_and_above: 'BLOCK_LOW_AND_ABOVE',
  block_medium_and_above: 'BLOCK_MEDIUM_AND_ABOVE',
  block_only_high: 'BLOCK_ONLY_HIGH',
  block_none: 'BLOCK_NONE',
} as const satisfies Record<SafetySetting, string>;

const HARM_CATEGORIES = [
  'HARM_CATEGORY_HATE_SPEECH',
  'HARM_CATEGORY_DANGEROUS_CONTENT',
  'HARM_CATEGORY_HARASSMENT',
  'HARM_CATEGORY_SEXUALLY_EXPLICIT',
] as const;

function safetySettings(setting: SafetySetting): readonly object[] {
  return HARM_CATEGORIES.map((category) => ({ category, threshold: THRESHOLDS[setting] }));
}

/**
 * Reads an answer, of which the first candidate counts. One that is neither a picture nor a refusal (cut off, say) ends
 * the call without either.
 */
async function* readContent(answer: Answer): AsyncGenerator<GenerateEvent, Ending, undefined> {
  let candidates = 0;
  let hasPicture = false;
  let refusal: Refusal | undefined;
  for await (const candidate of answer.elements) {
    candidates += 1;
    if (candidates > 1) continue;
    const picture = pictureIn(candidate, answer);
    hasPicture = picture !== undefined;
    if (picture !== undefined) yield { type: 'image', index: 0, ...picture };
    else refusal = finishRefusal(fieldsOf(candidate).finishReason);
  }
  const { promptFeedback, responseId, usageMetadata } = answer.rest();
  if (candidates === 0) refusal = feedbackRefusal(promptFeedback);
  if (refusal !== undefined) yield { type: 'blocked', index: 0, ...refusal };
  const usage = usageOf(usageMetadata);
  return {
    // A picture costs tokens: a report without them is none.
    usage: hasPicture && usage?.imageOut === 0 ? undefined : usage,
    upstreamId: vendorId(responseId),
  };
}

/** Why there is no candidate. */
function feedbackRefusal(promptFeedback: unknown): Refusal {
  if (isObject(promptFeedback)) return promptRefusal(promptFeedback.blockReason);
  throw new ProviderError('shape', "The provider's answer holds nothing.", { billed: 'unknown' });
}

/**
 * The first finished picture that can be read; what the model draws while it thinks is marked as a thought, and no
 * result. Throws `shape` where there is none but such as cannot be read.
 */
function pictureIn(
  candidate: unknown,
  { releaseOf }: Answer,
): Pick<ImageEvent, 'image' | 'release'> | undefined {
  const { parts } = fieldsOf(fieldsOf(candidate).content);
  let isUnreadable = false;
  for (const part of Array.isArray(parts) ? parts : []) {
    const { thought, inlineData } = fieldsOf(part);
    const { data: bytes, mimeType } = fieldsOf(inlineData);
    if (thought === true || bytes === undefined) continue;
    if (!(bytes instanceof Uint8Array)) {
      isUnreadable = true;
    } else if (bytes.byteLength > 0) {
      const type = typeof mimeType === 'string' ? mimeType : 'image/png';
      return { image: { bytes, type }, release: releaseOf(bytes) };
    }
  }
  if (!isUnreadable) return undefined;
  throw new ProviderError('shape', "The provider's answer holds a picture that cannot be read.", {
    billed: 'unknown',
  });
}

/** Tokens by kind. Where Google does not say what they were for, they count as the dearest kind. */
function usageOf(usageMetadata: unknown): TokenUsage | undefined {
  if (!isObject(usageMetadata)) return undefined;
  const input = count(usageMetadata.promptTokenCount);
  const output = count(usageMetadata.candidatesTokenCount);
  const imageIn = imagesIn(usageMetadata.promptTokensDetails) ?? 0;
  const imageOut = imagesIn(usageMetadata.candidatesTokensDetails) ?? output;
  return {
    textIn: Math.max(0, input - imageIn),
    imageIn,
    imageOut,
    textOut: Math.max(0, output - imageOut) + count(usageMetadata.thoughtsTokenCount),
  };
}

/** How Google calls pictures, over gRPC and over REST. */
const IMAGE: ReadonlySet<unknown> = new Set(['IMAGE', 2]);

/** The tokens of pictures; `undefined` when there is no account by modality. */
function imagesIn(details: unknown): number | undefined {
  if (!Array.isArray(details) || details.length === 0) return undefined;
  const images = details.map(fieldsOf).filter(({ modality }) => IMAGE.has(modality));
  return images.reduce((sum, { tokenCount }) => sum + count(tokenCount), 0);
}

/**
 * ProtoJSON leaves out what is 0, and may write a number as text. What is none becomes NaN, which nobody mistakes for
 * one.
 */
function count(value: unknown): number {
  if (value === undefined || value === null) return 0;
  return typeof value === 'number' || typeof value === 'string' ? Number(value) : Number.NaN;
}

/** Gemini's image models: `generateContent`, which answers with one picture, an excuse, or a reason. */
import type { BlockedEvent, GenerateCall, GenerateEvent, ImageEvent, TokenUsage } from '../core/provider.js';
import { ProviderError } from '../errors.js';
import {
  defined,
  frameOf,
  labelsOf,
  outputOf,
  type PersonGeneration,
  type RequestParts,
  type SafetySetting,
} from './imagen-request.js';
import { finishRefusal, promptRefusal } from './imagen-safety.js';
import type { Answer, Ending, ServiceCall } from './imagen-transport.js';
import { fieldsOf, isObject } from './json-value.js';

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
    places: { picture: 'data', list: 'candidates', isProtoJson: true },
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

/** Reads an answer. One that is neither a picture nor a refusal (cut off, say) ends the call without either. */
function* readContent(answer: Answer): Generator<GenerateEvent, Ending, undefined> {
  const { candidates, promptFeedback, responseId, usageMetadata } = fieldsOf(answer.message);
  const candidate: unknown = Array.isArray(candidates) ? candidates[0] : undefined;
  if (candidate === undefined && !isObject(promptFeedback)) {
    throw new ProviderError('shape', "The provider's answer holds nothing.", { billed: 'unknown' });
  }
  const picture = pictureIn(candidate, answer);
  if (picture !== undefined) yield { type: 'image', index: 0, ...picture };
  else {
    const blocked = refusalOf(candidate, promptFeedback);
    if (blocked !== undefined) yield { type: 'blocked', index: 0, ...blocked };
  }
  const usage = usageOf(usageMetadata);
  return {
    // A picture costs tokens: a report without them is none.
    usage: picture !== undefined && usage?.imageOut === 0 ? undefined : usage,
    upstreamId:
      typeof responseId === 'string' && /^[\w.:-]{1,128}$/.test(responseId) ? responseId : undefined,
  };
}

/**
 * The first finished picture that can be read; what the model draws while it thinks is marked as a thought, and no
 * result. Throws `shape` where there is none but such as cannot be read.
 */
function pictureIn(candidate: unknown, answer: Answer): Pick<ImageEvent, 'image' | 'release'> | undefined {
  const { parts } = fieldsOf(fieldsOf(candidate).content);
  let isUnreadable = false;
  for (const part of Array.isArray(parts) ? parts : []) {
    const { thought, inlineData } = fieldsOf(part);
    const { data, mimeType } = fieldsOf(inlineData);
    if (thought === true || !(data instanceof Uint8Array) || data.length === 0) continue;
    const { bytes, release } = answer.picture(data) ?? {};
    if (bytes?.byteLength === 0) continue;
    if (bytes !== undefined) {
      return { image: { bytes, type: typeof mimeType === 'string' ? mimeType : 'image/png' }, release };
    }
    isUnreadable = true;
  }
  if (!isUnreadable) return undefined;
  throw new ProviderError('shape', "The provider's answer holds a picture that cannot be read.", {
    billed: 'unknown',
  });
}

function refusalOf(
  candidate: unknown,
  promptFeedback: unknown,
): Pick<BlockedEvent, 'reason' | 'stage'> | undefined {
  if (candidate === undefined) return promptRefusal(fieldsOf(promptFeedback).blockReason);
  return finishRefusal(fieldsOf(candidate).finishReason);
}

/** Tokens by kind. Where Google does not say what they were for, they count as the dearest kind. */
function usageOf(usageMetadata: unknown): TokenUsage | undefined {
  if (!isObject(usageMetadata)) return undefined;
  const input = count(usageMetadata.promptTokenCount);
  const output = count(usageMetadata.candidatesTokenCount);
  const imageIn = countOf('IMAGE', usageMetadata.promptTokensDetails) ?? 0;
  const imageOut = countOf('IMAGE', usageMetadata.candidatesTokensDetails) ?? output;
  return {
    textIn: Math.max(0, input - imageIn),
    imageIn,
    imageOut,
    textOut: Math.max(0, output - imageOut) + count(usageMetadata.thoughtsTokenCount ?? 0),
  };
}

/** The tokens of one modality; `undefined` when there is no account by modality. */
function countOf(modality: string, details: unknown): number | undefined {
  if (!Array.isArray(details) || details.length === 0) return undefined;
  const counted = details.map(fieldsOf).filter((detail) => detail.modality === modality);
  return counted.reduce((sum, { tokenCount }) => sum + count(tokenCount), 0);
}

/** What is no number becomes NaN, which nobody mistakes for one. */
function count(value: unknown): number {
  return typeof value === 'number' ? value : Number.NaN;
}

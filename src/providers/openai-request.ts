/** From a call to the body OpenAI's Images API takes. */
import type { GenerateCall } from '../core/provider.js';
import { ProviderError } from '../errors.js';
import type { OpenAIModel, RequestField } from './openai-models.js';

/** How strictly GPT Image models are moderated. `low` is the less restrictive one. */
export type Moderation = 'auto' | 'low';

/** What the body is made from. */
export interface RequestParts {
  /** What is wanted. */
  readonly call: GenerateCall;
  /** The row of the call's model. */
  readonly row: OpenAIModel;
  /** The host's setting, which `metadata.moderation` overrides where the host allows that key. */
  readonly moderation: Moderation | undefined;
}

/** The body of a request, exactly as it goes out; fields that are `undefined` are left out by JSON. */
export type RequestBody = Readonly<Record<string, string | number | undefined>>;

/**
 * Makes the body: what every model takes, and of the rest what this one takes. The Images API has no seed, no
 * negative prompt and no labels, so those stay here. Throws `rejected` for a moderation nobody knows.
 */
export function requestBody({ call, row, moderation }: RequestParts): RequestBody {
  const compressible = call.outputFormat === 'jpeg' || call.outputFormat === 'webp';
  const fields: Readonly<Record<RequestField, string | number | undefined>> = {
    quality: call.quality,
    style: call.style,
    // URLs of OpenAI's would have to be fetched from wherever the answer says: never asked for.
    response_format: 'b64_json',
    background: call.background,
    output_format: call.outputFormat,
    output_compression: compressible ? call.outputCompression : undefined,
    moderation: moderationOf(call) ?? moderation,
    user: call.endUser,
  };
  const taken = row.takes.map((field) => [field, fields[field]] as const);
  return {
    model: row.model.upstreamId,
    prompt: call.prompt,
    n: call.n,
    size: sizeOf(call),
    ...Object.fromEntries(taken),
  };
}

function sizeOf({ size, model }: GenerateCall): string | undefined {
  if (size !== 'auto') return `${size.width}x${size.height}`;
  // DALL·E does not know the word and draws its default without it.
  return model.sizes.default === 'auto' ? 'auto' : undefined;
}

function moderationOf({ metadata }: GenerateCall): Moderation | undefined {
  const { moderation } = metadata;
  if (moderation === undefined || moderation === 'auto' || moderation === 'low') return moderation;
  const message = 'must be "auto" or "low"';
  throw new ProviderError('rejected', `metadata.moderation ${message}.`, {
    billed: 'no',
    details: [{ field: 'metadata.moderation', message }],
  });
}

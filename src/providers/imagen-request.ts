/** What both methods of Google's service are made from. */
import type { GenerateCall } from '../core/provider.js';
import { ProviderError } from '../errors.js';
import type { GoogleModel } from './imagen-models.js';
import { type Frame, frameFor } from './imagen-sizes.js';

/** Whom pictures may show. `allow_all`, children included, is for projects Google has approved. */
export type PersonGeneration = 'dont_allow' | 'allow_adult' | 'allow_all';

/** What is filtered for safety, from most to least. `block_none` is for projects Google has approved. */
export type SafetySetting =
  | 'block_low_and_above'
  | 'block_medium_and_above'
  | 'block_only_high'
  | 'block_none';

/** What a request is made from. */
export interface RequestParts {
  /** What is wanted. */
  readonly call: GenerateCall;
  /** The row of the call's model. */
  readonly row: GoogleModel;
  /** The model's resource name. */
  readonly resource: string;
  /** The host's setting; `undefined` leaves it to Google. */
  readonly personGeneration: PersonGeneration | undefined;
  /** The host's setting; `undefined` leaves it to Google. */
  readonly safetySetting: SafetySetting | undefined;
}

/**
 * What to ask for to get the call's size; `undefined` where Google chooses. Throws `rejected` for a size the model
 * does not declare.
 */
export function frameOf({ call, row }: RequestParts): Frame | undefined {
  if (call.size === 'auto') return undefined;
  const frame = frameFor(call.size, row.frames);
  if (frame !== undefined) return frame;
  throw new ProviderError('rejected', 'The model does not draw this size.', { billed: 'no' });
}

/** How the picture is to be encoded; `undefined` where Google chooses. */
export function outputOf({ outputFormat, outputCompression }: GenerateCall): object | undefined {
  if (outputFormat === undefined) return undefined;
  const compressionQuality = outputFormat === 'jpeg' ? outputCompression : undefined;
  return defined({ mimeType: `image/${outputFormat}`, compressionQuality });
}

/**
 * The call's metadata as labels, which end up in Google's billing export. What is no label by Google's grammar stays
 * here: it would fail the call.
 */
export function labelsOf({ metadata }: GenerateCall): Readonly<Record<string, string>> {
  const labels = Object.entries(metadata).map(([name, value]) => [name, String(value)] as const);
  return Object.fromEntries(
    labels.filter(
      ([name, value]) => /^[a-z][a-z0-9_-]{0,62}$/.test(name) && /^[a-z0-9_-]{0,63}$/.test(value),
    ),
  );
}

/** An object without the fields that are `undefined`: the SDK turns those into something else. */
export function defined<T extends object>(fields: T): { [Field in keyof T]: Exclude<T[Field], undefined> } {
  const entries = Object.entries(fields).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [Field in keyof T]: Exclude<T[Field], undefined> };
}

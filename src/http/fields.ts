/** From a validated body to the request the use case takes. */
import type { ImageFormat, Metadata, Operation } from '../core/image.js';
import type { ImageRequest, Warning } from '../core/request.js';
import { parseSize } from '../core/sizes.js';

/** A body that passed its schema. */
export type Fields = Readonly<Record<string, unknown>>;

/** The body without its nulls: clients send `null` for what they leave out. */
export function withoutNulls(body: unknown): unknown {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) return body;
  return Object.fromEntries(Object.entries(body).filter(([, value]) => value !== null));
}

const MAX_NAMED = 16;

/** A warning for every field nobody knows. */
export function unknownFields(fields: Fields, known: Readonly<Record<string, unknown>>): readonly Warning[] {
  return Object.keys(fields)
    .filter((field) => !Object.hasOwn(known, field) && /^[\w.-]{1,64}$/.test(field))
    .slice(0, MAX_NAMED)
    .map((field) => ({ field, message: 'This field is not known here and was ignored.' }));
}

function metadataOf(value: unknown): Metadata {
  // Without a prototype, so that a key named __proto__ is a key like any other.
  const metadata: Record<string, string | number | boolean> = Object.create(null);
  for (const [key, item] of Object.entries((value ?? {}) as Metadata)) metadata[key] = item;
  return metadata;
}

/** The request a body stands for; pictures to edit are added by whoever read them. */
export function imageRequest(fields: Fields, operation: Operation): ImageRequest {
  const text = (field: string) => fields[field] as string | undefined;
  // JSON has a negative zero; adding zero makes it an ordinary one.
  const whole = (field: string) => (fields[field] === undefined ? undefined : (fields[field] as number) + 0);
  const size = text('size');
  return {
    operation,
    model: fields.model as string,
    prompt: fields.prompt as string,
    n: whole('n') ?? 1,
    size: size === undefined || size === 'auto' ? size : parseSize(size),
    quality: text('quality'),
    style: text('style'),
    background: text('background'),
    outputFormat: text('output_format') as ImageFormat | undefined,
    outputCompression: whole('output_compression'),
    seed: whole('seed'),
    negativePrompt: text('negative_prompt'),
    inputs: [],
    mask: undefined,
    previews: fields.stream === true ? (whole('partial_images') ?? 0) : 0,
    endUser: text('safety_identifier') ?? text('user'),
    metadata: metadataOf(fields.metadata),
  };
}

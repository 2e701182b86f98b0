/** From a call to the body OpenAI's Images API takes. */
import type { EncodedImage } from '../core/image.js';
import type { GenerateCall } from '../core/provider.js';
import { ProviderError } from '../errors.js';
import { type FormFile, type MultipartBody, multipartBody } from './multipart.js';
import type { OpenAIModel, RequestField } from './openai-model-row.js';

/** How strictly GPT Image models are moderated. `low` is the less restrictive one. */
export type Moderation = 'auto' | 'low';

/** How closely an edit keeps to the style and the faces of its input pictures. `high` takes more tokens. */
export type InputFidelity = 'low' | 'high';

/** Settings clients may choose by the `metadata` key of the same name. */
export interface AllowedSettings {
  /** How strictly pictures drawn from words are moderated. @defaultValue clients cannot choose */
  readonly moderation?: readonly Moderation[] | undefined;
  /** How closely edits keep to their inputs. @defaultValue clients cannot choose */
  readonly input_fidelity?: readonly InputFidelity[] | undefined;
}

/** The legal values of what clients may be allowed to choose. */
export const STEERING: { readonly [Key in keyof AllowedSettings]-?: readonly string[] } = {
  moderation: ['auto', 'low'],
  input_fidelity: ['low', 'high'],
};

/** What the host sets for all requests, and what it lets clients choose instead. */
export interface HostSettings {
  /** For pictures drawn from words. */
  readonly moderation?: Moderation | undefined;
  /** For edits. */
  readonly inputFidelity?: InputFidelity | undefined;
  /** What clients may choose. */
  readonly allow?: AllowedSettings | undefined;
}

/** What the body is made from. */
export interface RequestParts {
  /** What is wanted. */
  readonly call: GenerateCall;
  /** The row of the call's model. */
  readonly row: OpenAIModel;
  /** The host's settings. */
  readonly settings: HostSettings;
}

/** The fields of a request, exactly as they go out; those that are `undefined` do not. */
export type RequestFields = Readonly<Record<string, string | number | boolean | undefined>>;

/**
 * Makes the fields: what every model takes, and of the rest what this one takes. The Images API has no seed, no
 * negative prompt and no labels, so those stay here. Throws `rejected` for a value in `metadata` that is not allowed.
 */
export function requestFields(parts: RequestParts): RequestFields {
  const { call, row } = parts;
  const taken = row.takes.map((field) => [field, FIELDS[field](parts)] as const);
  return {
    model: row.model.upstreamId,
    prompt: call.prompt,
    n: call.n,
    size: sizeOf(call),
    ...Object.fromEntries(taken),
    ...(call.previews > 0 && { stream: true, partial_images: call.previews }),
  };
}

/** Makes the form of an edit: the same fields, the pictures in order, and the mask of the first of them. */
export function editForm(parts: RequestParts): MultipartBody {
  const { inputs, mask, model } = parts.call;
  // DALL·E 2 knows no list of pictures.
  const field = model.maxInputs === 1 ? 'image' : 'image[]';
  const files = inputs.map((image, index) => formFile({ field, name: `image-${index + 1}`, image }));
  if (mask !== undefined) files.push(formFile({ field: 'mask', name: 'mask', image: mask }));
  return multipartBody(requestFields(parts), files);
}

function formFile(file: { field: string; name: string; image: EncodedImage }): FormFile {
  const { field, name, image } = file;
  // A type is a claim, and must not bring line ends into a form.
  const [type, format] = /^image\/(png|jpeg|webp)$/.exec(image.type) ?? ['application/octet-stream', 'bin'];
  return { field, name: `${name}.${format}`, type, bytes: image.bytes };
}

type Field = (parts: RequestParts) => string | number | undefined;

const FIELDS: Readonly<Record<RequestField, Field>> = {
  quality: ({ call }) => call.quality,
  style: ({ call }) => call.style,
  // URLs of OpenAI's would have to be fetched from wherever the answer says: never asked for.
  response_format: () => 'b64_json',
  background: ({ call }) => call.background,
  output_format: ({ call }) => call.outputFormat,
  output_compression({ call }) {
    const compressible = call.outputFormat === 'jpeg' || call.outputFormat === 'webp';
    return compressible ? call.outputCompression : undefined;
  },
  moderation({ call, settings }) {
    if (call.operation !== 'generate') return undefined;
    return steered(call, 'moderation', settings) ?? settings.moderation;
  },
  input_fidelity({ call, settings }) {
    if (call.operation !== 'edit') return undefined;
    return steered(call, 'input_fidelity', settings) ?? settings.inputFidelity;
  },
  user: ({ call }) => call.endUser,
};

function sizeOf({ size, model }: GenerateCall): string | undefined {
  if (size !== 'auto') return `${size.width}x${size.height}`;
  // DALL·E does not know the word and draws its default without it.
  return model.sizes.default === 'auto' ? 'auto' : undefined;
}

/** What the client's `metadata` says of a setting that the host lets it choose. */
function steered(
  { metadata, model }: GenerateCall,
  key: keyof AllowedSettings,
  { allow = {} }: HostSettings,
): string | undefined {
  const value = metadata[key];
  const allowed: readonly string[] = allow[key] ?? [];
  if (value === undefined || allowed.length === 0 || !model.metadataKeys.includes(key)) return undefined;
  const known = allowed.find((each) => each === value);
  if (known !== undefined) return known;
  const message = `must be "${allowed.join('" or "')}"`;
  throw new ProviderError('rejected', `metadata.${key} ${message}.`, {
    billed: 'no',
    details: [{ field: `metadata.${key}`, message }],
  });
}

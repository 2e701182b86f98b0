/** The JSON Schemas of request bodies. They validate, and the OpenAPI document is made of them. */
import { Ajv, type ErrorObject, type ValidateFunction } from 'ajv';
import { invalid } from '../core/validation.js';
import type { ErrorDetail } from '../errors.js';

/** A JSON Schema. `description` ends in what is expected, because error messages quote it. */
export interface Schema {
  /** JSON type. */
  readonly type?: string | readonly string[];
  /** What the value is: completes "expected …". */
  readonly description?: string;
  /** Everything else JSON Schema knows. */
  readonly [keyword: string]: unknown;
}

// Neither NUL nor lone surrogates: storage, logs and vendors choke on them.
const TEXT = '^[^\\u0000\\p{Cs}]*$';
// No control characters either: these travel in headers.
const TOKEN = '^[^\\p{Cc}\\p{Cs}]*$';

function token(maxLength: number, description: string): Schema {
  return { type: 'string', minLength: 1, maxLength, pattern: TOKEN, description };
}

/** Fields of a generate body. */
export const generateProperties: Readonly<Record<string, Schema>> = {
  model: token(256, 'a model slug such as openai/gpt-image-2'),
  prompt: {
    type: 'string',
    minLength: 1,
    pattern: TEXT,
    description: 'well-formed text of at least one character, without NUL',
  },
  n: {
    type: 'integer',
    minimum: 1,
    maximum: 10,
    default: 1,
    description: 'a whole number of pictures from 1 to 10',
  },
  size: {
    type: 'string',
    pattern: '^(auto|[1-9][0-9]{0,4}x[1-9][0-9]{0,4})$',
    description: 'a size as WxH in pixels such as 1024x1024, or auto',
  },
  quality: token(64, 'one of the model’s qualities'),
  style: token(64, 'one of the model’s styles'),
  response_format: { type: 'string', enum: ['url', 'b64_json'], description: 'url or b64_json' },
  metadata: {
    type: 'object',
    maxProperties: 16,
    propertyNames: {
      type: 'string',
      maxLength: 64,
      pattern: TOKEN,
      description: 'only keys of at most 64 characters, without control characters',
    },
    additionalProperties: {
      type: ['string', 'number', 'boolean'],
      maxLength: 512,
      pattern: TOKEN,
      description: 'only strings, numbers or booleans of at most 512 characters, without control characters',
    },
    description: 'a flat object of at most 16 strings, numbers or booleans of at most 512 characters',
  },
  output_format: {
    type: 'string',
    enum: ['png', 'jpeg', 'webp', 'avif'],
    description: 'png, jpeg, webp or avif',
  },
  output_compression: {
    type: 'integer',
    minimum: 0,
    maximum: 100,
    description: 'a whole number from 0 to 100',
  },
  background: {
    type: 'string',
    enum: ['transparent', 'opaque', 'auto'],
    description: 'transparent, opaque or auto',
  },
  seed: {
    type: 'integer',
    minimum: 0,
    maximum: 4294967295,
    description: 'a whole number from 0 to 4294967295',
  },
  negative_prompt: {
    type: 'string',
    minLength: 1,
    maxLength: 32000,
    pattern: TEXT,
    description: 'well-formed text of 1 to 32000 characters, without NUL',
  },
  user: token(512, 'an opaque id of at most 512 characters'),
  safety_identifier: token(512, 'an opaque id of at most 512 characters'),
  stream: { type: 'boolean', default: false, description: 'true or false' },
  partial_images: { type: 'integer', minimum: 0, maximum: 3, description: 'a whole number from 0 to 3' },
};

/** The body of a generate request on both surfaces. */
export const generateSchema: Schema = {
  type: 'object',
  required: ['model', 'prompt'],
  properties: generateProperties,
};

const dataUrl: Schema = {
  oneOf: [
    { type: 'string' },
    { type: 'object', required: ['image_url'], properties: { image_url: { type: 'string' } } },
  ],
  description: 'a picture as a data URL',
};

/** Fields of an edit body, pictures included. */
export const editProperties: Readonly<Record<string, Schema>> = {
  ...generateProperties,
  images: {
    type: 'array',
    minItems: 1,
    maxItems: 16,
    items: dataUrl,
    description: '1 to 16 pictures as data URLs',
  },
  mask: dataUrl,
};

/** The body of an edit request in JSON. */
export const editSchema: Schema = {
  type: 'object',
  required: ['model', 'prompt', 'images'],
  properties: editProperties,
};

/** The fields of an edit request in a form, whose pictures are files. */
export const formSchema: Schema = {
  type: 'object',
  required: ['model', 'prompt'],
  properties: generateProperties,
};

/** Checks a body and throws `VALIDATION_ERROR` with all its faults. */
export type Validate = (body: unknown) => asserts body is Readonly<Record<string, unknown>>;

/** Makes a checker of a schema. Compiling costs milliseconds, so make it once. */
export function createValidator(schema: Schema): Validate {
  const ajv = new Ajv({ allErrors: true, verbose: true, allowUnionTypes: true, strictTypes: false });
  const check: ValidateFunction = ajv.compile(schema);
  return (body) => {
    if (!check(body)) throw invalid(detailsOf(check.errors ?? []));
  };
}

/** One detail for each field, in the words of its description. */
function detailsOf(errors: readonly ErrorObject[]): readonly ErrorDetail[] {
  const details = new Map<string, string>();
  for (const error of errors) {
    // What each of several shapes would want is said by the description of all of them.
    if (error.schemaPath.includes('/oneOf/')) continue;
    const field = fieldOf(error);
    if (!details.has(field)) details.set(field, messageOf(error));
  }
  return [...details].map(([field, message]) => ({ field, message }));
}

/** Where a fault is: `size`, `metadata.steps`, `images[1]`. */
function fieldOf({ instancePath, keyword, params }: ErrorObject): string {
  const path = instancePath.split('/').slice(1);
  if (keyword === 'required') path.push(String(params.missingProperty));
  // Below the fields of our own schema keys are the client's text, repeated only where they are plain words.
  const odd = path.findIndex((step) => !/^[A-Za-z0-9_-]{1,64}$/.test(step) || step.startsWith('__'));
  const [field, ...steps] = odd === -1 ? path : path.slice(0, odd);
  return (field ?? 'body') + steps.map((step) => (/^\d+$/.test(step) ? `[${step}]` : `.${step}`)).join('');
}

function messageOf({ keyword, parentSchema, schema }: ErrorObject): string {
  if (keyword === 'required') return 'is required';
  const description = (parentSchema as Schema | undefined)?.description;
  if (description !== undefined) return `expected ${description}`;
  return keyword === 'type' ? `expected an ${String(schema)}` : 'is not valid';
}

/** Reading edit bodies: a form or JSON with data URLs become one and the same request. */
import { decodeBase64 } from '../core/base64.js';
import type { EncodedImage } from '../core/image.js';
import type { CheckedInput, CheckInput } from '../core/picture.js';
import type { Warning } from '../core/request.js';
import { invalid } from '../core/validation.js';
import type { ErrorDetail } from '../errors.js';
import type { Exchange } from './exchange.js';
import { type Fields, imageRequest, unknownFields, withoutNulls } from './fields.js';
import type { Intake } from './intake.js';
import { type FormFile, isMultipart, type MultipartForm, readMultipart } from './multipart.js';
import type { OperationReader } from './operation.js';
import {
  createValidator,
  editProperties,
  editSchema,
  formSchema,
  generateProperties,
  type Schema,
  type Validate,
} from './schema.js';

/** What reading edits takes. */
export interface EditOptions {
  /** The steps before. */
  readonly intake: Intake;
  /** Bytes of a body. */
  readonly editBytes: number;
  /** Checks pictures a client sends. */
  readonly checkInput: CheckInput;
}

const MAX_IMAGES = 16;
const MAX_FIELDS = 32;
/** Fields of a form that are files. */
const PICTURE_FIELDS: readonly string[] = ['image', 'image[]', 'mask'];

interface Picture {
  /** Where the client put it. */
  readonly field: string;
  readonly bytes: Uint8Array;
}

interface EditBody {
  readonly fields: Fields;
  readonly images: readonly Picture[];
  readonly mask: Picture | undefined;
  readonly warnings: readonly Warning[];
}

/** Makes the reader of edit bodies. */
export function editReader({ intake, editBytes, checkInput }: EditOptions): OperationReader {
  const validateJson: Validate = createValidator(editSchema);
  const validateForm: Validate = createValidator(formSchema);

  async function readForm({ req }: Exchange): Promise<EditBody> {
    const limits = { bytes: editBytes, files: MAX_IMAGES + 1, fields: MAX_FIELDS };
    const form = await readMultipart(req, limits);
    const fields = withoutNulls(typedFields(form));
    validateForm(fields);
    const texts = PICTURE_FIELDS.filter((field) => form.fields.has(field));
    if (texts.length > 0) throw invalid(texts.map((field) => ({ field, message: 'expected a file' })));
    const named = (...names: readonly string[]) => form.files.filter(({ field }) => names.includes(field));
    const [mask, ...masks] = named('mask');
    if (masks.length > 0) throw invalid([{ field: 'mask', message: 'expected one mask' }]);
    const others = form.files.filter(({ field }) => !PICTURE_FIELDS.includes(field));
    const names = { ...fields, ...Object.fromEntries(others.map(({ field }) => [field, true])) };
    const warnings = unknownFields(names, generateProperties);
    return { fields, images: placed(named('image', 'image[]')), mask, warnings };
  }

  async function readJson(exchange: Exchange): Promise<EditBody> {
    const fields = await intake.fields(exchange, validateJson, editBytes);
    const images = (fields.images as readonly unknown[]).map((value, place) => {
      return fromDataUrl(value, `images[${place}]`);
    });
    const mask = fields.mask === undefined ? undefined : fromDataUrl(fields.mask, 'mask');
    return { fields, images, mask, warnings: unknownFields(fields, editProperties) };
  }

  async function checked(picture: Picture): Promise<CheckedInput | ErrorDetail> {
    const result = await checkInput(picture.bytes);
    return 'fault' in result ? { field: picture.field, message: result.fault } : result;
  }

  async function checkAll({
    images,
    mask,
  }: EditBody): Promise<{ inputs: EncodedImage[]; mask?: EncodedImage }> {
    if (images.length === 0 || images.length > MAX_IMAGES) {
      throw invalid([
        { field: 'image', message: `expected 1 to ${MAX_IMAGES} pictures, got ${images.length}` },
      ]);
    }
    const results = await Promise.all([...images, ...(mask === undefined ? [] : [mask])].map(checked));
    const faults = results.filter((result): result is ErrorDetail => 'message' in result);
    if (faults.length > 0) throw invalid(faults);
    const pictures = results.filter((result): result is CheckedInput => 'size' in result);
    const inputs = pictures.map(({ bytes, type }): EncodedImage => ({ bytes, type }));
    if (mask === undefined) return { inputs };
    checkMask(pictures[0], pictures.at(-1));
    const last = inputs.pop();
    return { inputs, ...(last !== undefined && { mask: last }) };
  }

  return {
    eventPrefix: 'image_edit',
    async read(exchange) {
      const body = isMultipart(exchange.req) ? await readForm(exchange) : await readJson(exchange);
      const pictures = await checkAll(body);
      const request = { ...imageRequest(body.fields, 'edit'), ...pictures };
      return { fields: body.fields, request, warnings: body.warnings };
    },
  };
}

function checkMask(image: CheckedInput | undefined, mask: CheckedInput | undefined): void {
  if (image === undefined || mask === undefined) return;
  const { width, height } = image.size;
  if (mask.size.width === width && mask.size.height === height) return;
  throw invalid([{ field: 'mask', message: `expected the pixels of the first picture, ${width}x${height}` }]);
}

function placed(files: readonly FormFile[]): readonly Picture[] {
  return files.map(({ bytes }, place) => ({
    field: files.length === 1 ? 'image' : `image[${place}]`,
    bytes,
  }));
}

/**
 * A form knows only text; the schema says which fields are more. What does not read as such stays text and is refused.
 */
function typedFields({ fields }: MultipartForm): unknown {
  return Object.fromEntries(
    [...fields].map(([name, text]) => [name, typedField(generateProperties[name], text)]),
  );
}

function typedField(schema: Schema | undefined, text: string): unknown {
  if (schema?.type === 'integer') return /^-?\d{1,15}$/.test(text) ? Number(text) : text;
  if (schema?.type === 'boolean') return text === 'true' ? true : text === 'false' ? false : text;
  if (schema?.type !== 'object') return text;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

const DATA_URL = /^data:image\/(?:png|jpeg|webp|avif);base64,/;

function fromDataUrl(value: unknown, field: string): Picture {
  // OpenAI's JSON wraps them: { image_url }.
  const url = typeof value === 'string' ? value : (value as { readonly image_url: string }).image_url;
  const head = DATA_URL.exec(url.slice(0, 64))?.[0];
  const bytes = head === undefined ? undefined : decodeBase64(url.slice(head.length));
  if (bytes === undefined) {
    throw invalid([{ field, message: 'expected a data URL: data:image/png;base64,… (or jpeg, webp, avif)' }]);
  }
  return { field, bytes };
}

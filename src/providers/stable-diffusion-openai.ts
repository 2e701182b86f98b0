/** `/v1/images` of servers that speak OpenAI's protocol with diffusion extras: LocalAI, vLLM-Omni, SGLang. */
import type { GenerateCall, ImageEvent } from '../core/provider.js';
import { fieldsOf } from './json-value.js';
import { type FormFile, type MultipartBody, multipartBody } from './multipart.js';
import { readList } from './stable-diffusion-answer.js';
import type { Draw, DrawingOrder } from './stable-diffusion-drawing.js';
import { shapeError } from './stable-diffusion-errors.js';
import { portable, readPicture } from './stable-diffusion-pictures.js';
import { openaiSettings } from './stable-diffusion-settings.js';

/** Draws by generations, or by edits when there is something to edit. */
export const drawByOpenAI: Draw = async (order) => {
  const { call, server } = order;
  const response =
    call.operation === 'edit'
      ? await server.draw('/v1/images/edits', { form: await editForm(order) })
      : await server.draw('/v1/images/generations', { json: requestFields(order) });
  return readDrawing(response, order);
};

type RequestFields = Readonly<Record<string, string | number | undefined>>;

function requestFields({ call, seed, settings, checkpoint }: DrawingOrder): RequestFields {
  return {
    model: checkpoint,
    prompt: call.prompt,
    negative_prompt: call.negativePrompt,
    n: call.n,
    size: sizeOf(call),
    seed,
    // URLs would have to be fetched from wherever the answer says: never asked for.
    response_format: 'b64_json',
    ...openaiSettings(settings),
  };
}

function sizeOf({ size }: GenerateCall): string | undefined {
  return size === 'auto' ? undefined : `${size.width}x${size.height}`;
}

async function editForm(order: DrawingOrder): Promise<MultipartBody> {
  const { inputs, mask, signal } = order.call;
  const files: FormFile[] = [];
  for (const input of inputs) {
    const { bytes, type } = await portable(input, signal);
    files.push({ field: 'image', name: `image.${type.slice('image/'.length)}`, type, bytes });
  }
  // As OpenAI has it, which is as ours: transparent pixels change.
  if (mask !== undefined)
    files.push({ field: 'mask', name: 'mask.png', type: 'image/png', bytes: mask.bytes });
  return multipartBody(requestFields(order), files);
}

/** Pictures that are missing do not arrive, and those beyond what was asked for are dropped. */
async function* readDrawing(response: Response, { call, seed }: DrawingOrder): AsyncGenerator<ImageEvent> {
  let index = -1;
  let isUnreadable = false;
  for await (const item of readList(response, { list: 'data', picture: 'b64_json' })) {
    index += 1;
    if (index >= call.n) continue;
    const { b64_json: bytes, revised_prompt: revised } = fieldsOf(item);
    const picture = readPicture(bytes);
    if (picture === undefined) {
      isUnreadable = true;
      continue;
    }
    const revisedPrompt = typeof revised === 'string' ? revised : undefined;
    // Such servers do not tell the seed they took; it is the one they were given.
    yield { type: 'image', index, ...picture, revisedPrompt, seed: seed + index };
  }
  if (isUnreadable) throw shapeError('holds a picture that cannot be read');
}

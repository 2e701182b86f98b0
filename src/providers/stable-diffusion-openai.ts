/** `/v1/images` of servers that speak OpenAI's protocol with diffusion extras: LocalAI, vLLM-Omni, SGLang. */
import type { GenerateCall, ImageEvent } from '../core/provider.js';
import { type FormFile, type MultipartBody, multipartBody } from './multipart.js';
import type { Draw, Drawing, DrawingOrder } from './stable-diffusion-drawing.js';
import { shapeError } from './stable-diffusion-errors.js';
import { isObject } from './stable-diffusion-json.js';
import { portable, readPicture } from './stable-diffusion-pictures.js';
import { openaiSettings } from './stable-diffusion-settings.js';

/** Draws by generations, or by edits when there is something to edit. */
export const drawByOpenAI: Draw = async (order) => {
  const { call, server } = order;
  const answer =
    call.operation === 'edit'
      ? await server.draw('/v1/images/edits', { form: await editForm(order) }, 'b64_json')
      : await server.draw('/v1/images/generations', { json: requestFields(order) }, 'b64_json');
  return readDrawing(answer, order);
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

function readDrawing(answer: unknown, { call, seed }: DrawingOrder): Drawing {
  if (!isObject(answer) || !Array.isArray(answer.data)) throw shapeError('is not a list of pictures');
  const items: readonly unknown[] = answer.data.slice(0, call.n);
  const events = items.flatMap((item, index): ImageEvent[] => {
    if (!isObject(item)) return [];
    const image = readPicture(item.b64_json);
    const revisedPrompt = typeof item.revised_prompt === 'string' ? item.revised_prompt : undefined;
    // Such servers do not tell the seed they took; it is the one they were given.
    return image === undefined ? [] : [{ type: 'image', index, image, revisedPrompt, seed: seed + index }];
  });
  return { events, unreadable: items.length - events.length };
}

/** `/sdapi/v1`: AUTOMATIC1111, Forge, SD.Next, KoboldCpp, and stable-diffusion.cpp's sd-server. */
import type { GenerateCall, ImageEvent } from '../core/provider.js';
import { fieldsOf, isObject, parseJson } from './json-value.js';
import { readWhole } from './stable-diffusion-answer.js';
import type { Draw, DrawingOrder } from './stable-diffusion-drawing.js';
import { shapeError } from './stable-diffusion-errors.js';
import { portable, readPicture, whiteOnBlack } from './stable-diffusion-pictures.js';

/** Draws by txt2img, or by img2img when there is something to edit. */
export const drawBySdapi: Draw = async (order) => {
  const { call, server } = order;
  const path = call.operation === 'edit' ? '/sdapi/v1/img2img' : '/sdapi/v1/txt2img';
  return readDrawing(await server.draw(path, { json: await requestBody(order) }), order);
};

async function requestBody({ call, seed, settings, checkpoint }: DrawingOrder): Promise<object> {
  const { denoising_strength: strength, ...always } = settings;
  return {
    prompt: call.prompt,
    negative_prompt: call.negativePrompt,
    ...(call.size === 'auto' ? {} : call.size),
    ...always,
    seed,
    // Not `n_iter`, which sd-server does not know.
    batch_size: call.n,
    n_iter: 1,
    send_images: true,
    save_images: false,
    ...(checkpoint !== undefined && { override_settings: { sd_model_checkpoint: checkpoint } }),
    ...(call.operation === 'edit' && { denoising_strength: strength, ...(await editFields(call)) }),
  };
}

async function editFields({ inputs, mask, signal }: GenerateCall): Promise<object> {
  const images = await Promise.all(inputs.map((input) => portable(input, signal)));
  const fields = {
    init_images: images.map(({ bytes }) => Buffer.from(bytes).toString('base64')),
    // Cut to the size asked for; the default squeezes.
    resize_mode: 1,
  };
  if (mask === undefined) return fields;
  const { bytes } = await whiteOnBlack(mask, signal);
  // The prompt describes the whole picture, so the whole is looked at and not only what the mask shows.
  return { ...fields, mask: Buffer.from(bytes).toString('base64'), inpaint_full_res: false };
}

/** Which picture is the first, and which seeds they have, is said behind them: all are read before one is yielded. */
async function* readDrawing(response: Response, { call, seed }: DrawingOrder): AsyncGenerator<ImageEvent> {
  const answer = await readWhole(response, 'images');
  if (!isObject(answer) || !Array.isArray(answer.images)) throw shapeError('is not a list of pictures');
  const info = readInfo(answer.info);
  let isUnreadable = false;
  // A grid of all pictures may come first, and pictures of extensions last.
  for (const [index, bytes] of answer.images.slice(info.first, info.first + call.n).entries()) {
    const picture = readPicture(bytes);
    if (picture === undefined) isUnreadable = true;
    else yield { type: 'image', index, ...picture, seed: info.seeds[index] ?? seed + index };
  }
  if (isUnreadable) throw shapeError('holds a picture that cannot be read');
}

/** `info` is JSON in a string; KoboldCpp leaves it empty. */
function readInfo(text: unknown): {
  readonly first: number;
  readonly seeds: readonly (number | undefined)[];
} {
  const info = parseJson(String(text));
  const { index_of_first_image: first, all_seeds: seeds } = fieldsOf(info);
  return {
    first: isCount(first) ? first : 0,
    seeds: Array.isArray(seeds) ? seeds.map((seed: unknown) => (isCount(seed) ? seed : undefined)) : [],
  };
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}

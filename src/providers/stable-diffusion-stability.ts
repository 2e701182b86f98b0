/** Stability AI's hosted API, v2beta: forms in, one picture out. */
import type { Size } from '../core/image.js';
import type { BlockedEvent, GenerateCall, ImageEvent } from '../core/provider.js';
import { isObject } from './json-value.js';
import { type MultipartBody, multipartBody } from './multipart.js';
import { readWhole } from './stable-diffusion-answer.js';
import type { Draw, DrawingOrder } from './stable-diffusion-drawing.js';
import { shapeError } from './stable-diffusion-errors.js';
import { ASPECT_RATIOS } from './stable-diffusion-models.js';
import { portable, readPicture } from './stable-diffusion-pictures.js';

/** Draws by one of the generate endpoints. A withheld picture comes as a success with a blurred one. */
export const drawByStability: Draw = async (order) => {
  const form = await requestForm(order);
  const path = `/v2beta/stable-image/generate/${order.endpoint}`;
  return readDrawing(await order.server.draw(path, { form }));
};

async function* readDrawing(response: Response): AsyncGenerator<ImageEvent | BlockedEvent> {
  const answer = await readWhole(response, 'image');
  if (!isObject(answer)) throw shapeError('is not a picture');
  if (answer.finish_reason === 'CONTENT_FILTERED') {
    yield { type: 'blocked', index: 0, reason: 'content_filtered', stage: 'output' };
    return;
  }
  // Whatever is not known to be a success may be a picture nobody is meant to see.
  const picture = answer.finish_reason === 'SUCCESS' ? readPicture(answer.image) : undefined;
  if (picture === undefined) throw shapeError('holds a picture that cannot be read');
  yield { type: 'image', index: 0, ...picture, seed: seedOf(answer.seed) };
}

/** How far an edit departs from its input where nobody says: Stability has no default, and this is A1111's. */
const STRENGTH = 0.75;

async function requestForm({ call, seed, settings, checkpoint }: DrawingOrder): Promise<MultipartBody> {
  const [input] = call.inputs;
  const fields = {
    model: checkpoint,
    prompt: call.prompt,
    negative_prompt: call.negativePrompt,
    // An edit has the shape of its input, and may not name another.
    ...(input === undefined
      ? { aspect_ratio: call.size === 'auto' ? undefined : nearestRatio(call.size) }
      : { mode: 'image-to-image', strength: settings.denoising_strength ?? STRENGTH }),
    seed: legalSeed(seed),
    style_preset: call.style,
    output_format: call.outputFormat ?? outputFormat(call),
  };
  if (input === undefined) return multipartBody(fields, []);
  const { bytes, type } = await portable(input, call.signal);
  return multipartBody(fields, [{ field: 'image', name: 'image', type, bytes }]);
}

function outputFormat({ model }: GenerateCall): string {
  return model.formats[0] ?? 'png';
}

/** The aspect ratio a size stands for. */
function nearestRatio({ width, height }: Size): string | undefined {
  const distance = (size: Size) => Math.abs(Math.log((width * size.height) / (height * size.width)));
  return Object.entries(ASPECT_RATIOS).sort(([, a], [, b]) => distance(a) - distance(b))[0]?.[0];
}

const MOST_SEED = 4_294_967_294;

/** Stability takes 0 for "any" and knows one seed less than the rest of the world: the ends wrap round. */
function legalSeed(seed: number): number {
  return seed === 0 ? MOST_SEED : ((seed - 1) % MOST_SEED) + 1;
}

function seedOf(value: unknown): number | undefined {
  return Number.isSafeInteger(value) && Number(value) >= 0 ? Number(value) : undefined;
}

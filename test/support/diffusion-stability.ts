/** A local server in the place of Stability AI's v2beta. */
import sharp from 'sharp';
import {
  createCard,
  type DiffusionAnswer,
  type DiffusionServer,
  formOf,
  serve,
} from './diffusion-servers.js';

/** The key it knows. */
export const STABILITY_KEY = 'sk-canary-stability';
/** Prompts by what becomes of them. */
export const STABILITY_PROMPTS = {
  refused: 'a prompt that is refused by moderation',
  withheld: 'a prompt whose picture is blurred',
  failing: 'a prompt Stability fails on',
} as const;

const PIXELS: Readonly<Record<string, readonly [number, number]>> = {
  '1:1': [1024, 1024],
  '5:4': [1088, 896],
  '4:5': [896, 1088],
  '3:2': [1216, 832],
  '2:3': [832, 1216],
  '16:9': [1344, 768],
  '9:16': [768, 1344],
  '21:9': [1536, 640],
  '9:21': [640, 1536],
};

function failure(status: number, name: string, errors: readonly string[] = []): DiffusionAnswer {
  return { status, body: { id: 'a3b1c5d7', name, errors } };
}

/** The pixels of an edit, which are those of its input; `undefined` for one it would refuse. */
async function editedPixels(
  form: FormData,
  endpoint: string,
): Promise<readonly [number, number] | undefined> {
  const [image, strength] = [form.get('image'), form.get('strength')];
  const fits = endpoint === 'sd3' && form.get('mode') === 'image-to-image' && !form.has('aspect_ratio');
  if (!fits || !(image instanceof Blob) || !(Number(strength ?? 'none') >= 0 && Number(strength) <= 1)) {
    return undefined;
  }
  const { width, height } = await sharp(await image.arrayBuffer()).metadata();
  return [width, height];
}

/** Starts one. */
export async function createStabilityServer(): Promise<DiffusionServer> {
  const card = createCard();
  return await serve(async (request) => {
    if (request.headers.authorization !== `Bearer ${STABILITY_KEY}`) return failure(401, 'unauthorized');
    const endpoint = /^\/v2beta\/stable-image\/generate\/(core|ultra|sd3)$/.exec(request.path)?.[1];
    if (request.method !== 'POST' || endpoint === undefined) return failure(404, 'not_found');
    if (!request.headers['content-type']?.startsWith('multipart/form-data'))
      return failure(400, 'bad_request', ['content-type']);
    const form = await formOf(request);
    const fields = Object.fromEntries(form) as Record<string, string>;
    const { prompt = '', aspect_ratio: ratio = '1:1', output_format: format = 'png', seed = '0' } = fields;
    const pixels = form.has('image') ? await editedPixels(form, endpoint) : PIXELS[ratio];
    const formats = endpoint === 'sd3' ? ['png', 'jpeg'] : ['png', 'jpeg', 'webp'];
    const seedIsLegal = /^\d+$/.test(seed) && Number(seed) <= 4_294_967_294;
    if (
      pixels === undefined ||
      !formats.includes(format) ||
      !seedIsLegal ||
      prompt === '' ||
      [...prompt].length > 10_000
    ) {
      return failure(400, 'bad_request', ['some field is wrong']);
    }
    if (prompt === STABILITY_PROMPTS.failing) return failure(500, 'internal_error');
    if (prompt === STABILITY_PROMPTS.refused)
      return failure(403, 'content_moderation', [`flagged: ${prompt}`]);
    const drawnSeed = Number(seed) === 0 ? Math.floor(Math.random() * 4_294_967_294) : Number(seed);
    const [width, height] = pixels;
    const blurred = prompt === STABILITY_PROMPTS.withheld;
    const image = await card.draw({
      size: { width, height },
      seed: blurred ? 0 : drawnSeed,
      format: format as 'png',
    });
    const finish = blurred ? 'CONTENT_FILTERED' : 'SUCCESS';
    return { status: 200, body: { image: image.toString('base64'), finish_reason: finish, seed: drawnSeed } };
  });
}

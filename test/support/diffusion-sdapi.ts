/** A local server that speaks `/sdapi/v1`, as AUTOMATIC1111 and as stable-diffusion.cpp's sd-server do. */
import { randomInt } from 'node:crypto';
import type { ImageFormat } from '../../src/core/image.js';
import {
  type Card,
  createCard,
  type DiffusionAnswer,
  type DiffusionRequest,
  type DiffusionServer,
  jsonOf,
  serve,
} from './diffusion-servers.js';

/** Which server, and how it was started. */
export interface SdapiOptions {
  /** Whose warts it has. @defaultValue `'a1111'` */
  readonly flavour?: 'a1111' | 'sd-server' | 'koboldcpp';
  /** `--api-auth`, as `user:password`. @defaultValue nobody is asked */
  readonly auth?: string;
  /** A1111's option `return_grid`, with several pictures. @defaultValue `false` */
  readonly grid?: boolean;
  /** What pictures begin with, as on some forks. @defaultValue nothing */
  readonly prefix?: string;
  /** The option `samples_format`. @defaultValue `'png'` */
  readonly format?: ImageFormat;
  /** Milliseconds a picture takes. @defaultValue `0` */
  readonly drawMs?: number;
}

/** The server and its card. */
export interface SdapiServer extends DiffusionServer {
  /** What draws. */
  readonly card: Card;
}

/** A prompt every flavour fails on, as a card without memory does. */
export const TOO_LARGE_PROMPT = 'a picture larger than the memory';

const CHECKPOINTS = [
  {
    title: 'sd_xl_base_1.0.safetensors [31e35c80fc]',
    model_name: 'sd_xl_base_1.0',
    hash: '31e35c80fc',
    filename: '/models/Stable-diffusion/sd_xl_base_1.0.safetensors',
  },
  {
    title: 'anime/counterfeit.safetensors [0123456789]',
    model_name: 'anime_counterfeit',
    hash: '0123456789',
    filename: 'C:\\models\\anime\\counterfeit.safetensors',
  },
];

/** Starts one. */
export async function createSdapiServer(options: SdapiOptions = {}): Promise<SdapiServer> {
  const card = createCard(options.drawMs);
  const server = await serve((request) => answer(request, options, card));
  return { ...server, card };
}

async function answer(
  request: DiffusionRequest,
  options: SdapiOptions,
  card: Card,
): Promise<DiffusionAnswer> {
  const { flavour = 'a1111', auth } = options;
  const expected = auth && `Basic ${Buffer.from(auth).toString('base64')}`;
  if (expected !== undefined && request.headers.authorization !== expected) {
    return {
      status: 401,
      body: { detail: 'Incorrect username or password' },
      headers: { 'www-authenticate': 'Basic' },
    };
  }
  const route = `${request.method} ${request.path}`;
  if (route === 'GET /sdapi/v1/sd-models') return { status: 200, body: CHECKPOINTS };
  // sd-server has both faces.
  if (route === 'GET /v1/models' && flavour === 'sd-server') {
    return { status: 200, body: { data: [{ id: 'sd-cpp-local', object: 'model' }] } };
  }
  if (route !== 'POST /sdapi/v1/txt2img' && route !== 'POST /sdapi/v1/img2img') {
    return flavour === 'sd-server' ? { status: 404 } : { status: 404, body: { detail: 'Not Found' } };
  }
  let body: Record<string, unknown>;
  try {
    body = jsonOf(request);
  } catch {
    if (flavour === 'sd-server')
      return { status: 500, body: { error: 'server_error', message: 'parse error' } };
    return {
      status: 422,
      body: { detail: [{ loc: ['body', 1], msg: 'JSON decode error', type: 'json_invalid' }] },
    };
  }
  return refusal(body, flavour) ?? (await drawing(body, options, card));
}

function refusal(body: Record<string, unknown>, flavour: string): DiffusionAnswer | undefined {
  if (flavour === 'sd-server') {
    if (body.prompt === '') return { status: 400, body: { error: 'prompt required' } };
    if (body.prompt === TOO_LARGE_PROMPT)
      return { status: 500, body: { error: 'generate_image returned no results' } };
    return undefined;
  }
  if (Number(body.steps ?? 20) > 150) {
    return {
      status: 422,
      body: { detail: [{ loc: ['body', 'steps'], msg: 'too many', type: 'value_error' }] },
    };
  }
  if (body.sampler_name === 'No such sampler') return { status: 404, body: { detail: 'Sampler not found' } };
  if (body.prompt !== TOO_LARGE_PROMPT) return undefined;
  const text = `CUDA out of memory while drawing ${body.prompt}`;
  return { status: 500, body: { error: 'OutOfMemoryError', detail: '', body: '', errors: text } };
}

function roundedUp(pixels: unknown, flavour: string): number {
  const asked = Number(pixels ?? 512);
  return flavour === 'sd-server' ? Math.ceil(asked / 64) * 64 : asked;
}

/** sd-server's way to be steered from within a prompt. */
function steered(body: Record<string, unknown>, flavour: string): Record<string, unknown> {
  const inside = /<sd_cpp_extra_args>(.*?)<\/sd_cpp_extra_args>/.exec(String(body.prompt))?.[1];
  return flavour === 'sd-server' && inside !== undefined ? { ...body, ...JSON.parse(inside) } : body;
}

async function drawing(
  asked: Record<string, unknown>,
  { flavour = 'a1111', grid = false, prefix = '', format = 'png' }: SdapiOptions,
  card: Card,
): Promise<DiffusionAnswer> {
  const body = steered(asked, flavour);
  // A seed nobody sent: sd-server's openai face and older builds take 42, A1111 takes any.
  const first =
    typeof body.seed === 'number' && body.seed >= 0
      ? body.seed
      : flavour === 'sd-server'
        ? 42
        : randomInt(2 ** 31);
  // KoboldCpp draws one, whatever is asked.
  const count = flavour === 'koboldcpp' ? 1 : Number(body.batch_size ?? 1);
  const size = { width: roundedUp(body.width, flavour), height: roundedUp(body.height, flavour) };
  const seeds = Array.from({ length: count }, (_, index) => first + index);
  const pictures: string[] = [];
  for (const seed of seeds)
    pictures.push(prefix + (await card.draw({ size, seed, format })).toString('base64'));
  const hasGrid = grid && count > 1;
  if (hasGrid) pictures.unshift(prefix + (await card.draw({ size, seed: 0, format })).toString('base64'));
  const info = {
    seed: first,
    all_seeds: seeds,
    all_prompts: seeds.map(() => body.prompt),
    index_of_first_image: Number(hasGrid),
  };
  return {
    status: 200,
    body: { images: pictures, parameters: body, info: flavour === 'koboldcpp' ? '' : JSON.stringify(info) },
  };
}

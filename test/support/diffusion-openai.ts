/** A local server with OpenAI's shape and diffusion extras, as LocalAI and vLLM-Omni have it. */
import {
  createCard,
  type DiffusionAnswer,
  type DiffusionRequest,
  type DiffusionServer,
  formOf,
  jsonOf,
  serve,
} from './diffusion-servers.js';

/** A prompt it fails on. */
export const FAILING_PROMPT = 'a prompt this server fails on';

/** Whose warts it has. */
export interface OpenAIShapedOptions {
  /** LocalAI answers URLs unless told otherwise and has no edits. @defaultValue `'vllm-omni'` */
  readonly flavour?: 'vllm-omni' | 'localai';
  /** The key it wants. @defaultValue none */
  readonly apiKey?: string;
}

/** Starts one. */
export async function createOpenAIShapedServer(options: OpenAIShapedOptions = {}): Promise<DiffusionServer> {
  const card = createCard();
  const { flavour = 'vllm-omni', apiKey } = options;

  async function draw(fields: Record<string, unknown>): Promise<DiffusionAnswer> {
    if (fields.prompt === FAILING_PROMPT) {
      return {
        status: 500,
        body: { error: { message: `failed on ${fields.prompt}`, type: 'InternalServerError', code: 500 } },
      };
    }
    const steps = Number(fields.num_inference_steps ?? 50);
    if (!(steps >= 1 && steps <= 200)) {
      return {
        status: 422,
        body: { detail: [{ loc: ['body', 'num_inference_steps'], msg: 'less_than_equal', type: 'x' }] },
      };
    }
    const [width = 512, height = 512] = String(fields.size ?? '512x512')
      .split('x')
      .map(Number);
    const data: unknown[] = [];
    for (let index = 0; index < Number(fields.n ?? 1); index += 1) {
      const picture = await card.draw({ size: { width, height }, seed: Number(fields.seed ?? 42) + index });
      const bare = flavour === 'localai' && fields.response_format !== 'b64_json';
      data.push(
        bare
          ? { url: 'http://127.0.0.1/generated.png' }
          : { b64_json: picture.toString('base64'), revised_prompt: null },
      );
    }
    return { status: 200, body: { created: 1_713_888_000, data } };
  }

  return await serve(async (request: DiffusionRequest) => {
    if (apiKey !== undefined && request.headers.authorization !== `Bearer ${apiKey}`)
      return { status: 401, body: { error: 'Unauthorized' } };
    const route = `${request.method} ${request.path}`;
    if (route === 'GET /v1/models')
      return { status: 200, body: { object: 'list', data: [{ id: 'stabilityai/sdxl', object: 'model' }] } };
    if (route === 'POST /v1/images/generations') return await draw(jsonOf(request));
    if (route === 'POST /v1/images/edits' && flavour === 'vllm-omni') {
      return await draw(Object.fromEntries(await formOf(request)));
    }
    return { status: 404, body: { detail: 'Not Found' } };
  });
}

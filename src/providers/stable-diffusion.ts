/**
 * Stable Diffusion: servers of one's own that speak A1111's protocol or OpenAI's with diffusion extras, and Stability
 * AI's hosted models. Prompts are passed on as they are: `<lora:…>`, weights and wildcards mean what they mean to the
 * server, except for the tag by which stable-diffusion.cpp would be steered.
 */
import { randomInt } from 'node:crypto';
import type { GenerateCall, GenerateEvent, Provider } from '../core/provider.js';
import { isProviderError, ProviderError } from '../errors.js';
import { detectProtocol, type Finder, findCheckpoint, findOnce } from './stable-diffusion-detection.js';
import type { Draw, Drawing } from './stable-diffusion-drawing.js';
import { toProviderError } from './stable-diffusion-errors.js';
import { createLine } from './stable-diffusion-line.js';
import { diffusionRows, type ModelOffer } from './stable-diffusion-models.js';
import { drawByOpenAI } from './stable-diffusion-openai.js';
import {
  type DiffusionProtocol,
  diffusionTarget,
  type StableDiffusionOptions,
} from './stable-diffusion-options.js';
import { refuseControlTags } from './stable-diffusion-prompt.js';
import { drawBySdapi } from './stable-diffusion-sdapi.js';
import { connect } from './stable-diffusion-server.js';
import {
  type AllowedSettings,
  allowedKeys,
  type SettingRange,
  settingsOf,
} from './stable-diffusion-settings.js';
import { drawByStability } from './stable-diffusion-stability.js';

export type { AllowedSettings, DiffusionProtocol, ModelOffer, SettingRange, StableDiffusionOptions };

const DRAW: Readonly<Record<DiffusionProtocol, Draw>> = {
  sdapi: drawBySdapi,
  openai: drawByOpenAI,
  stability: drawByStability,
};

/** Seeds of our choosing leave room for the pictures after the first. */
const SEEDS = 2 ** 32 - 16;

/**
 * Makes a provider for one Stable Diffusion server. Does no I/O. Throws a `ConfigError` for a wrong option, such as a
 * missing `url`.
 */
export function stableDiffusion(options: StableDiffusionOptions): Provider {
  const target = diffusionTarget(options);
  const hosted = target.protocol === 'stability';
  const rows = diffusionRows({ hosted, offers: options.models, metadataKeys: allowedKeys(options) });
  const line = createLine(options.concurrency ?? (hosted ? Number.POSITIVE_INFINITY : 1));
  const { protocol } = target;
  const findProtocol = findOnce(protocol === 'auto' ? detectProtocol : async () => protocol);
  const titles = new Map<string, Finder<string>>();
  for (const [slug, { checkpoint }] of rows) {
    if (checkpoint !== undefined)
      titles.set(
        slug,
        findOnce((server) => findCheckpoint(server, checkpoint)),
      );
  }

  async function draw(call: GenerateCall): Promise<Drawing> {
    const row = rows.get(call.model.slug);
    if (row === undefined) throw new ProviderError('rejected', 'No such model here.', { billed: 'no' });
    if (!hosted) refuseControlTags(call);
    const settings = settingsOf(options, call.metadata);
    const server = connect(target, call);
    const spoken = await findProtocol(server, call.signal);
    const find = spoken === 'sdapi' ? titles.get(call.model.slug) : undefined;
    const checkpoint = find === undefined ? row.checkpoint : await find(server, call.signal);
    const seed = call.seed ?? randomInt(SEEDS);
    const order = { call, seed, settings, checkpoint, endpoint: row.endpoint, server };
    return await line.run(() => DRAW[spoken](order), call);
  }

  async function* generate(call: GenerateCall): AsyncGenerator<GenerateEvent, void, undefined> {
    try {
      call.signal.throwIfAborted();
      yield* await draw(call);
      yield { type: 'end' };
    } catch (error) {
      const isUnbilled = isProviderError(error) && error.billed === 'no';
      if (!isUnbilled) call.signal.throwIfAborted();
      throw toProviderError(error, call.model.price === 0);
    }
  }

  return {
    name: options.name ?? 'stable-diffusion',
    models: [...rows.values()].map(({ model }) => model),
    generate,
  };
}

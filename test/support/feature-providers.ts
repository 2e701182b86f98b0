/** Every provider that ships, in front of a vendor's local double, as the table of features calls it. */
import sharp from 'sharp';
import type { Provider, SizeRule } from '../../src/core/provider.js';
import { openai } from '../../src/providers/openai.js';
import { placeholder } from '../../src/providers/placeholder.js';
import { stableDiffusion } from '../../src/providers/stable-diffusion.js';
import { testModel } from './app.js';
import { createOpenAIShapedServer, FAILING_PROMPT } from './diffusion-openai.js';
import { createSdapiServer, TOO_LARGE_PROMPT } from './diffusion-sdapi.js';
import { createStabilityServer, STABILITY_KEY, STABILITY_PROMPTS } from './diffusion-stability.js';
import { startGoogle } from './google-providers.js';
import { content, failures, inlineData, promptOf } from './google-upstream.js';
import { answers, createOpenAIUpstream, fieldsOf, GPT_IMAGE_USAGE, streamFrames } from './openai-upstream.js';

/** A provider and what to ask of it. */
export interface FeatureSubject {
  readonly provider: Provider;
  /** The model asked for. */
  readonly slug: string;
  /** Sizes it draws: a square one and one that is not. */
  readonly square: string;
  readonly oblong: string;
  /** A prompt on which its vendor fails. */
  readonly failingPrompt: string;
  /** A prompt whose picture its vendor withholds or refuses for safety. */
  readonly unsafePrompt?: string | undefined;
  /** Previews it makes of a picture when two are asked for. */
  readonly previews: number;
  /** What one picture costs, in dollars. */
  readonly cost: string;
  /** Ends the vendor's double. */
  close(): Promise<void>;
}

const SMALL: SizeRule = {
  kind: 'list',
  values: [
    { width: 128, height: 128 },
    { width: 192, height: 128 },
  ],
  default: { width: 128, height: 128 },
};
const SMALL_SIZES = { square: '128x128', oblong: '192x128' } as const;

async function placeholderSubject(): Promise<FeatureSubject> {
  return {
    provider: placeholder({ models: [testModel()] }),
    slug: 'placeholder/sketch',
    ...SMALL_SIZES,
    failingPrompt: 'a lighthouse [fail:unavailable]',
    unsafePrompt: 'a lighthouse [blocked]',
    ...{ previews: 2, cost: '0.040000' },
    close: async () => undefined,
  };
}

const OPENAI_FAILS = 'a prompt that fails';
const OPENAI_REFUSES = 'a prompt that is refused';

async function drawn(size: string, format: string): Promise<Buffer> {
  const [width = 1024, height = 1024] = size.split('x').map(Number);
  const picture = sharp({ create: { width, height, channels: 3, background: 'teal' } });
  return await picture.toFormat(format as 'png').toBuffer();
}

async function openaiSubject(): Promise<FeatureSubject> {
  const upstream = await createOpenAIUpstream();
  upstream.respondWith(async (request, response) => {
    const fields = await fieldsOf(request);
    if (fields.prompt === OPENAI_FAILS) return answers.serverError()(request, response);
    if (fields.prompt === OPENAI_REFUSES) return answers.moderationBlocked('input')(request, response);
    const outputFormat = String(fields.output_format ?? 'png');
    const image = await drawn(fields.size === 'auto' ? '1024x1024' : String(fields.size), outputFormat);
    const answer = { image, outputFormat, usage: GPT_IMAGE_USAGE };
    const previews = Number(fields.partial_images);
    const streamed = String(fields.stream) === 'true';
    const handler = streamed
      ? answers.stream(streamFrames({ ...answer, previews }))
      : answers.pictures(answer);
    return handler(request, response);
  });
  return {
    provider: openai({ apiKey: 'sk-test', baseURL: upstream.url }),
    slug: 'openai/gpt-image-2',
    ...{ square: '1024x1024', oblong: '1536x1024' },
    ...{ failingPrompt: OPENAI_FAILS, unsafePrompt: OPENAI_REFUSES },
    ...{ previews: 2, cost: '0.052930' },
    close: () => upstream.close(),
  };
}

const GOOGLE_FAILS = 'a prompt Google fails on';
const GOOGLE_WITHHOLDS = 'a prompt Google withholds';
const GOOGLE_PIXELS: Readonly<Record<string, string>> = { '1:1': '1024x1024', '3:2': '1264x848' };

async function googleSubject(): Promise<FeatureSubject> {
  const { provider, upstream, close } = await startGoogle('rest');
  upstream.respondWith(async (request) => {
    const prompt = promptOf(request);
    if (prompt === GOOGLE_FAILS) return failures.internal();
    if (prompt === GOOGLE_WITHHOLDS) return content([], { finishReason: 11 });
    const { imageConfig } = request.body.generationConfig ?? {};
    const { aspectRatio = '1:1' } = (imageConfig ?? {}) as { readonly aspectRatio?: string };
    const image = await drawn(GOOGLE_PIXELS[aspectRatio] ?? '1x1', 'png');
    return content([inlineData(image.toString('base64'))]);
  });
  return {
    provider,
    slug: 'google/nano-banana-2.1',
    ...{ square: '1024x1024', oblong: '1264x848' },
    ...{ failingPrompt: GOOGLE_FAILS, unsafePrompt: GOOGLE_WITHHOLDS },
    ...{ previews: 0, cost: '0.040080' },
    close,
  };
}

async function sdapiSubject(): Promise<FeatureSubject> {
  const server = await createSdapiServer();
  return {
    provider: stableDiffusion({ url: server.url, models: [{ sizes: SMALL }] }),
    slug: 'stability/sd-xl',
    ...SMALL_SIZES,
    ...{ failingPrompt: TOO_LARGE_PROMPT, previews: 0, cost: '0.000000' },
    close: () => server.close(),
  };
}

async function openaiShapedSubject(): Promise<FeatureSubject> {
  const server = await createOpenAIShapedServer();
  return {
    provider: stableDiffusion({ url: server.url, models: [{ sizes: SMALL }] }),
    slug: 'stability/sd-xl',
    ...SMALL_SIZES,
    ...{ failingPrompt: FAILING_PROMPT, previews: 0, cost: '0.000000' },
    close: () => server.close(),
  };
}

function stabilitySubject(slug: string, cost: string): () => Promise<FeatureSubject> {
  return async () => {
    const server = await createStabilityServer();
    return {
      provider: stableDiffusion({ url: server.url, protocol: 'stability', apiKey: STABILITY_KEY }),
      ...{ slug, square: '1024x1024', oblong: '1216x832' },
      ...{ failingPrompt: STABILITY_PROMPTS.failing, unsafePrompt: STABILITY_PROMPTS.withheld },
      ...{ previews: 0, cost },
      close: () => server.close(),
    };
  };
}

/** Every provider of the table, by the name of its column. */
export const SUBJECTS = {
  placeholder: placeholderSubject,
  openai: openaiSubject,
  google: googleSubject,
  sdapi: sdapiSubject,
  'openai-shaped': openaiShapedSubject,
  stability: stabilitySubject('stability/core', '0.030000'),
  'stability sd3': stabilitySubject('stability/sd3.5-medium', '0.035000'),
} as const satisfies Record<string, () => Promise<FeatureSubject>>;

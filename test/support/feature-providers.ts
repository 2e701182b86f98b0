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
import { answers, createOpenAIUpstream, GPT_IMAGE_USAGE, jsonBody } from './openai-upstream.js';

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
    cost: '0.040000',
    close: async () => undefined,
  };
}

const OPENAI_FAILS = 'a prompt that fails';
const OPENAI_REFUSES = 'a prompt that is refused';

async function openaiSubject(): Promise<FeatureSubject> {
  const upstream = await createOpenAIUpstream();
  upstream.respondWith(async (request, response) => {
    const { prompt, size, output_format: outputFormat = 'png' } = jsonBody(request);
    if (prompt === OPENAI_FAILS) return answers.serverError()(request, response);
    if (prompt === OPENAI_REFUSES) return answers.moderationBlocked('input')(request, response);
    const [width = 1024, height = 1024] = size === 'auto' ? [] : String(size).split('x').map(Number);
    const image = await sharp({ create: { width, height, channels: 3, background: 'teal' } })
      .toFormat(outputFormat as 'png')
      .toBuffer();
    const usage = GPT_IMAGE_USAGE;
    return answers.pictures({ image, outputFormat: String(outputFormat), usage })(request, response);
  });
  return {
    provider: openai({ apiKey: 'sk-test', baseURL: upstream.url }),
    slug: 'openai/gpt-image-2',
    ...{ square: '1024x1024', oblong: '1536x1024' },
    ...{ failingPrompt: OPENAI_FAILS, unsafePrompt: OPENAI_REFUSES },
    cost: '0.052930',
    close: () => upstream.close(),
  };
}

async function sdapiSubject(): Promise<FeatureSubject> {
  const server = await createSdapiServer();
  return {
    provider: stableDiffusion({ url: server.url, models: [{ sizes: SMALL }] }),
    slug: 'stability/sd-xl',
    ...SMALL_SIZES,
    ...{ failingPrompt: TOO_LARGE_PROMPT, cost: '0.000000' },
    close: () => server.close(),
  };
}

async function openaiShapedSubject(): Promise<FeatureSubject> {
  const server = await createOpenAIShapedServer();
  return {
    provider: stableDiffusion({ url: server.url, models: [{ sizes: SMALL }] }),
    slug: 'stability/sd-xl',
    ...SMALL_SIZES,
    ...{ failingPrompt: FAILING_PROMPT, cost: '0.000000' },
    close: () => server.close(),
  };
}

async function stabilitySubject(): Promise<FeatureSubject> {
  const server = await createStabilityServer();
  return {
    provider: stableDiffusion({ url: server.url, protocol: 'stability', apiKey: STABILITY_KEY }),
    slug: 'stability/core',
    ...{ square: '1024x1024', oblong: '1216x832' },
    ...{ failingPrompt: STABILITY_PROMPTS.failing, unsafePrompt: STABILITY_PROMPTS.withheld },
    cost: '0.030000',
    close: () => server.close(),
  };
}

/** Every provider of the table, by the name of its column. */
export const SUBJECTS = {
  placeholder: placeholderSubject,
  openai: openaiSubject,
  sdapi: sdapiSubject,
  'openai-shaped': openaiShapedSubject,
  stability: stabilitySubject,
} as const satisfies Record<string, () => Promise<FeatureSubject>>;

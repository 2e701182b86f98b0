/**
 * OpenAI's image models as data: what each can do, what it costs, how long it lives. A new model is a row here, or
 * an addition of the host's; no code compares model names.
 */
import type { Model, SizeRule } from '../core/provider.js';
import { DALL_E_MODELS } from './openai-dall-e.js';
import {
  DEPRECATIONS,
  type OpenAIModel,
  type RequestField,
  SDK_TYPES,
  sizes,
  source,
  UNVERIFIED_PRICE,
} from './openai-model-row.js';
import { dollars, freeSizePrice, threeSizePrice } from './openai-prices.js';

const THREE_SIZES: SizeRule = {
  kind: 'list',
  values: sizes([1024, 1024], [1536, 1024], [1024, 1536]),
  default: 'auto',
};

const FREE_SIZES: SizeRule = {
  kind: 'range',
  multiple: 16,
  // Follows from the fewest pixels and the ratio; OpenAI states no shortest edge.
  minEdge: 480,
  maxEdge: 3840,
  minPixels: 655_360,
  maxPixels: 8_294_400,
  maxRatio: 3,
  default: 'auto',
};

const GPT_IMAGE = {
  operations: ['generate', 'edit'],
  formats: ['png', 'jpeg', 'webp'],
  qualities: ['auto', 'low', 'medium', 'high'],
  styles: [],
  backgrounds: ['auto', 'opaque', 'transparent'],
  maxImages: 10,
  // OpenAI refuses to stream more.
  maxImagesWithPreviews: 1,
  maxPromptLength: 32_000,
  maxInputs: 16,
  inputFormats: ['png', 'jpeg', 'webp'],
  maskFormats: ['png'],
  maxPreviews: 3,
  features: ['end_user', 'mask', 'streaming'],
  metadataKeys: ['moderation'],
  defaultResponseFormat: 'b64_json',
} as const satisfies Partial<Model>;

const GPT_IMAGE_TAKES: readonly RequestField[] = [
  'quality',
  'background',
  'output_format',
  'output_compression',
  'moderation',
  // Deprecated in favour of `safety_identifier`, yet documented as accepted by every model, and the one of the two
  // that Azure and compatible servers are sure to know.
  'user',
];

/** Of models whose `input_fidelity` can be high. Those with free sizes always work so, and refuse the word. */
const FIDELITY_KEYS = ['moderation', 'input_fidelity'] as const;
const FIDELITY_TAKES: readonly RequestField[] = [...GPT_IMAGE_TAKES, 'input_fidelity'];

const PREVIEWS = source('developers.openai.com/api/docs/guides/image-generation, cost of partial images');

const THREE_SIZE_SOURCES = {
  fields: SDK_TYPES,
  lifecycle: DEPRECATIONS,
  inputs: source('developers.openai.com/api/docs/guides/images-vision, calculating costs'),
  previews: PREVIEWS,
} as const;

const FREE_SIZE_SOURCES = {
  fields: SDK_TYPES,
  sizes: source('openai 7.57.0, resources/images.d.ts; docs.comfy.org, OpenAIGPTImageNodeV3'),
  rates: source('developers.openai.com/api/docs/models/gpt-image-2.6-sunburst'),
  tokens: source('community.openai.com/t/1382699, read from the price calculator'),
  inputs: source('community.openai.com/t/1382940, measured on gpt-image-2'),
  previews: PREVIEWS,
} as const;

const GPT_IMAGE_1_5_PRICE = threeSizePrice({
  tokens: { textIn: dollars(5), imageIn: dollars(8), imageOut: dollars(32), textOut: dollars(10) },
  square: { low: 0.009, medium: 0.034, high: 0.133 },
  oblong: { low: 0.013, medium: 0.05, high: 0.2 },
  fidelity: 'high',
});

/** Announced on the first date for the three models that end on the second. */
const ENDING = { deprecatedAt: '2026-06-02', shutdownAt: '2026-12-01' } as const;
const FLARE = { slug: 'openai/gpt-image-2.6-flare', serves: true } as const;
const SUNBURST = { slug: 'openai/gpt-image-2.6-sunburst', serves: true } as const;

const FIVE_QUALITIES = {
  ...GPT_IMAGE,
  qualities: ['auto', 'low', 'medium', 'high', 'xhigh', 'max'],
  sizes: FREE_SIZES,
} as const satisfies Partial<Model>;

const GPT_IMAGE_2_5 = {
  ...FIVE_QUALITIES,
  price: freeSizePrice({ low: 16, medium: 24, high: 48, xhigh: 64, max: 96 }),
  sources: {
    ...FREE_SIZE_SOURCES,
    qualities: source('cellcog.ai/blog/gpt-image-2-5-release-date, tokens of each quality'),
  },
} as const satisfies Partial<Model>;

const GPT_IMAGE_2_6 = {
  ...FIVE_QUALITIES,
  // Its low and medium are reported to take up to four times the tokens of 2.5, which is twice the axis.
  price: freeSizePrice({ low: 32, medium: 48, high: 48, xhigh: 64, max: 96 }),
  sources: { ...FREE_SIZE_SOURCES, qualities: source('docs.laozhang.ai, tokens of 2.6 beside those of 2.5') },
} as const satisfies Partial<Model>;

function gptImage(model: Omit<Model, 'slug'>): OpenAIModel {
  const takes = model.metadataKeys.includes('input_fidelity') ? FIDELITY_TAKES : GPT_IMAGE_TAKES;
  return { takes, model: { ...model, slug: `openai/${model.upstreamId}` } };
}

const GPT_IMAGE_MODELS: readonly OpenAIModel[] = [
  gptImage({
    ...GPT_IMAGE,
    metadataKeys: FIDELITY_KEYS,
    upstreamId: 'gpt-image-1',
    displayName: 'GPT Image 1',
    sizes: THREE_SIZES,
    price: threeSizePrice({
      tokens: { textIn: dollars(5), imageIn: dollars(10), imageOut: dollars(40) },
      square: { low: 0.011, medium: 0.042, high: 0.167 },
      oblong: { low: 0.016, medium: 0.063, high: 0.25 },
      fidelity: 'high',
    }),
    lifecycle: { shutdownAt: '2026-10-23', successor: FLARE },
    sources: { ...THREE_SIZE_SOURCES, price: UNVERIFIED_PRICE },
  }),
  gptImage({
    ...GPT_IMAGE,
    upstreamId: 'gpt-image-1-mini',
    displayName: 'GPT Image 1 mini',
    sizes: THREE_SIZES,
    price: threeSizePrice({
      tokens: { textIn: dollars(2), imageIn: dollars(2.5), imageOut: dollars(8) },
      square: { low: 0.005, medium: 0.011, high: 0.036 },
      oblong: { low: 0.006, medium: 0.015, high: 0.052 },
      fidelity: 'low',
    }),
    lifecycle: { ...ENDING, successor: FLARE },
    sources: {
      ...THREE_SIZE_SOURCES,
      price: source('developers.openai.com/api/docs/models/gpt-image-1-mini'),
    },
  }),
  gptImage({
    ...GPT_IMAGE,
    metadataKeys: FIDELITY_KEYS,
    upstreamId: 'gpt-image-1.5',
    displayName: 'GPT Image 1.5',
    sizes: THREE_SIZES,
    price: GPT_IMAGE_1_5_PRICE,
    lifecycle: { ...ENDING, successor: SUNBURST },
    sources: { ...THREE_SIZE_SOURCES, price: source('runware.ai/docs') },
  }),
  gptImage({
    ...GPT_IMAGE,
    upstreamId: 'chatgpt-image-latest',
    displayName: 'ChatGPT Image (latest)',
    sizes: THREE_SIZES,
    price: GPT_IMAGE_1_5_PRICE,
    lifecycle: { ...ENDING, successor: SUNBURST },
    sources: { ...THREE_SIZE_SOURCES, price: source('assumed equal to gpt-image-1.5') },
  }),
  gptImage({
    ...GPT_IMAGE,
    upstreamId: 'gpt-image-2',
    displayName: 'GPT Image 2',
    sizes: FREE_SIZES,
    // Transparent is a preview here, which not every account has.
    backgrounds: ['auto', 'opaque'],
    price: freeSizePrice({ low: 16, medium: 48, high: 96 }),
    sources: FREE_SIZE_SOURCES,
  }),
  gptImage({ ...GPT_IMAGE_2_5, upstreamId: 'gpt-image-2.5-flare', displayName: 'GPT Image 2.5 Flare' }),
  gptImage({ ...GPT_IMAGE_2_5, upstreamId: 'gpt-image-2.5-sunburst', displayName: 'GPT Image 2.5 Sunburst' }),
  gptImage({ ...GPT_IMAGE_2_6, upstreamId: 'gpt-image-2.6-flare', displayName: 'GPT Image 2.6 Flare' }),
  gptImage({ ...GPT_IMAGE_2_6, upstreamId: 'gpt-image-2.6-sunburst', displayName: 'GPT Image 2.6 Sunburst' }),
];

/** Every model, oldest first. Retired ones stay: private deployments and compatible servers still have them. */
export const OPENAI_MODELS: readonly OpenAIModel[] = [...DALL_E_MODELS, ...GPT_IMAGE_MODELS];

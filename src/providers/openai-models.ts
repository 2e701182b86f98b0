/**
 * OpenAI's image models as data: what each can do, what it costs, how long it lives. A new model is a row here, or
 * an addition of the host's; no code compares model names.
 */
import type { Size } from '../core/image.js';
import type { Lifecycle, Model, SizeRule, Source } from '../core/provider.js';
import { dollars, freeSizePrice, threeSizePrice } from './openai-prices.js';

/** The fields of a request that not every model takes; `model`, `prompt`, `n` and `size` go to all of them. */
export type RequestField =
  | 'quality'
  | 'style'
  | 'response_format'
  | 'background'
  | 'output_format'
  | 'output_compression'
  | 'moderation'
  | 'user';

/** One row: what the router is told about a model, and which fields a request to it may hold. */
export interface OpenAIModel {
  /** What the router is told. */
  readonly model: Model;
  /** Fields it takes; OpenAI answers 400 to any other. */
  readonly takes: readonly RequestField[];
}

function source(from: string): Source {
  return { from, date: '2026-11-22' };
}

const SDK_TYPES = source('openai 7.57.0, resources/images.d.ts');
const DEPRECATIONS = source('developers.openai.com/api/docs/deprecations');
const UNVERIFIED_PRICE = source("OpenAI's price list before the retirement, unverified");

function sizes(...edges: readonly (readonly [width: number, height: number])[]): readonly Size[] {
  return edges.map(([width, height]) => ({ width, height }));
}

const DALL_E = {
  operations: ['generate'],
  formats: ['png'],
  backgrounds: [],
  maxInputs: 0,
  maxPreviews: 0,
  features: ['end_user'],
  metadataKeys: [],
  defaultResponseFormat: 'url',
  sources: { fields: SDK_TYPES, lifecycle: DEPRECATIONS, price: UNVERIFIED_PRICE },
} as const satisfies Partial<Model>;

const DALL_E_RETIRED = {
  shutdownAt: '2026-05-12',
  successor: {
    slug: 'openai/gpt-image-2',
    serves: true,
    // The nearest in price; the successor draws no fewer than 655,360 pixels.
    qualities: { standard: 'medium', hd: 'high' },
    sizes: { '256x256': '1024x1024', '512x512': '1024x1024' },
  },
} as const satisfies Lifecycle;

const DALL_E_2: OpenAIModel = {
  takes: ['response_format', 'user'],
  model: {
    ...DALL_E,
    slug: 'openai/dall-e-2',
    upstreamId: 'dall-e-2',
    displayName: 'DALL·E 2',
    sizes: {
      kind: 'list',
      values: sizes([256, 256], [512, 512], [1024, 1024]),
      default: { width: 1024, height: 1024 },
    },
    qualities: ['standard'],
    styles: [],
    maxImages: 10,
    maxPromptLength: 1000,
    price: {
      '256x256': { '*': dollars(0.016) },
      '512x512': { '*': dollars(0.018) },
      '1024x1024': { '*': dollars(0.02) },
    },
    lifecycle: DALL_E_RETIRED,
  },
};

const DALL_E_3: OpenAIModel = {
  takes: ['quality', 'style', 'response_format', 'user'],
  model: {
    ...DALL_E,
    slug: 'openai/dall-e-3',
    upstreamId: 'dall-e-3',
    displayName: 'DALL·E 3',
    sizes: {
      kind: 'list',
      values: sizes([1024, 1024], [1792, 1024], [1024, 1792]),
      default: { width: 1024, height: 1024 },
    },
    qualities: ['standard', 'hd'],
    styles: ['vivid', 'natural'],
    maxImages: 1,
    maxPromptLength: 4000,
    price: {
      '1024x1024': { standard: dollars(0.04), hd: dollars(0.08) },
      '1792x1024': { standard: dollars(0.08), hd: dollars(0.12) },
      '1024x1792': { standard: dollars(0.08), hd: dollars(0.12) },
    },
    lifecycle: DALL_E_RETIRED,
  },
};

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
  operations: ['generate'],
  formats: ['png', 'jpeg', 'webp'],
  qualities: ['auto', 'low', 'medium', 'high'],
  styles: [],
  backgrounds: ['auto', 'opaque', 'transparent'],
  maxImages: 10,
  maxPromptLength: 32_000,
  maxInputs: 0,
  maxPreviews: 0,
  features: ['end_user'],
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

const THREE_SIZE_SOURCES = { fields: SDK_TYPES, lifecycle: DEPRECATIONS } as const;

const FREE_SIZE_SOURCES = {
  fields: SDK_TYPES,
  sizes: source('openai 7.57.0, resources/images.d.ts; docs.comfy.org, OpenAIGPTImageNodeV3'),
  rates: source('developers.openai.com/api/docs/models/gpt-image-2.6-sunburst'),
  tokens: source('community.openai.com/t/1382699, read from the price calculator'),
} as const;

const GPT_IMAGE_1_5_PRICE = threeSizePrice(
  { textIn: dollars(5), imageIn: dollars(8), imageOut: dollars(32), textOut: dollars(10) },
  { low: 0.009, medium: 0.034, high: 0.133 },
  { low: 0.013, medium: 0.05, high: 0.2 },
);

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
  return { takes: GPT_IMAGE_TAKES, model: { ...model, slug: `openai/${model.upstreamId}` } };
}

const GPT_IMAGE_MODELS: readonly OpenAIModel[] = [
  gptImage({
    ...GPT_IMAGE,
    upstreamId: 'gpt-image-1',
    displayName: 'GPT Image 1',
    sizes: THREE_SIZES,
    price: threeSizePrice(
      { textIn: dollars(5), imageIn: dollars(10), imageOut: dollars(40) },
      { low: 0.011, medium: 0.042, high: 0.167 },
      { low: 0.016, medium: 0.063, high: 0.25 },
    ),
    lifecycle: { shutdownAt: '2026-10-23', successor: FLARE },
    sources: { ...THREE_SIZE_SOURCES, price: UNVERIFIED_PRICE },
  }),
  gptImage({
    ...GPT_IMAGE,
    upstreamId: 'gpt-image-1-mini',
    displayName: 'GPT Image 1 mini',
    sizes: THREE_SIZES,
    price: threeSizePrice(
      { textIn: dollars(2), imageIn: dollars(2.5), imageOut: dollars(8) },
      { low: 0.005, medium: 0.011, high: 0.036 },
      { low: 0.006, medium: 0.015, high: 0.052 },
    ),
    lifecycle: { ...ENDING, successor: FLARE },
    sources: {
      ...THREE_SIZE_SOURCES,
      price: source('developers.openai.com/api/docs/models/gpt-image-1-mini'),
    },
  }),
  gptImage({
    ...GPT_IMAGE,
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
export const OPENAI_MODELS: readonly OpenAIModel[] = [DALL_E_2, DALL_E_3, ...GPT_IMAGE_MODELS];

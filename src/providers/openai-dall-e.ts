/** DALL·E as data. OpenAI has retired it; private deployments and compatible servers still have it. */
import type { Lifecycle, Model } from '../core/provider.js';
import { DEPRECATIONS, type OpenAIModel, SDK_TYPES, sizes, UNVERIFIED_PRICE } from './openai-model-row.js';
import { dollars } from './openai-prices.js';

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
    operations: ['generate', 'edit'],
    maxInputs: 1,
    inputFormats: ['png'],
    features: ['end_user', 'mask'],
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

/** Oldest first. */
export const DALL_E_MODELS: readonly OpenAIModel[] = [DALL_E_2, DALL_E_3];

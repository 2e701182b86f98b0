/**
 * Google's image models as data: what each can do, how it is asked, what it costs, how long it lives. A new model is
 * a row here, or an addition of the host's; no code compares model names.
 */
import type { Lifecycle, Model, SizeRule, Source } from '../core/provider.js';
import { dollars, geminiPrice } from './imagen-prices.js';
import { FRAMES, type Frame, sizesOf, translatedSizes } from './imagen-sizes.js';

/** One row: what the router is told about a model, and how it is asked. */
export interface GoogleModel {
  /** What the router is told. */
  readonly model: Model;
  /** The method of `PredictionService` that draws: Imagen takes one, Gemini the other. */
  readonly rpc: 'predict' | 'generateContent';
  /** What it can be asked for. */
  readonly frames: readonly Frame[];
  /** Whether it takes an image size; those with only one refuse the field. */
  readonly takesImageSize: boolean;
}

function source(from: string): Source {
  return { from, date: '2026-11-22' };
}

const IMAGEN_DOCS = source('docs.cloud.google.com, vertex-ai/generative-ai/docs/model-reference/imagen-api');
const GEMINI_DOCS = source('ai.google.dev/gemini-api/docs/image-generation, aspect ratios and image sizes');
const LIFECYCLE_DOCS = source(
  'docs.cloud.google.com/gemini-enterprise-agent-platform/models/model-versions, read between July and October 2026',
);
const UNVERIFIED_PRICE = source('the price list before the retirement, unverified');

const SQUARE = { width: 1024, height: 1024 } as const;

const IMAGEN = {
  operations: ['generate'],
  formats: ['png', 'jpeg'],
  qualities: [],
  styles: [],
  backgrounds: [],
  maxImages: 4,
  // 480 tokens of about four characters.
  maxPromptLength: 1_920,
  maxInputs: 0,
  maxPreviews: 0,
  // Negative prompts went with imagen-3.0-generate-001; an addition that is like Imagen 3 may declare them.
  features: ['seed'],
  metadataKeys: [],
  defaultResponseFormat: 'url',
  sources: {
    fields: IMAGEN_DOCS,
    sizes: source('docs.cloud.google.com, vertex-ai/generative-ai/docs/models/imagen, unverified'),
    lifecycle: source('firebase.google.com/docs/ai-logic/imagen-models-migration'),
    price: UNVERIFIED_PRICE,
  },
} as const satisfies Partial<Model>;

/** Google's present recommendation draws for all that are gone; at about the price of the cheaper ones. */
function retired(frames: readonly Frame[]): Lifecycle {
  return {
    shutdownAt: '2026-08-17',
    successor: {
      slug: 'google/nano-banana-2.1',
      serves: true,
      sizes: translatedSizes(frames, FRAMES.nanoBanana21),
    },
  };
}

type Differences = Pick<Model, 'slug' | 'upstreamId' | 'displayName'> & Partial<Model>;

function imagen(frames: readonly Frame[], differences: Differences): GoogleModel {
  const sizes: SizeRule = { kind: 'list', values: sizesOf(frames), default: SQUARE };
  return {
    rpc: 'predict',
    frames,
    takesImageSize: frames === FRAMES.imagen,
    model: { ...IMAGEN, sizes, price: undefined, lifecycle: retired(frames), ...differences },
  };
}

const IMAGEN_MODELS: readonly GoogleModel[] = [
  imagen(FRAMES.imagen1K, {
    slug: 'google/imagen-3',
    upstreamId: 'imagen-3.0-generate-002',
    displayName: 'Imagen 3',
    price: dollars(0.04),
  }),
  imagen(FRAMES.imagen1K, {
    slug: 'google/imagen-4-fast',
    upstreamId: 'imagen-4.0-fast-generate-001',
    displayName: 'Imagen 4 Fast',
    price: dollars(0.02),
  }),
  imagen(FRAMES.imagen, {
    slug: 'google/imagen-4',
    upstreamId: 'imagen-4.0-generate-001',
    displayName: 'Imagen 4',
    price: dollars(0.04),
  }),
  imagen(FRAMES.imagen, {
    slug: 'google/imagen-4-ultra',
    upstreamId: 'imagen-4.0-ultra-generate-001',
    displayName: 'Imagen 4 Ultra',
    price: dollars(0.06),
  }),
];

const GEMINI = {
  operations: ['generate', 'edit'],
  formats: ['png', 'jpeg'],
  qualities: [],
  styles: [],
  backgrounds: [],
  // One picture an answer, whatever the prompt says.
  maxImages: 1,
  // A bound of ours: the contexts hold more.
  maxPromptLength: 32_000,
  maxInputs: 14,
  inputFormats: ['png', 'jpeg', 'webp'],
  maxPreviews: 0,
  // `seed` is refused by the newest of them and promises nothing in the others.
  features: [],
  metadataKeys: [],
  defaultResponseFormat: 'url',
} as const satisfies Partial<Model>;

const GEMINI_SOURCES = {
  sizes: GEMINI_DOCS,
  lifecycle: LIFECYCLE_DOCS,
  maxInputs: GEMINI_DOCS,
  inputFormats: source('ai.google.dev/gemini-api/docs/image-understanding, supported image formats'),
} as const;

/** Nobody publishes a bound on thinking; what is reported is up to some 900 for the dearest model. */
const THINKING_TOKENS = 8_192;

/** An input picture at the default resolution of Gemini 3. */
const GEMINI_3_INPUT_TOKENS = 1_120;

function gemini(frames: readonly Frame[], differences: Differences): GoogleModel {
  const sizes: SizeRule = { kind: 'list', values: sizesOf(frames), default: 'auto' };
  return {
    rpc: 'generateContent',
    frames,
    takesImageSize: new Set(frames.map(({ imageSize }) => imageSize)).size > 1,
    model: { ...GEMINI, sizes, price: undefined, sources: GEMINI_SOURCES, ...differences },
  };
}

const GEMINI_MODELS: readonly GoogleModel[] = [
  gemini(FRAMES.gemini25, {
    slug: 'google/gemini-2.5-flash-image',
    upstreamId: 'gemini-2.5-flash-image',
    displayName: 'Gemini 2.5 Flash Image (Nano Banana)',
    maxInputs: 3,
    price: geminiPrice(FRAMES.gemini25, {
      rates: { textIn: dollars(0.3), imageIn: dollars(0.3), imageOut: dollars(30), textOut: dollars(2.5) },
      pictureTokens: { '1K': 1_290 },
      textTokens: 1_024,
      inputImageTokens: 1_290,
    }),
    lifecycle: {
      // The day of the first list that is sure to name its end.
      deprecatedAt: '2026-09-02',
      shutdownAt: '2027-03-15',
      successor: {
        slug: 'google/gemini-3.1-flash-lite-image',
        serves: true,
        sizes: translatedSizes(FRAMES.gemini25, FRAMES.gemini3At1K),
      },
    },
    sources: { ...GEMINI_SOURCES, price: source('github.com/pydantic/genai-prices/pull/177') },
  }),
  gemini(FRAMES.gemini3At1K, {
    slug: 'google/gemini-3.1-flash-lite-image',
    upstreamId: 'gemini-3.1-flash-lite-image',
    displayName: 'Gemini 3.1 Flash-Lite Image (Nano Banana 2 Lite)',
    price: geminiPrice(FRAMES.gemini3At1K, {
      rates: { textIn: dollars(0.25), imageIn: dollars(0.25), imageOut: dollars(30), textOut: dollars(1.5) },
      pictureTokens: { '1K': 1_120 },
      // It writes 4,096 tokens at most, those of the picture among them.
      textTokens: 2_976,
      inputImageTokens: GEMINI_3_INPUT_TOKENS,
    }),
    sources: {
      ...GEMINI_SOURCES,
      price: source('github.com/BerriAI/litellm/issues/31945'),
      // Measured there: any image size but 1K is answered with 400, whatever the documentation says.
      imageSize: source('github.com/pollinations/pollinations/pull/12132'),
    },
  }),
  gemini(FRAMES.gemini31, {
    slug: 'google/gemini-3.1-flash-image',
    upstreamId: 'gemini-3.1-flash-image',
    displayName: 'Gemini 3.1 Flash Image (Nano Banana 2)',
    price: geminiPrice(FRAMES.gemini31, {
      rates: { textIn: dollars(0.5), imageIn: dollars(0.5), imageOut: dollars(60), textOut: dollars(3) },
      pictureTokens: { '512': 747, '1K': 1_120, '2K': 1_680, '4K': 2_520 },
      textTokens: THINKING_TOKENS,
      inputImageTokens: GEMINI_3_INPUT_TOKENS,
    }),
    sources: {
      ...GEMINI_SOURCES,
      // The Gemini API dropped it on 2026-10-29; here it is promised until 2027-05-28 or later.
      lifecycle: LIFECYCLE_DOCS,
      price: source('lumenfall.ai, gemini-3.1-flash-image-preview; github.com/HeyPuter/puter/pull/2562'),
    },
  }),
  gemini(FRAMES.gemini3, {
    slug: 'google/gemini-3-pro-image',
    upstreamId: 'gemini-3-pro-image',
    displayName: 'Gemini 3 Pro Image (Nano Banana Pro)',
    price: geminiPrice(FRAMES.gemini3, {
      rates: { textIn: dollars(2), imageIn: dollars(2), imageOut: dollars(120), textOut: dollars(12) },
      pictureTokens: { '1K': 1_120, '2K': 1_120, '4K': 2_000 },
      textTokens: THINKING_TOKENS,
      inputImageTokens: GEMINI_3_INPUT_TOKENS,
    }),
    sources: {
      ...GEMINI_SOURCES,
      price: source('github.com/HeyPuter/puter/pull/2501; rates of text unverified'),
      tokens: source('discuss.ai.google.dev/t/121299'),
    },
  }),
  gemini(FRAMES.nanoBanana21, {
    slug: 'google/nano-banana-2.1',
    upstreamId: 'gemini-nano-banana-2.1',
    displayName: 'Nano Banana 2.1',
    price: geminiPrice(FRAMES.nanoBanana21, {
      rates: { textIn: dollars(1.5), imageIn: dollars(1.5), imageOut: dollars(30), textOut: dollars(7.5) },
      // Known for 1K; the others are those of its predecessor.
      pictureTokens: { '1K': 1_120, '2K': 1_680, '4K': 2_520 },
      textTokens: THINKING_TOKENS,
      inputImageTokens: GEMINI_3_INPUT_TOKENS,
    }),
    sources: { ...GEMINI_SOURCES, price: source('github.com/BerriAI/litellm/discussions/44983') },
  }),
];

/** Every model, oldest first. Retired ones stay: private deployments may still have them. */
export const GOOGLE_MODELS: readonly GoogleModel[] = [...IMAGEN_MODELS, ...GEMINI_MODELS];

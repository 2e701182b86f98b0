/** Models of Stable Diffusion as data: what a server of one's own draws, and what Stability hosts. */
import type { MicroUsd, Size } from '../core/image.js';
import type { Model, Source } from '../core/provider.js';
import { ConfigError } from '../errors.js';

/** A model, and how a server is told to draw with it. */
export interface DiffusionRow {
  /** What the router is told. */
  readonly model: Model;
  /** The checkpoint or model id to ask for; `undefined` draws with whatever the server has loaded. */
  readonly checkpoint: string | undefined;
  /** The last part of Stability's path; `undefined` for a server of one's own. */
  readonly endpoint?: 'core' | 'ultra' | 'sd3' | undefined;
}

/**
 * A model on offer: what differs from a row of the table. A `price` other than 0 says that somebody charges, and that a
 * failure may have been billed.
 */
export type ModelOffer = {
  /**
   * The row's name: `sd-xl`; at Stability `core`, `ultra`, `sd3.5-large`, `sd3.5-large-turbo` or `sd3.5-medium`.
   * @defaultValue `'sd-xl'`; must be given at Stability
   */
  readonly like?: string | undefined;
  /**
   * What to draw with: a checkpoint of an `sdapi` server (title, model name or file), which is looked up there before
   * it is used; the model's id elsewhere.
   * @defaultValue whatever the server has loaded; the row's own at Stability
   */
  readonly checkpoint?: string | undefined;
} & { readonly [Field in Exclude<keyof Model, 'upstreamId' | 'metadataKeys'>]?: Model[Field] | undefined };

function source(from: string): Source {
  return { from, date: '2026-11-22' };
}

/** Sizes from their names. */
function sizes(names: string): readonly Size[] {
  return names.split(' ').map((name) => {
    const [width = 0, height = 0] = name.split('x').map(Number);
    return { width, height };
  });
}

const SQUARE: Size = { width: 1024, height: 1024 };

const COMMON = {
  qualities: [],
  backgrounds: [],
  maxImages: 1,
  maxPromptLength: 10_000,
  maxPreviews: 0,
  metadataKeys: [],
  defaultResponseFormat: 'url',
} as const satisfies Partial<Model>;

const SD_XL: DiffusionRow = {
  checkpoint: undefined,
  model: {
    ...COMMON,
    slug: 'stability/sd-xl',
    upstreamId: 'sd-xl',
    displayName: 'Stable Diffusion XL',
    operations: ['generate', 'edit'],
    sizes: {
      kind: 'list',
      values: sizes('1024x1024 1152x896 896x1152 1216x832 832x1216 1344x768 768x1344 1536x640 640x1536'),
      default: SQUARE,
    },
    // The server's own setting decides on the format; nothing in a request does.
    formats: ['png'],
    styles: [],
    maxInputs: 1,
    // sd-server draws from words alone, without a murmur, where it cannot read a picture.
    inputFormats: ['png', 'jpeg'],
    maskFormats: ['png'],
    features: ['seed', 'negative_prompt', 'mask'],
    price: 0,
    sources: {
      sizes: source('sizes of the SDXL 1.0 engine'),
      maxImages: source('such servers draw one picture at a time; KoboldCpp returns no more than one'),
      maxPromptLength: source(
        "ours, equal to Stability's: servers cut prompts into chunks and state no limit",
      ),
    },
  },
};

/** Stability's aspect ratios, each with pixels of about that shape and one million in all. */
export const ASPECT_RATIOS: Readonly<Record<string, Size>> = {
  '1:1': SQUARE,
  '5:4': { width: 1088, height: 896 },
  '4:5': { width: 896, height: 1088 },
  '3:2': { width: 1216, height: 832 },
  '2:3': { width: 832, height: 1216 },
  '16:9': { width: 1344, height: 768 },
  '9:16': { width: 768, height: 1344 },
  '21:9': { width: 1536, height: 640 },
  '9:21': { width: 640, height: 1536 },
};

const STYLE_PRESETS: readonly string[] = (
  '3d-model analog-film anime cinematic comic-book digital-art enhance fantasy-art isometric line-art low-poly ' +
  'modeling-compound neon-punk origami photographic pixel-art tile-texture'
).split(' ');

const HOSTED = {
  ...COMMON,
  operations: ['generate'],
  sizes: { kind: 'list', values: Object.values(ASPECT_RATIOS), default: SQUARE },
  formats: ['png', 'jpeg', 'webp'],
  styles: STYLE_PRESETS,
  maxInputs: 0,
  features: ['seed', 'negative_prompt'],
  sources: {
    fields: source('api-evangelist/stability-ai, OpenAPI'),
    styles: source("ComfyUI's nodes for Stability, comfy_api_nodes/apis/stability_api.py"),
    sizes: source(
      "the ratios are Stability's; the pixels those SD3 is known for, the router fits what comes",
    ),
    price: source('developer.puter.com, credits at a cent each'),
  },
} as const satisfies Partial<Model>;

const SD3 = {
  ...HOSTED,
  // From one picture, without a mask: inpainting is a service of its own there, drawn by a model nobody names.
  operations: ['generate', 'edit'],
  maxInputs: 1,
  formats: ['png', 'jpeg'],
  sources: { ...HOSTED.sources, edits: source('stability-ai 0.7.0, dist/v2beta/stable-image/generate.d.ts') },
} as const satisfies Partial<Model>;

/** Stability sells credits at a cent. */
function credits(amount: number): MicroUsd {
  return Math.round(amount * 10_000) as MicroUsd;
}

type Differences = Pick<Model, 'displayName' | 'price'> & Partial<Model>;

/** A model with an endpoint of its own, by whose name it goes. */
function stableImage(endpoint: 'core' | 'ultra', differences: Differences): DiffusionRow {
  const model = { ...HOSTED, slug: `stability/${endpoint}`, upstreamId: endpoint, ...differences };
  return { model, checkpoint: undefined, endpoint };
}

/** A model of the endpoint that draws with several and is told which. */
function sd3(upstreamId: string, differences: Differences): DiffusionRow {
  const model = { ...SD3, slug: `stability/${upstreamId}`, upstreamId, ...differences };
  return { model, checkpoint: upstreamId, endpoint: 'sd3' };
}

const HOSTED_ROWS: readonly DiffusionRow[] = [
  stableImage('core', { displayName: 'Stable Image Core', price: credits(3) }),
  stableImage('ultra', { displayName: 'Stable Image Ultra', price: credits(8) }),
  sd3('sd3.5-large', { displayName: 'Stable Diffusion 3.5 Large', price: credits(6.5) }),
  sd3('sd3.5-large-turbo', {
    displayName: 'Stable Diffusion 3.5 Large Turbo',
    features: ['seed'],
    price: credits(4),
  }),
  sd3('sd3.5-medium', { displayName: 'Stable Diffusion 3.5 Medium', price: credits(3.5) }),
];

/** What decides on the models of one `stableDiffusion()`. */
export interface OfferOptions {
  /** Whether Stability draws. */
  readonly hosted: boolean;
  /** The host's offers; all rows when `undefined`. */
  readonly offers: readonly ModelOffer[] | undefined;
  /** The `metadata` keys that steer. */
  readonly metadataKeys: readonly string[];
}

/** Makes the rows by slug. Throws a `ConfigError` for an offer that cannot be one. */
export function diffusionRows({
  hosted,
  offers,
  metadataKeys,
}: OfferOptions): ReadonlyMap<string, DiffusionRow> {
  const table = hosted ? HOSTED_ROWS : [SD_XL];
  const rows =
    offers?.map((offer, place) => rowOf(offer, { table, path: `stableDiffusion.models[${place}]` })) ?? table;
  const bySlug = new Map<string, DiffusionRow>();
  rows.forEach((row, place) => {
    const { slug } = row.model;
    const path = `stableDiffusion.models[${place}].slug`;
    if (!/^[a-z0-9][a-z0-9._-]*\/[a-z0-9][a-z0-9._:-]*$/.test(slug)) {
      throw new ConfigError(path, 'must be vendor/name in lower case');
    }
    if (bySlug.has(slug)) throw new ConfigError(path, `"${slug}" is on offer twice`);
    bySlug.set(slug, { ...row, model: { ...row.model, metadataKeys } });
  });
  return bySlug;
}

function rowOf(
  { like, checkpoint, ...changes }: ModelOffer,
  { table, path }: { readonly table: readonly DiffusionRow[]; readonly path: string },
): DiffusionRow {
  const lone = table.length === 1 ? table[0] : undefined;
  const base = like === undefined ? lone : table.find(({ model }) => model.upstreamId === like);
  if (base === undefined) {
    throw new ConfigError(
      `${path}.like`,
      `must be one of ${table.map(({ model }) => model.upstreamId).join(', ')}`,
    );
  }
  // Line ends and the like belong into no file name, header or log.
  if (checkpoint !== undefined && !(typeof checkpoint === 'string' && /^[\P{C}]{1,256}$/u.test(checkpoint))) {
    throw new ConfigError(`${path}.checkpoint`, 'must be a name without control characters');
  }
  const given = Object.fromEntries(Object.entries(changes).filter(([, value]) => value !== undefined));
  const model: Model = { ...base.model, ...given, upstreamId: checkpoint ?? base.model.upstreamId };
  if (base.endpoint !== undefined && model.maxImages !== 1) {
    throw new ConfigError(`${path}.maxImages`, 'must be 1: Stability draws one picture a call');
  }
  return { ...base, model, checkpoint: checkpoint ?? base.checkpoint };
}

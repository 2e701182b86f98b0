/** The options of the media proxy that say which versions of pictures may be asked for. */
import type { ImageFormat } from './core/image.js';
import type { Transforms } from './core/variant.js';
import { ConfigError } from './errors.js';
import { checkChoice, checkWhole, withDefaults } from './option-checks.js';

/**
 * Which versions of pictures may be asked for. Links do not sign what is on these lists, so whoever has one may have
 * each combination made once: short lists are cheap lists. An empty one forbids the parameter.
 */
export interface TransformOptions {
  /** Widths (`w`) in pixels. @defaultValue `[64, 128, 256, 384, 512, 640, 768, 1024, 1280, 1536, 2048]` */
  readonly widths?: readonly number[] | undefined;
  /** Heights (`h`) in pixels. @defaultValue the same */
  readonly heights?: readonly number[] | undefined;
  /** Formats (`format`); without WebP and AVIF `auto` never chooses them. @defaultValue all four */
  readonly formats?: readonly ImageFormat[] | undefined;
  /** Qualities (`q`), 1 (smallest) to 100 (best). @defaultValue `[50, 75, 90]` */
  readonly qualities?: readonly number[] | undefined;
}

const FORMATS = ['png', 'jpeg', 'webp', 'avif'] as const satisfies readonly ImageFormat[];
const SIDES = [64, 128, 256, 384, 512, 640, 768, 1024, 1280, 1536, 2048];
const DEFAULTS: Transforms = { widths: SIDES, heights: SIDES, formats: FORMATS, qualities: [50, 75, 90] };
const NONE: Transforms = { widths: [], heights: [], formats: [], qualities: [] };

// WebP's largest side; pictures are smaller anyway.
const MAX_SIDE = 16_383;
const MAX_QUALITY = 100;

/** Checks the option and fills in the defaults; `false` allows nothing. Throws `ConfigError`. */
export function resolveTransforms(options: TransformOptions | false | undefined, path: string): Transforms {
  if (options === false) return NONE;
  const transforms = withDefaults(DEFAULTS, options, path);
  const each = (name: keyof Transforms, check: (value: unknown, at: string) => void) => {
    const list: unknown = transforms[name];
    if (!Array.isArray(list)) throw new ConfigError(`${path}.${name}`, 'expected a list');
    list.forEach((value, place) => {
      check(value, `${path}.${name}[${place}]`);
    });
  };
  each('widths', (value, at) => checkWhole(value, at, MAX_SIDE));
  each('heights', (value, at) => checkWhole(value, at, MAX_SIDE));
  each('formats', (value, at) => checkChoice(value, at, FORMATS));
  each('qualities', (value, at) => checkWhole(value, at, MAX_QUALITY));
  return transforms;
}

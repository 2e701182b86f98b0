/**
 * Google draws no pixels one could name: it takes an aspect ratio and, on most models, an image size. The tables
 * here say which pixels come of that, and which of them to ask for to get `WxH`.
 */
import type { Size } from '../core/image.js';

/** Google's own words for how large a picture is. */
export type ImageSize = '512' | '1K' | '2K' | '4K';

/** What Google can be asked for, and the pixels it then draws. */
export interface Frame {
  /** As Google writes it: `16:9`. */
  readonly aspectRatio: string;
  /** How large. */
  readonly imageSize: ImageSize;
  /** What comes back, as documented. */
  readonly size: Size;
}

/** Pixels at `1K` by aspect ratio. */
type Shapes = Readonly<Record<string, readonly [width: number, height: number]>>;

/** Every other image size is `1K` times this. */
const FACTORS = { '512': 0.5, '1K': 1, '2K': 2, '4K': 4 } as const satisfies Record<ImageSize, number>;

function framesOf(shapes: Shapes, imageSizes: readonly ImageSize[]): readonly Frame[] {
  return Object.entries(shapes).flatMap(([aspectRatio, [width, height]]) =>
    imageSizes.map((imageSize) => {
      const factor = FACTORS[imageSize];
      return { aspectRatio, imageSize, size: { width: width * factor, height: height * factor } };
    }),
  );
}

const IMAGEN_SHAPES: Shapes = {
  '1:1': [1024, 1024],
  '3:4': [896, 1280],
  '4:3': [1280, 896],
  '9:16': [768, 1408],
  '16:9': [1408, 768],
};

const GEMINI_2_5_SHAPES: Shapes = {
  '1:1': [1024, 1024],
  '2:3': [832, 1248],
  '3:2': [1248, 832],
  '3:4': [864, 1184],
  '4:3': [1184, 864],
  '4:5': [896, 1152],
  '5:4': [1152, 896],
  '9:16': [768, 1344],
  '16:9': [1344, 768],
  '21:9': [1536, 672],
};

const GEMINI_3_SHAPES: Shapes = {
  '1:1': [1024, 1024],
  '2:3': [848, 1264],
  '3:2': [1264, 848],
  '3:4': [896, 1200],
  '4:3': [1200, 896],
  '4:5': [928, 1152],
  '5:4': [1152, 928],
  '9:16': [768, 1376],
  '16:9': [1376, 768],
  '21:9': [1584, 672],
};

const EXTREME_SHAPES: Shapes = {
  '1:4': [512, 2048],
  '4:1': [2048, 512],
  '1:8': [384, 3072],
  '8:1': [3072, 384],
};

type Family = 'imagen1K' | 'imagen' | 'gemini25' | 'gemini3At1K' | 'gemini3' | 'gemini31' | 'nanoBanana21';

/** What each family of models draws. */
export const FRAMES: Readonly<Record<Family, readonly Frame[]>> = {
  imagen1K: framesOf(IMAGEN_SHAPES, ['1K']),
  imagen: framesOf(IMAGEN_SHAPES, ['1K', '2K']),
  gemini25: framesOf(GEMINI_2_5_SHAPES, ['1K']),
  gemini3: framesOf(GEMINI_3_SHAPES, ['1K', '2K', '4K']),
  gemini3At1K: framesOf(GEMINI_3_SHAPES, ['1K']),
  gemini31: [
    ...framesOf({ ...GEMINI_3_SHAPES, ...EXTREME_SHAPES }, ['1K', '2K', '4K']),
    // Without 21:9, which at 512 is documented as 792x168: either a slip, or another shape than its name says.
    ...framesOf({ ...GEMINI_3_SHAPES, ...EXTREME_SHAPES }, ['512']).filter(
      ({ aspectRatio }) => aspectRatio !== '21:9',
    ),
  ],
  nanoBanana21: framesOf({ ...GEMINI_3_SHAPES, ...EXTREME_SHAPES }, ['1K', '2K', '4K']),
};

// The router cuts a picture to the exact pixels when its shape is at most a twentieth off.
const MAX_SHAPE_FACTOR = 1.049;

// A picture enlarged by a tenth shows nothing of it; the next image size costs half as much again, and more.
const MAX_ENLARGEMENT = 1.1;

/**
 * What to ask for to get pixels of this size: the nearest shape, and in it the smallest image size that need not be
 * enlarged. `undefined` when no shape is near or all are too small.
 */
export function frameFor(size: Size, frames: readonly Frame[]): Frame | undefined {
  const [nearest] = frames
    .map((frame) => ({ frame, off: shapeFactor(frame.size, size) }))
    .filter(({ off }) => off <= MAX_SHAPE_FACTOR)
    .sort((a, b) => a.off - b.off);
  return frames
    .filter(({ aspectRatio }) => aspectRatio === nearest?.frame.aspectRatio)
    .sort((a, b) => a.size.width - b.size.width)
    .find((frame) => enlargement(frame.size, size) <= MAX_ENLARGEMENT);
}

/** One shape divided by the other, the larger by the smaller. */
function shapeFactor(a: Size, b: Size): number {
  const factor = (a.width * b.height) / (a.height * b.width);
  return Math.max(factor, 1 / factor);
}

function enlargement(from: Size, to: Size): number {
  return Math.max(to.width / from.width, to.height / from.height);
}

/** What clients of other image APIs ask for out of habit. */
const HABITUAL_SIZES: readonly Size[] = [
  { width: 1536, height: 1024 },
  { width: 1024, height: 1536 },
  { width: 1792, height: 1024 },
  { width: 1024, height: 1792 },
];

/** The sizes a model of these frames can be asked for: its own, and the habitual ones it can be cut to. */
export function sizesOf(frames: readonly Frame[]): readonly Size[] {
  const habitual = HABITUAL_SIZES.filter((size) => frameFor(size, frames) !== undefined);
  return [...frames.map(({ size }) => size), ...habitual];
}

/** Sizes of one model as another draws them, where the other cannot be asked for them as they are. */
export function translatedSizes(
  from: readonly Frame[],
  to: readonly Frame[],
): Readonly<Record<string, string>> {
  const known = new Set(sizesOf(to).map(sizeName));
  const pairs = sizesOf(from).flatMap((size) => {
    const frame = known.has(sizeName(size)) ? undefined : frameFor(size, to);
    return frame === undefined ? [] : [[sizeName(size), sizeName(frame.size)] as const];
  });
  return Object.fromEntries(pairs);
}

/** `WxH`. */
export function sizeName({ width, height }: Size): string {
  return `${width}x${height}`;
}

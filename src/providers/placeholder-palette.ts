/** The chance and the colours of one picture. */
import { createHash } from 'node:crypto';

/** Uniform numbers in [0, 1). */
export type Random = () => number;

/** Repeatable numbers for a text: mulberry32, seeded by a hash. */
export function randomFrom(text: string): Random {
  let state = createHash('sha256').update(text).digest().readUInt32LE();
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** OKLCH as a CSS hex colour, clipped to sRGB. In OKLCH equal steps look equal, so any hue makes a calm palette. */
function colour(lightness: number, chroma: number, hue: number): string {
  const a = chroma * Math.cos((hue * Math.PI) / 180);
  const b = chroma * Math.sin((hue * Math.PI) / 180);
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
  const channels = [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ];
  const hex = channels.map((linear) => {
    const bounded = Math.min(1, Math.max(0, linear));
    const encoded = bounded <= 0.0031308 ? 12.92 * bounded : 1.055 * bounded ** (1 / 2.4) - 0.055;
    return Math.round(encoded * 255)
      .toString(16)
      .padStart(2, '0');
  });
  return `#${hex.join('')}`;
}

/** The colours of one picture, all derived from one hue. */
export interface Palette {
  /** A dark sky with stars rather than a bright one with birds. */
  readonly night: boolean;
  /** The sky overhead. */
  readonly skyTop: string;
  /** The sky between. */
  readonly skyMiddle: string;
  /** The sky at the horizon. */
  readonly skyLow: string;
  /** Sun or moon, and the stars. */
  readonly sun: string;
  /** Shadows: behind letters, and birds. */
  readonly ink: string;
  /** The colour of a ridge at `depth`, from 0 (far) to 1 (near). */
  ridge(depth: number): string;
}

/** Chooses the colours: vivid or muted. */
export function paletteFrom(random: Random, vivid: boolean): Palette {
  const strength = vivid ? 1 : 0.5;
  // From teal over blue and violet to orange: skies of the hues between are murky.
  const hue = 170 + random() * 230;
  const warm = hue + (random() < 0.5 ? -1 : 1) * (50 + random() * 50);
  const night = random() < 0.4;
  const at = (lightness: number, chroma: number, angle: number) =>
    colour(lightness, chroma * strength, angle);
  const far = night ? 0.56 : 0.8;
  const near = night ? 0.17 : 0.25;
  return {
    night,
    skyTop: night ? at(0.27, 0.09, hue) : at(0.74, 0.11, hue),
    skyMiddle: night ? at(0.46, 0.12, (hue + warm) / 2) : at(0.86, 0.08, (hue + warm) / 2),
    skyLow: night ? at(0.76, 0.13, warm) : at(0.94, 0.06, warm),
    sun: night ? at(0.95, 0.05, warm) : at(0.985, 0.03, warm),
    ink: at(near * 0.75, 0.05, hue),
    ridge: (depth) =>
      at(
        far + (near - far) * depth ** 0.85,
        0.075 + 0.045 * Math.sin(depth * Math.PI),
        warm + (hue - warm) * depth,
      ),
  };
}

/** PNGs of a given weight, the same on every machine: gradients with the grain that makes photographs heavy. */
import sharp from 'sharp';

/** What the upstream can draw, by the word a prompt begins with: how heavy, and how much of it has grain. */
export const PHOTOGRAPHS = {
  photo: { weight: 1_600_000, grained: 1 },
  middle: { weight: 50_000, grained: 1 / 32 },
  small: { weight: 24_000, grained: 1 / 64 },
} as const;

/** Which of them. */
export type Photograph = keyof typeof PHOTOGRAPHS;

const EDGE = 1024;
const MAX_GRAIN = 64;

/** Draws a photograph of 1024x1024 pixels whose weight is off by less than two percent. */
export async function drawPhotograph(name: Photograph): Promise<Buffer> {
  const { weight, grained } = PHOTOGRAPHS[name];
  let [low, high] = [0, MAX_GRAIN];
  for (;;) {
    const grain = (low + high) / 2;
    const png = await encode(pixels(grain, grained));
    if (Math.abs(png.length - weight) < weight * 0.02) return png;
    if (png.length < weight) low = grain;
    else high = grain;
    if (high - low < 1e-6) throw new Error(`no grain makes a picture of ${weight} bytes`);
  }
}

function encode(data: Buffer): Promise<Buffer> {
  const raw = { width: EDGE, height: EDGE, channels: 3 } as const;
  return sharp(data, { raw }).png({ adaptiveFiltering: true }).toBuffer();
}

function pixels(grain: number, grained: number): Buffer {
  const data = Buffer.alloc(EDGE * EDGE * 3);
  const random = createRandom(1);
  for (let y = 0; y < EDGE; y += 1) {
    for (let x = 0; x < EDGE; x += 1) {
      // Grain of film hits all colours alike, more or less.
      const bright = y >= EDGE * grained ? 0 : grain * (random() + random() + random() - 1.5);
      const at = (y * EDGE + x) * 3;
      data[at] = shade(40 + (y / EDGE) * 160 + bright);
      data[at + 1] = shade(60 + (y / EDGE) * 120 + bright);
      data[at + 2] = shade(200 - (y / EDGE) * 140 + bright);
    }
  }
  return data;
}

function shade(value: number): number {
  return Math.max(0, Math.min(255, Math.round(value)));
}

/** Mulberry32: small, fast, and the same everywhere. */
function createRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

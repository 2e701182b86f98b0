/** Ordinary pictures for tests, and the means to take PNGs apart and put them together. */
import { randomBytes } from 'node:crypto';
import { crc32 } from 'node:zlib';
import sharp, { type Sharp } from 'sharp';
import type { ImageFormat, Size } from '../../src/core/image.js';
import { type LoosePart, putTogether } from './container-parts.js';

/** A picture with something to see: a gradient with a bright corner, different in every row and column. */
export function drawing({ width, height }: Size): Sharp {
  const pixels = Buffer.alloc(width * height * 3);
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const at = (y * width + x) * 3;
      const isCorner = x < width / 4 && y < height / 4;
      pixels[at] = isCorner ? 255 : Math.round((x / width) * 200);
      pixels[at + 1] = Math.round((y / height) * 200);
      pixels[at + 2] = isCorner ? 255 : 60;
    }
  }
  return sharp(pixels, { raw: { width, height, channels: 3 } });
}

/** {@link drawing}, encoded. */
export function picture(format: ImageFormat, size: Size = { width: 64, height: 64 }): Promise<Buffer> {
  return drawing(size)
    .toFormat(format, format === 'avif' ? { effort: 0 } : {})
    .toBuffer();
}

/** A square PNG of noise, which no encoder makes small. */
export function noise(edge: number): Promise<Buffer> {
  const grain = { type: 'gaussian', mean: 128, sigma: 60 } as const;
  const create = { width: edge, height: edge, channels: 3, background: 'black', noise: grain } as const;
  return sharp({ create }).png().toBuffer();
}

/** A square PNG of random pixels that was not compressed: three bytes for each of them, and no encoder makes it small. */
export function hugeNoise(edge: number): Promise<Buffer> {
  const raw = { width: edge, height: edge, channels: 3 } as const;
  return sharp(randomBytes(edge * edge * 3), { raw })
    .png({ compressionLevel: 0 })
    .toBuffer();
}

/** {@link drawing} as each kind of PNG that is not eight bits of RGB, row by row; each with its name. */
export function unusualPngs(size: Size): Promise<[kind: string, bytes: Buffer][]> {
  const kinds = {
    '16 bits': drawing(size).toColourspace('rgb16').png(),
    palette: drawing(size).png({ palette: true }),
    interlaced: drawing(size).png({ progressive: true }),
    grey: drawing(size).toColourspace('b-w').png(),
    'with transparency': drawing(size).ensureAlpha(0.5).png(),
  };
  return Promise.all(
    Object.entries(kinds).map(async ([kind, image]) => [kind, await image.toBuffer()] as [string, Buffer]),
  );
}

/** A PNG chunk with its checksum. */
export function pngChunk(type: string, body: Uint8Array): Buffer {
  const chunk = Buffer.alloc(12 + body.length);
  chunk.writeUInt32BE(body.length, 0);
  chunk.write(type, 4, 'latin1');
  chunk.set(body, 8);
  chunk.writeUInt32BE(crc32(chunk.subarray(4, 8 + body.length)), 8 + body.length);
  return chunk;
}

/** The header chunk of an RGB PNG with eight bits per colour. */
export function pngHeader({ width, height }: Size): Buffer {
  const body = Buffer.alloc(13);
  body.writeUInt32BE(width, 0);
  body.writeUInt32BE(height, 4);
  body.set([8, 2], 8);
  return pngChunk('IHDR', body);
}

/** A PNG with more chunks after its header. */
export function withPngChunks(png: Buffer, chunks: readonly Buffer[]): Buffer {
  const headerEnd = 33;
  return Buffer.concat([png.subarray(0, headerEnd), ...chunks, png.subarray(headerEnd)]);
}

/** A PNG without its end chunk. */
export function withoutPngEnd(png: Buffer): Buffer {
  return png.subarray(0, png.length - 12);
}

/**
 * A grey JPEG, eight pixels wide, of flat blocks with a restart marker between each two, which sharp cannot write. Its
 * codes are the shortest there are, so that every block is one byte.
 */
export function restartedJpeg(blocks: number): Buffer {
  const table = (kind: number, symbol: number) => [kind, 1, ...Array(15).fill(0), symbol];
  const scan = Array.from({ length: blocks }, (_, block) => {
    // A code of one bit, five bits of brightness, a code of one bit for the end, one bit to fill the byte.
    const bytes = [((16 + (block % 16)) << 2) | 1];
    return block === blocks - 1 ? bytes : [...bytes, 0xff, 0xd0 + (block % 8)];
  });
  const height = 8 * blocks;
  const segments: readonly (readonly [marker: number, body: readonly number[]])[] = [
    [0xdb, [0, ...Array(64).fill(4)]],
    [0xc0, [8, height >> 8, height & 0xff, 0, 8, 1, 1, 0x11, 0]],
    [0xc4, [...table(0x00, 5), ...table(0x10, 0)]],
    [0xdd, [0, 1]],
    [0xda, [1, 1, 0, 0, 63, 0, ...scan.flat()]],
  ];
  const parts = segments.map(
    ([marker, body]): LoosePart => ({ type: String.fromCharCode(marker), body: Buffer.from(body) }),
  );
  return putTogether('jpeg', parts);
}

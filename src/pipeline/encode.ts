/** Encoder settings: what they cost decides them (CPU milliseconds for a photographic megapixel in parentheses). */
import { hash } from 'node:crypto';
import sharp, { type Sharp } from 'sharp';
import type { ImageFormat } from '../core/image.js';
import { giveBack } from '../core/memory.js';
import { markPng } from './png.js';
import { PROVENANCE_XMP } from './provenance.js';

/** What to encode to. */
export interface EncodeSettings {
  /** Format of the result. */
  readonly format: ImageFormat;
  /** 0 (smallest) to 100 (best); `undefined` takes the format's default. PNG, which loses nothing, ignores it. */
  readonly compression: number | undefined;
}

const ENCODERS = {
  // Without adaptive filtering (90) a photograph grows by two thirds. Never a palette: it takes seconds.
  png: (image) => image.png({ adaptiveFiltering: true }), // (115)
  jpeg: (image, quality = 90) =>
    image
      .flatten({ background: 'white' })
      // Halved colour blurs red lettering, which shows where little else does. (50, else 40; mozjpeg 160)
      .jpeg({ quality, chromaSubsampling: quality >= 90 ? '4:4:4' : '4:2:0' }),
  // (70; effort 2 80 for an eighth less, the default effort 150)
  webp: (image, quality = 85) => image.webp({ quality, effort: 2 }),
  // (110; full colour 210, effort 2 640, the default effort 2,600)
  avif: (image, quality = 60) => image.avif({ quality, effort: 0, chromaSubsampling: '4:2:0' }),
} as const satisfies Record<ImageFormat, (image: Sharp, quality: number | undefined) => Sharp>;

/**
 * Encodes a picture: as sRGB with eight bits, without any metadata of its source, with the mark that a machine made
 * it. What is transparent becomes white in JPEG, which has no transparency. The bytes are nobody else's.
 */
export async function encodePicture(image: Sharp, settings: EncodeSettings): Promise<Uint8Array> {
  // sharp counts quality from 1.
  const quality = settings.compression === undefined ? undefined : Math.max(1, settings.compression);
  const encoder = ENCODERS[settings.format](image, quality);
  // sharp would compress the mark into a chunk where readers of XMP do not look.
  const isPng = settings.format === 'png';
  // Memory of `toBuffer` cannot be given back: it stays until V8 collects everything.
  const { data } = await (isPng ? encoder : encoder.withXmp(PROVENANCE_XMP)).toUint8Array();
  if (!isPng) return data;
  const marked = markPng(data);
  giveBack(data);
  return marked;
}

// To be counted up with every change above that changes bytes.
const SETTINGS_VERSION = 1;

/**
 * Eight hex digits that stand for whatever decides the bytes of an encoded picture beside the picture and its quality:
 * these settings, sharp and its libraries, the processor. AVIF's also depend on how many threads sharp gives a picture.
 */
export function encoderId(format: ImageFormat): string {
  const threads = format === 'avif' ? sharp.concurrency() : undefined;
  const facts = JSON.stringify([SETTINGS_VERSION, sharp.versions, process.arch, threads]);
  return hash('sha256', facts).slice(0, 8);
}

/**
 * Looks at the container of a picture without decoding it: which format it is, where it ends, what it says, and what
 * no decoder should be given. Decoders forgive a missing end and inflate whatever they meet, so this comes before them.
 */
import type { ImageFormat } from '../core/image.js';
import { isAvif, walkAvif } from './avif.js';
import { latin1, type RefusedContainer, type Walk, type WalkedContainer } from './container-walk.js';
import { walkJpeg } from './jpeg.js';
import { walkPng } from './png.js';
import { walkWebp } from './webp.js';

/** A container that is whole. */
export interface Container extends WalkedContainer {
  /** Its format by its own bytes. */
  readonly format: ImageFormat;
}

interface Format {
  /** Whether bytes begin as this format does. */
  readonly claims: (data: Buffer) => boolean;
  /** Reads them from end to end. */
  readonly walk: (data: Buffer) => Walk;
}

const FORMATS = {
  png: { claims: (data) => latin1(data, 0, 8) === '\x89PNG\r\n\x1a\n', walk: walkPng },
  jpeg: { claims: (data) => latin1(data, 0, 3) === '\xff\xd8\xff', walk: walkJpeg },
  webp: { claims: (data) => /^RIFF....WEBP/s.test(latin1(data, 0, 12)), walk: walkWebp },
  avif: { claims: isAvif, walk: walkAvif },
} as const satisfies Record<ImageFormat, Format>;

/**
 * Reads a container from end to end, in time linear in its length: a millisecond for a megabyte. Nothing is inflated,
 * and nothing is copied but a PNG with compressed text.
 */
export function readContainer(bytes: Uint8Array): Container | RefusedContainer {
  const data = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const formats = Object.keys(FORMATS) as readonly ImageFormat[];
  const format = formats.find((name) => FORMATS[name].claims(data));
  if (format === undefined) return { fault: 'unknown' };
  const walk = FORMATS[format].walk(data);
  return 'fault' in walk ? walk : { format, ...walk };
}

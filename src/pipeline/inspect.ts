/** Opens pictures from outside: only our formats, only whole ones, only as many pixels as were allowed. */
import { promisify } from 'node:util';
import { inflate } from 'node:zlib';
import sharp, { type Metadata, type Sharp } from 'sharp';
import type { ImageFormat, Size } from '../core/image.js';
import type { Container } from './container.js';
import type { ContainerFault, RefusedContainer } from './container-walk.js';

/** What is known of a picture once its container and header were read; its pixels were not looked at. */
export interface InspectedPicture {
  /** Its true format. */
  readonly format: ImageFormat;
  /** The picture without what followed it. */
  readonly bytes: Uint8Array;
  /** Its pixels, the right way up. */
  readonly size: Size;
}

/** A picture nobody should decode. */
export interface RefusedPicture {
  /** What is wrong; `too_large` has more pixels than were allowed. */
  readonly fault: ContainerFault | 'too_large';
  /** What the decoder said about it. */
  readonly cause?: unknown;
}

const inflateOnPool = promisify(inflate);

const MAX_PROFILE_BYTES = 4 * 1024 * 1024;

// Whatever passed the checks and still keeps a thread busy for so long is given up.
const MAX_SECONDS = 60;

/**
 * Looks at a picture's header before it is decoded. More than `maxPixels` are refused from the header alone, which no
 * decompression bomb survives.
 */
export async function inspectPicture(
  container: Container | RefusedContainer,
  maxPixels: number,
): Promise<InspectedPicture | RefusedPicture> {
  if ('fault' in container) return container;
  const { format, bytes, profile } = container;
  let header: Metadata;
  try {
    if (profile !== undefined) await inflateOnPool(profile, { maxOutputLength: MAX_PROFILE_BYTES });
    header = await openPicture(bytes, Number.MAX_SAFE_INTEGER).metadata();
  } catch (cause) {
    return { fault: 'broken', cause };
  }
  if (decoderOf(header) !== format) return { fault: 'unknown' };
  if ((header.pages ?? 1) > 1) return { fault: 'animated' };
  if (header.width * header.height > maxPixels) return { fault: 'too_large' };
  const { width, height } = header.autoOrient;
  return { format, bytes, size: { width, height } };
}

/** Opens bytes for decoding, the right way up and at most `maxPixels`; doubtful data is an error, not a guess. */
export function openPicture(bytes: Uint8Array, maxPixels: number): Sharp {
  return sharp(bytes, {
    autoOrient: true,
    failOn: 'warning',
    limitInputPixels: maxPixels,
    pages: 1,
    sequentialRead: true,
  }).timeout({ seconds: MAX_SECONDS });
}

/** What the decoder says against a picture; `undefined` when every pixel decodes. */
export async function decodingFault(
  { bytes, size }: Pick<InspectedPicture, 'bytes' | 'size'>,
  maxPixels: number,
): Promise<unknown> {
  // The last row comes after all others.
  const lastRow = { left: 0, top: size.height - 1, width: size.width, height: 1 };
  try {
    await openPicture(bytes, maxPixels).extract(lastRow).raw().toBuffer();
    return undefined;
  } catch (fault) {
    return fault;
  }
}

/** The format as the decoder found it: another one than the first bytes claim means a polyglot. */
function decoderOf(header: Metadata): string {
  return header.format === 'heif' && header.compression === 'av1' ? 'avif' : header.format;
}

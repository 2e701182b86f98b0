/**
 * Decides what variant of a picture answers a request, before anything is read or made: its size, its format, its name
 * in storage and its tag. Requests that come to the same picture come to the same variant, or to the original.
 */
import { hash } from 'node:crypto';
import type { ImageContentType, ImageFormat, Size } from '../core/image.js';
import type { EncoderId, Transform, Transforms } from '../core/variant.js';

/** What is known of an original. */
export interface Original {
  /** SHA-256 of its bytes. */
  readonly sha256: string;
  /** Its type. */
  readonly contentType: ImageContentType;
  /** Its pixels. */
  readonly size: Size;
}

/** What decides the variant. */
export interface VariantRequest {
  /** What was asked for. */
  readonly transform: Transform;
  /** The request's `Accept` header. Counts where the format is `auto`. */
  readonly accept: string | undefined;
  /** What it is a variant of. */
  readonly original: Original;
  /** The formats `auto` may choose. */
  readonly formats: Transforms['formats'];
  /** Stands for the encoder that would make it. */
  readonly encoderId: EncoderId;
}

/** A variant, made or not. */
export interface Variant {
  /** Its pixels, at most the original's. */
  readonly size: Size;
  /** Its format. */
  readonly format: ImageFormat;
  /** Its media type. */
  readonly contentType: ImageContentType;
  /** Its quality; `undefined` takes the format's default. */
  readonly quality: number | undefined;
  /** Names it among the keys of its picture. */
  readonly name: string;
  /** Stands for its bytes and no others: 64 hex digits. */
  readonly tag: string;
}

// An AVIF of effort 0 has about 40 % fewer bytes than a WebP that looks the same and takes up to 1.4 times the work;
// every step of effort doubles that. So it is chosen where it is a matter of a tenth of a second.
const MAX_AUTO_AVIF_PIXELS = 1024 * 1024;

const WEIGHT = /^q=(?:0(?:\.\d*)?|1(?:\.0*)?)$/;

/** Finds the variant that answers a request; `undefined` is the original itself. */
export function planVariant({
  transform,
  accept,
  original,
  formats,
  encoderId,
}: VariantRequest): Variant | undefined {
  const size = variantSize(original.size, transform);
  const own = formatOf(original.contentType);
  const isFullSize = size.width === original.size.width && size.height === original.size.height;
  const format =
    transform.format === 'auto'
      ? chooseFormat({ accept, own, formats, isKept: isFullSize, pixels: size.width * size.height })
      : (transform.format ?? own);
  // PNG loses nothing, so it has no quality.
  const quality = format === 'png' ? undefined : transform.quality;
  if (isFullSize && format === own && quality === undefined) return undefined;
  const parts = [`${size.width}x${size.height}`, format, ...(quality === undefined ? [] : [`q${quality}`])];
  const name = [...parts, encoderId(format)].join('-');
  const tag = hash('sha256', `${original.sha256}/${name}`);
  return { size, format, contentType: `image/${format}`, quality, name, tag };
}

/** The pixels of a variant. Nothing is ever enlarged: a box too large shrinks to what the original can fill. */
export function variantSize(original: Size, { width, height, fit }: Transform): Size {
  const across = (width ?? Number.POSITIVE_INFINITY) / original.width;
  const down = (height ?? Number.POSITIVE_INFINITY) / original.height;
  if (fit === 'cover' && width !== undefined && height !== undefined) {
    return scaled({ width, height }, Math.min(1, 1 / across, 1 / down));
  }
  return scaled(original, Math.min(1, across, down));
}

function scaled({ width, height }: Size, scale: number): Size {
  return { width: Math.max(1, Math.round(width * scale)), height: Math.max(1, Math.round(height * scale)) };
}

function formatOf(contentType: ImageContentType): ImageFormat {
  return contentType.slice('image/'.length) as ImageFormat;
}

interface Choice {
  readonly accept: string | undefined;
  readonly own: ImageFormat;
  readonly formats: Transforms['formats'];
  /** Whether the original itself would do, in its own format. */
  readonly isKept: boolean;
  readonly pixels: number;
}

/**
 * The format a client likes best, of equal ones the smallest. AVIF and WebP it must name: what it does not name it may
 * not show, and every browser sends a wildcard too. For a client that names neither, PNG and JPEG stay as they are and
 * the others become PNG, which keeps what is transparent.
 */
function chooseFormat({ accept, own, formats, isKept, pixels }: Choice): ImageFormat {
  const weights = weightsOf(accept);
  const isCheap = pixels <= MAX_AUTO_AVIF_PIXELS || (isKept && own === 'avif');
  const fallback = own === 'jpeg' ? 'jpeg' : 'png';
  const least = weights.get(`image/${fallback}`) ?? weights.get('image/*') ?? weights.get('*/*') ?? 0;
  const offers = [
    ...(isCheap && formats.includes('avif') ? (['avif'] as const) : []),
    ...(formats.includes('webp') ? (['webp'] as const) : []),
  ].map((format) => ({ format, weight: weights.get(`image/${format}`) ?? 0 }));
  const best = Math.max(least, ...offers.map(({ weight }) => weight));
  return offers.find(({ weight }) => weight > 0 && weight === best)?.format ?? fallback;
}

/**
 * How much a client likes each media range its `Accept` header names, from 0, which refuses it, to 1 (RFC 9110,
 * 12.5.1).
 */
function weightsOf(accept = ''): ReadonlyMap<string, number> {
  const weights = new Map<string, number>();
  for (const range of accept.split(',')) {
    const [name = '', ...parameters] = range.split(';').map((part) => part.trim().toLowerCase());
    const weight = Number(parameters.find((parameter) => WEIGHT.test(parameter))?.slice('q='.length) ?? 1);
    weights.set(name, Math.max(weight, weights.get(name) ?? 0));
  }
  return weights;
}

/**
 * Variants: smaller or otherwise encoded versions of stored pictures. The words, and the port that makes them. Types
 * only.
 */
import type { ImageFormat, Size } from './image.js';
import type { FinishedPicture } from './picture.js';

/** Which variants may be asked for. What is on no list is refused, so that nobody can have thousands made. */
export interface Transforms {
  /** Widths in pixels. */
  readonly widths: readonly number[];
  /** Heights in pixels. */
  readonly heights: readonly number[];
  /** Formats. */
  readonly formats: readonly ImageFormat[];
  /** Qualities, 1 (smallest) to 100 (best). */
  readonly qualities: readonly number[];
}

/** How a picture of another shape gets into a box: wholly inside of it, or cropped in the middle to fill it. */
export type Fit = 'inside' | 'cover';

/** What was asked for, each part of it allowed by {@link Transforms}. */
export interface Transform {
  /** Width of the box. */
  readonly width: number | undefined;
  /** Height of the box. */
  readonly height: number | undefined;
  /** How the picture gets into the box; nothing to decide with one side alone. */
  readonly fit: Fit;
  /** The format; `auto` is what the client says it takes, `undefined` that of the original. */
  readonly format: ImageFormat | 'auto' | undefined;
  /** The quality; `undefined` takes the format's default. */
  readonly quality: number | undefined;
}

/** A variant that is to be made. */
export interface VariantOrder {
  /** The original, known to be what was stored. */
  readonly bytes: Uint8Array;
  /** The original's pixels, as recorded when it was stored. */
  readonly originalSize: Size;
  /** Exact pixels of the variant, at most the original's. */
  readonly size: Size;
  /** Its format. */
  readonly format: ImageFormat;
  /** Its quality; `undefined` takes the format's default. */
  readonly quality: number | undefined;
  /** Gives up waiting for a worker when aborted. */
  readonly signal: AbortSignal;
}

/** Makes a variant. Throws `STORAGE_ERROR` for an original that is no whole picture of the size recorded. */
export type MakeVariant = (order: VariantOrder) => Promise<FinishedPicture>;

/** What else decides the bytes an encoder makes: its settings, its version, this machine. */
export type EncoderId = (format: ImageFormat) => string;

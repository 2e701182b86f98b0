/** The words everything here shares: formats, sizes, pictures, money. Types only. */

/** The picture formats the router accepts from providers and delivers to clients. */
export type ImageFormat = 'png' | 'jpeg' | 'webp' | 'avif';

/** The media type of an {@link ImageFormat}. */
export type ImageContentType = `image/${ImageFormat}`;

/** Pixels. Both are whole and at least 1. */
export interface Size {
  /** Pixels from left to right. */
  readonly width: number;
  /** Pixels from top to bottom. */
  readonly height: number;
}

/** Encoded bytes of a picture and the type somebody claims for them: a claim, never trusted without looking. */
export interface EncodedImage {
  /** The encoded picture. */
  readonly bytes: Uint8Array;
  /** The media type its sender claims. */
  readonly type: string;
}

/** What a client wants done: draw from words, or change given pictures. */
export type Operation = 'generate' | 'edit';

declare const microUsd: unique symbol;

/**
 * Money: a whole number of millionths of a US dollar, made by `usd()`. The brand keeps plain numbers, whose unit
 * nobody can know, out of prices and budgets.
 */
export type MicroUsd = number & {
  /** There at compile time only. */
  readonly [microUsd]: true;
};

/** Labels and steering values a client may send along: flat, at most 16 keys. */
export type Metadata = Readonly<Record<string, string | number | boolean>>;

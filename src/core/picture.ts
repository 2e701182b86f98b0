/**
 * What happens to a picture between provider and client: the port the use case calls, filled by the pipeline. Types
 * only.
 */
import type { EncodedImage, ImageContentType, ImageFormat, Size } from './image.js';

/** A picture as a provider sent it, and what it has to become. */
export interface PictureOrder {
  /** The bytes as they came; their type is looked at, never believed. */
  readonly bytes: Uint8Array;
  /** Exact pixels of the result; `undefined` takes the picture's own. */
  readonly size: Size | undefined;
  /** Format of the result; `undefined` keeps the picture's own. */
  readonly format: ImageFormat | undefined;
  /** 0 (smallest) to 100 (best); `undefined` takes the format's default. */
  readonly compression: number | undefined;
  /** Whether its provider signs what it makes: then a C2PA manifest is worth keeping, and the bytes with it. */
  readonly contentCredentials: boolean;
  /** Gives up waiting for a worker when aborted. */
  readonly signal: AbortSignal;
}

/** A picture that was checked and is what was ordered. */
export interface FinishedPicture {
  /** Encoded, with nothing but the pixels and the mark that a machine made them, or as its provider signed it. */
  readonly bytes: Uint8Array;
  /** Its true type. */
  readonly contentType: ImageContentType;
  /** Its true pixels. */
  readonly size: Size;
  /** Frees the memory of its bytes, where they are nobody else's; to be called when nobody reads them any more. */
  readonly release?: (() => void) | undefined;
}

/** Checks and finishes a picture. Throws `UPSTREAM_SHAPE_MISMATCH` when it is none, broken, or of another shape. */
export type FinishPicture = (order: PictureOrder) => Promise<FinishedPicture>;

/** A picture that was stored. */
export interface StoredPicture {
  /** What people keep: `img_…`. */
  readonly id: string;
  /** The last part of its URL. */
  readonly file: string;
  /** Epoch milliseconds at which the picture itself goes. */
  readonly expiresAt: number;
  /** True when storage did not take it yet: it waits in the spool and can still be lost. */
  readonly waiting?: true | undefined;
}

/** Whose picture it is. */
export interface PictureOwner {
  /** The tenant whose media it becomes. */
  readonly tenant: string;
  /** The request that made it. */
  readonly requestId: string;
  /** The slug that drew it. */
  readonly model: string;
  /** True when the request can be asked again: its pictures are kept although storage does not take them. */
  readonly again: boolean;
  /** Gives up when aborted. */
  readonly signal: AbortSignal;
  /** Called once storage has its bytes and reads them no more; not where a put that was given up may be at it still. */
  readonly onRead?: (() => void) | undefined;
}

/** Stores a finished picture. Throws `STORAGE_ERROR` when neither storage nor the spool takes it. */
export type StorePicture = (picture: FinishedPicture, owner: PictureOwner) => Promise<StoredPicture>;

/** A picture a client sent that may be handed to a provider. */
export interface CheckedInput extends EncodedImage {
  /** Its true pixels. */
  readonly size: Size;
}

/** Checks a picture a client sent: the same as for results. `fault` completes "expected …" for the client. */
export type CheckInput = (bytes: Uint8Array) => Promise<CheckedInput | { readonly fault: string }>;

/** Makes a PNG of a checked picture a client sent. Rejects with `signal.reason` when aborted. */
export type ConvertInput = (input: EncodedImage, signal: AbortSignal) => Promise<EncodedImage>;

/** Reads a stored picture. Throws `MEDIA_NOT_FOUND` for one that is gone and `STORAGE_ERROR` where storage fails. */
export type ReadPicture = (picture: StoredPicture, signal: AbortSignal) => Promise<Uint8Array>;

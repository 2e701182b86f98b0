/** A request as both surfaces hand it to the use case: parsed, of the right types, nothing about a model checked yet. Types only. */
import type { EncodedImage, ImageFormat, Metadata, Operation, Size } from './image.js';

/** What a client asked for. Fields it did not send are `undefined`. */
export interface ImageRequest {
  /** What to do. */
  readonly operation: Operation;
  /** The slug as written. */
  readonly model: string;
  /** The words. */
  readonly prompt: string;
  /** Pictures, 1 to 10. */
  readonly n: number;
  /** Pixels, or the vendor's choice. */
  readonly size: Size | 'auto' | undefined;
  /** As written. */
  readonly quality: string | undefined;
  /** As written. */
  readonly style: string | undefined;
  /** As written. */
  readonly background: string | undefined;
  /** The format the client wants to receive. */
  readonly outputFormat: ImageFormat | undefined;
  /** 0 to 100. */
  readonly outputCompression: number | undefined;
  /** Whole, 0 to 2^32 − 1. */
  readonly seed: number | undefined;
  /** As written. */
  readonly negativePrompt: string | undefined;
  /** Pictures to edit. */
  readonly inputs: readonly EncodedImage[];
  /** Where to edit. */
  readonly mask: EncodedImage | undefined;
  /** Previews per picture. */
  readonly previews: number;
  /** The person who asked, opaque. */
  readonly endUser: string | undefined;
  /** Labels and steering values; a null-prototype object. */
  readonly metadata: Metadata;
}

/** Something the router did other than asked, told to the client. */
export interface Warning {
  /** The field it is about. */
  readonly field: string;
  /** What was done, and why. */
  readonly message: string;
}

/** Orders of pictures, as the use case places them with the pipeline. */
import type { FinishPicture, PictureOrder } from '../../src/core/picture.js';
import { createFinisher, type FinisherOptions } from '../../src/pipeline/finish.js';

/** A finisher with the router's defaults, and whatever else is said. */
export function testFinisher(options: Partial<FinisherOptions> = {}): FinishPicture {
  return createFinisher({ maxPixels: 20_000_000, verify: 'decode', reencode: 'needed', ...options });
}

/** An order that is content with any picture, unless more is said. */
export function orderOf(bytes: Uint8Array, rest: Partial<PictureOrder> = {}): PictureOrder {
  return {
    bytes,
    size: undefined,
    format: undefined,
    compression: undefined,
    contentCredentials: false,
    signal: new AbortController().signal,
    ...rest,
  };
}

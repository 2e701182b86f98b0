/** Makes variants of stored pictures: smaller, cropped, or in another format. */
import type { FinishedPicture } from '../core/picture.js';
import type { MakeVariant, VariantOrder } from '../core/variant.js';
import { ImagesError } from '../errors.js';
import { readContainer } from './container.js';
import { encodePicture } from './encode.js';
import { imageJobs } from './gate.js';
import { decodingFault, type InspectedPicture, inspectPicture, openPicture } from './inspect.js';

/** What bounds every original. */
export interface TransformerOptions {
  /** Most pixels an original may have. */
  readonly maxPixels: number;
}

/**
 * Makes the function that makes variants, one image job each. It rejects with `order.signal.reason` when aborted while
 * it waits for its turn.
 */
export function createTransformer({ maxPixels }: TransformerOptions): MakeVariant {
  return (order) => imageJobs.run(() => transform(order, maxPixels), order.signal);
}

async function transform(order: VariantOrder, maxPixels: number): Promise<FinishedPicture> {
  const original = await inspectPicture(readContainer(order.bytes), maxPixels);
  if ('fault' in original) throw unusable(`it is ${original.fault}`, original.cause);
  if (
    original.size.width !== order.originalSize.width ||
    original.size.height !== order.originalSize.height
  ) {
    throw unusable('it has other pixels than were recorded');
  }
  try {
    return await encode(original, order, maxPixels);
  } catch (cause) {
    if ((await decodingFault(original, maxPixels)) === undefined) throw cause;
    throw unusable('it does not decode', cause);
  }
}

async function encode(
  original: InspectedPicture,
  { size, format, quality }: VariantOrder,
  maxPixels: number,
): Promise<FinishedPicture> {
  const { width, height } = size;
  const image = openPicture(original.bytes, maxPixels);
  if (width !== original.size.width || height !== original.size.height) {
    image.resize({ width, height, fit: 'cover', position: 'centre', kernel: 'lanczos3' });
  }
  const bytes = await encodePicture(image, { format, compression: quality });
  return { bytes, contentType: `image/${format}`, size };
}

function unusable(why: string, cause?: unknown): ImagesError {
  return new ImagesError('STORAGE_ERROR', `A stored picture cannot be used: ${why}.`, { cause });
}

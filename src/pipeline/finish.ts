/** Makes of what a provider sent what was ordered, or says that it cannot be. */
import { createHash } from 'node:crypto';
import type { Size } from '../core/image.js';
import type { FinishedPicture, FinishPicture, PictureOrder } from '../core/picture.js';
import { ImagesError } from '../errors.js';
import { encodePicture } from './encode.js';
import { imageJobs } from './gate.js';
import {
  decodesFully,
  type InspectedPicture,
  inspectPicture,
  openPicture,
  type RefusedPicture,
} from './inspect.js';

/** What bounds every picture. */
export interface FinisherOptions {
  /** Most pixels a provider's picture may have, whatever was ordered. */
  readonly maxPixels: number;
}

const FAULTS = {
  unknown: 'The provider answered with something that is not a PNG, JPEG, WebP or AVIF picture.',
  broken: 'The provider answered with a picture that is damaged or cut short.',
  animated: 'The provider answered with an animation instead of a picture.',
  too_large: 'The provider answered with a picture that has far more pixels than were asked for.',
} as const satisfies Record<RefusedPicture['fault'], string>;

// Vendors draw larger than asked (a retired model's successor does), so there is room above what was asked.
const SLACK_FACTOR = 4;
const SLACK_PIXELS = 2048 * 2048;

// How far the shape of a picture may be off before cropping it would lose what somebody asked for.
const MAX_ASPECT_PERCENT = 105;

/**
 * Makes the function that finishes pictures, one image job each. It throws `UPSTREAM_SHAPE_MISMATCH` for what is no
 * picture, is damaged, animated, too large or of another shape; `order.signal.reason` when aborted; and whatever
 * was thrown when a sound picture could not be finished, which is no fault of the provider.
 */
export function createFinisher(options: FinisherOptions): FinishPicture {
  return (order) => imageJobs.run(() => finish(order, options.maxPixels), order.signal);
}

async function finish(order: PictureOrder, ceiling: number): Promise<FinishedPicture> {
  const maxPixels = pixelLimit(order.size, ceiling);
  const picture = await inspectPicture(order.bytes, maxPixels);
  order.signal.throwIfAborted();
  if ('fault' in picture) throw mismatch(FAULTS[picture.fault], picture.cause);
  if (order.size !== undefined && !hasShapeOf(picture.size, order.size)) {
    throw mismatch(
      `The provider drew ${dimensions(picture.size)} pixels where ${dimensions(order.size)} were asked for.`,
    );
  }
  try {
    return await reencode(picture, order, maxPixels);
  } catch (cause) {
    // What decodes is sound: then the encoder or this machine failed, and the provider is not to blame.
    if (await decodesFully(picture, maxPixels)) throw cause;
    throw mismatch(FAULTS.broken, cause);
  }
}

async function reencode(
  picture: InspectedPicture,
  order: PictureOrder,
  maxPixels: number,
): Promise<FinishedPicture> {
  const image = openPicture(picture.bytes, maxPixels);
  const { width, height } = order.size ?? picture.size;
  if (width !== picture.size.width || height !== picture.size.height) {
    image.resize({ width, height, fit: 'cover', position: 'centre', kernel: 'lanczos3' });
  }
  const format = order.format ?? picture.format;
  const bytes = await encodePicture(image, { format, compression: order.compression });
  return {
    bytes,
    contentType: `image/${format}`,
    size: { width, height },
    sha256: createHash('sha256').update(bytes).digest('hex'),
  };
}

function pixelLimit(asked: Size | undefined, ceiling: number): number {
  if (asked === undefined) return ceiling;
  return Math.min(ceiling, Math.max(SLACK_PIXELS, SLACK_FACTOR * asked.width * asked.height));
}

/** Whether one aspect ratio divided by the other, the larger by the smaller, is at most 1.05: in whole numbers. */
function hasShapeOf(drawn: Size, asked: Size): boolean {
  const [one, other] = [drawn.width * asked.height, drawn.height * asked.width];
  return 100 * Math.max(one, other) <= MAX_ASPECT_PERCENT * Math.min(one, other);
}

function dimensions({ width, height }: Size): string {
  return `${width}x${height}`;
}

function mismatch(message: string, cause?: unknown): ImagesError {
  return new ImagesError('UPSTREAM_SHAPE_MISMATCH', message, { cause });
}

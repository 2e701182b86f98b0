/** Makes of what a provider sent what was ordered, or says that it cannot be. */
import type { Size } from '../core/image.js';
import { giveBack, joinParts } from '../core/memory.js';
import type { FinishedPicture, FinishPicture, PictureOrder } from '../core/picture.js';
import { ImagesError } from '../errors.js';
import { type Container, readContainer } from './container.js';
import type { Layout } from './container-walk.js';
import { encodePicture } from './encode.js';
import { imageJobs } from './gate.js';
import {
  decodingFault,
  type InspectedPicture,
  inspectPicture,
  openPicture,
  type RefusedPicture,
} from './inspect.js';
import { areExactly } from './png-rows.js';

/** What bounds every picture, and how much is done to it. */
export interface FinisherOptions {
  /** Most pixels a provider's picture may have, whatever was ordered. */
  readonly maxPixels: number;
  /** How pictures are checked that need not be encoded anew: every pixel, or the container alone. */
  readonly verify: 'decode' | 'container';
  /** Which pictures are encoded anew: those that must be, or all. */
  readonly reencode: 'needed' | 'always';
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
 * Makes the function that finishes pictures, with at most one image job each. It throws `UPSTREAM_SHAPE_MISMATCH` for
 * what is no picture, is damaged, animated, too large or of another shape; `order.signal.reason` when aborted; and
 * whatever was thrown when a sound picture could not be finished, which is no fault of the provider.
 */
export function createFinisher(options: FinisherOptions): FinishPicture {
  return async (order) => {
    order.signal.throwIfAborted();
    const container = readContainer(order.bytes);
    if ('fault' in container) throw mismatch(FAULTS[container.fault]);
    const maxPixels = pixelLimit(order.size, options.maxPixels);
    const kept = keptParts({ container, order, maxPixels, reencode: options.reencode });
    const { signal } = order;
    if (kept !== undefined) {
      const bytes =
        options.verify === 'container'
          ? joinParts(kept.parts)
          : await imageJobs.run(() => joinedIfSound(kept, { maxPixels, signal }), signal);
      signal.throwIfAborted();
      if (bytes !== undefined) {
        const isOurs = bytes.buffer !== order.bytes.buffer;
        const release = isOurs ? () => giveBack(bytes) : undefined;
        return { bytes, contentType: `image/${container.format}`, size: kept.size, release };
      }
    }
    // The encoder refuses what does not decode.
    return await imageJobs.run(() => encodeAnew(container, order, maxPixels), signal);
  };
}

interface Question {
  readonly container: Container;
  readonly order: PictureOrder;
  readonly maxPixels: number;
  readonly reencode: FinisherOptions['reencode'];
}

/** A picture that can be delivered without touching a pixel. */
interface Kept extends Pick<Layout, 'size' | 'rows'> {
  /** As it came, or cleaned. */
  readonly parts: readonly Uint8Array[];
}

/** What can be delivered without touching a pixel, and nothing when the picture must be encoded anew. */
function keptParts({ container, order, maxPixels, reencode }: Question): Kept | undefined {
  const { format, bytes, layout } = container;
  if (reencode === 'always' || layout === undefined) return undefined;
  const { size, rows, signed, cleaned } = layout;
  const { width, height } = size;
  if (width * height > maxPixels) return undefined;
  if (order.size !== undefined && (width !== order.size.width || height !== order.size.height))
    return undefined;
  if (order.format !== undefined && order.format !== format) return undefined;
  // Nothing is lost in a PNG, whatever was asked.
  if (order.compression !== undefined && format !== 'png') return undefined;
  // One byte changed and the manifest's signature is broken. One byte more could be anything.
  const isWhole = bytes.byteLength === order.bytes.byteLength;
  const parts = order.contentCredentials && signed && isWhole ? [bytes] : cleaned;
  return parts && { parts, size, rows };
}

/**
 * The bytes, if every pixel decodes and the compressed pixels of a PNG hold nothing else. They are put together only
 * here, so that no picture is held twice while it waits for its turn.
 */
async function joinedIfSound(
  { parts, size, rows }: Kept,
  { maxPixels, signal }: { readonly maxPixels: number; readonly signal: AbortSignal },
): Promise<Uint8Array | undefined> {
  if (rows !== undefined) return (await areExactly(rows, signal)) ? joinParts(parts) : undefined;
  // A copy: should it not be sound, the encoder has what it was made of.
  const bytes = Buffer.concat(parts);
  return (await decodingFault({ bytes, size }, maxPixels)) === undefined ? bytes : undefined;
}

async function encodeAnew(
  container: Container,
  order: PictureOrder,
  maxPixels: number,
): Promise<FinishedPicture> {
  const picture = await inspectPicture(container, maxPixels);
  order.signal.throwIfAborted();
  if ('fault' in picture) throw mismatch(FAULTS[picture.fault], picture.cause);
  if (order.size !== undefined && !hasShapeOf(picture.size, order.size)) {
    throw mismatch(
      `The provider drew ${dimensions(picture.size)} pixels where ${dimensions(order.size)} were asked for.`,
    );
  }
  try {
    return await encode(picture, order, maxPixels);
  } catch (cause) {
    // What decodes is sound: then the encoder or this machine failed, and the provider is not to blame.
    if ((await decodingFault(picture, maxPixels)) === undefined) throw cause;
    throw mismatch(FAULTS.broken, cause);
  }
}

async function encode(
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
  const release = () => giveBack(bytes);
  return { bytes, contentType: `image/${format}`, size: { width, height }, release };
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

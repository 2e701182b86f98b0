/** Makes of what a provider sent what was ordered, or says that it cannot be. */
import type { Size } from '../core/image.js';
import { giveBack } from '../core/memory.js';
import type { FinishedPicture, FinishPicture, PictureOrder } from '../core/picture.js';
import { ImagesError } from '../errors.js';
import { type Container, readContainer } from './container.js';
import type { PixelRows } from './container-walk.js';
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
    const kept = keptPicture({ container, order, maxPixels, reencode: options.reencode });
    const { signal } = order;
    if (kept !== undefined) {
      const question = { kept, rows: container.layout?.rows, maxPixels, signal };
      if (options.verify === 'container' || (await isSound(question))) return kept;
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

/** What can be delivered without touching a pixel, and nothing when the picture must be encoded anew. */
function keptPicture(question: Question): FinishedPicture | undefined {
  const bytes = keptBytes(question);
  const { container, order } = question;
  if (bytes === undefined || container.layout === undefined) return undefined;
  const isOurs = bytes.buffer !== order.bytes.buffer;
  const release = isOurs ? () => giveBack(bytes) : undefined;
  return { bytes, contentType: `image/${container.format}`, size: container.layout.size, release };
}

/** The bytes as they came, or cleaned. */
function keptBytes({ container, order, maxPixels, reencode }: Question): Uint8Array | undefined {
  const { format, bytes, layout } = container;
  if (reencode === 'always' || layout === undefined) return undefined;
  const { width, height } = layout.size;
  if (width * height > maxPixels) return undefined;
  if (order.size !== undefined && (width !== order.size.width || height !== order.size.height))
    return undefined;
  if (order.format !== undefined && order.format !== format) return undefined;
  // Nothing is lost in a PNG, whatever was asked.
  if (order.compression !== undefined && format !== 'png') return undefined;
  // One byte changed and the manifest's signature is broken. One byte more could be anything.
  const isWhole = bytes.byteLength === order.bytes.byteLength;
  if (order.contentCredentials && layout.signed && isWhole) return bytes;
  return layout.cleaned && Buffer.concat(layout.cleaned);
}

interface SoundnessQuestion {
  readonly kept: FinishedPicture;
  readonly rows: PixelRows | undefined;
  readonly maxPixels: number;
  readonly signal: AbortSignal;
}

/** Whether every pixel decodes, and the compressed pixels of a PNG hold nothing else. */
async function isSound({ kept, rows, maxPixels, signal }: SoundnessQuestion): Promise<boolean> {
  const look = async () =>
    rows === undefined
      ? (await decodingFault(kept, maxPixels)) === undefined
      : await areExactly(rows, signal);
  const answer = await imageJobs.run(look, signal);
  signal.throwIfAborted();
  return answer;
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
  return { bytes, contentType: `image/${format}`, size: { width, height } };
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

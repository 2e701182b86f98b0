/** From a picture as a provider sent it to one on its way to the client: finished, and stored or handed over. */
import { ImagesError, isImagesError } from '../errors.js';
import type { Deadline } from './deadline.js';
import type { PictureFacts } from './outcome.js';
import type { FinishedPicture, FinishPicture, StorePicture } from './picture.js';
import type { Plan } from './plan.js';
import type { ImageEvent, PreviewEvent } from './provider.js';

/** What becomes of finished pictures. */
export interface Delivery {
  /** Stores them. */
  readonly stored: boolean;
  /** Hands their bytes over. */
  readonly bytes: boolean;
  /** Keeps those that storage does not take, because the request can be asked again. */
  readonly again: boolean;
}

/** A picture on its way to the client. */
export interface DeliveredPicture extends PictureFacts {
  /** Its bytes, where they are wanted; else they are let go, so that a request holds one picture at a time. */
  readonly bytes: Uint8Array | undefined;
  /** To be called when they were sent, and are kept nowhere else. */
  readonly release?: (() => void) | undefined;
}

/** What delivering takes. */
export interface DeliveryTools {
  /** Checks and finishes pictures. */
  readonly finish: FinishPicture;
  /** Keeps pictures. */
  readonly store: StorePicture;
}

/** Whose pictures these are and what was agreed about them. */
export interface DeliveryOrder {
  /** What was agreed. */
  readonly plan: Plan;
  /** What becomes of them. */
  readonly delivery: Delivery;
  /** Whose they become. */
  readonly tenant: string;
  /** The request's id. */
  readonly requestId: string;
  /** When to stop. */
  readonly deadline: Deadline;
}

/** Which picture this is, and who drew it. */
export interface DrawnPicture extends DeliveryOrder {
  /** The slug that drew it. */
  readonly model: string;
  /** Its place in the request. */
  readonly index: number;
  /** Whether its provider signs what it makes. */
  readonly contentCredentials: boolean;
}

/**
 * Finishes and stores one picture. Throws an `ImagesError` for a picture that cannot be delivered. Pictures that
 * came in time are finished even when the time for providers is up meanwhile, because they are paid for.
 */
export async function deliverPicture(
  event: ImageEvent,
  order: DrawnPicture,
  { finish, store }: DeliveryTools,
): Promise<DeliveredPicture> {
  const { plan, delivery, tenant, requestId, model, index, contentCredentials } = order;
  const { size, format, compression } = plan;
  const { signal } = order.deadline;
  try {
    const { bytes } = event.image;
    const finished = await finish({ bytes, size, format, compression, contentCredentials, signal });
    const picture = freeing(finished, event);
    const { release } = picture;
    const { byteLength } = picture.bytes;
    const onRead = delivery.bytes ? undefined : release;
    const keeping = delivery.stored
      ? store(picture, { tenant, requestId, model, again: delivery.again, signal, onRead })
      : undefined;
    // Bytes in hand are delivered whether storage takes them or not.
    const stored = await (delivery.bytes ? keeping?.catch(() => undefined) : keeping);
    return {
      index,
      stored,
      bytes: delivery.bytes ? picture.bytes : undefined,
      // A storage that did not answer in time may be at it still.
      release: delivery.stored ? undefined : release,
      byteLength,
      contentType: picture.contentType,
      size: picture.size,
      revisedPrompt: event.revisedPrompt,
      seed: event.seed,
    };
  } catch (cause) {
    signal.throwIfAborted();
    if (isImagesError(cause)) throw cause;
    const message = 'The picture could not be finished because of a fault on our side.';
    throw new ImagesError('INTERNAL_ERROR', message, { cause });
  }
}

/** A finished picture with what frees its bytes. What it was made of is freed, where that is not the very same. */
function freeing(picture: FinishedPicture, { image, release }: PreviewEvent | ImageEvent): FinishedPicture {
  if (picture.bytes.buffer === image.bytes.buffer) return { ...picture, release };
  release?.();
  return picture;
}

/** Finishes a preview like any picture. One that cannot be is left out: it is a courtesy. */
export async function finishPreview(
  event: PreviewEvent,
  { plan, deadline }: DeliveryOrder,
  { finish }: DeliveryTools,
): Promise<FinishedPicture | undefined> {
  const { format, compression } = plan;
  const { signal } = deadline;
  try {
    const { bytes } = event.image;
    const order = { bytes, size: undefined, format, compression, contentCredentials: false, signal };
    return freeing(await finish(order), event);
  } catch {
    signal.throwIfAborted();
    return undefined;
  }
}

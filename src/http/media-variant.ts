/** Serves versions of stored pictures: conditions before any work, then what is stored, then what is made. */
import type { Deadlines } from '../core/deadline.js';
import { overloaded } from '../core/generate.js';
import type { FinishedPicture } from '../core/picture.js';
import type { EncoderId, Transform, Transforms } from '../core/variant.js';
import { ImagesError } from '../errors.js';
import { isConditional } from '../media/delivery.js';
import type { Lookup } from '../media/lookup.js';
import { mediaFile, pictureKey } from '../media/picture-id.js';
import { madeAt, notFound, storageError } from '../media/picture-store.js';
import { isDamage } from '../media/report.js';
import { type Original, planVariant, type Variant } from '../media/variant.js';
import { isVariant, recordedSize, type VariantStore } from '../media/variant-store.js';
import { withDeadline } from './disconnect.js';
import type { Exchange } from './exchange.js';
import type { Opened } from './media.js';
import type { MediaAnswers, ServedFromStorage } from './media-answer.js';

/** What serving variants takes. */
export interface MediaVariantsOptions {
  /** Answers requests. */
  readonly answers: MediaAnswers;
  /** Looks pictures up. */
  readonly lookup: Lookup;
  /** Makes variants and keeps them. */
  readonly variants: VariantStore;
  /** Which may be asked for. */
  readonly transforms: Transforms;
  /** Stands for the encoder. */
  readonly encoderId: EncoderId;
  /** Ends the wait when the client leaves or the router closes. */
  readonly deadlines: Deadlines;
}

/** Serves a variant of what a good link leads to. */
export type ServeVariant = (exchange: Exchange, opened: Opened, transform: Transform) => Promise<void>;

// What could not be stored is sent from memory, where slow readers would pile it up.
const MAX_UNSTORED_BYTES = 64 * 1024 * 1024;

/** Makes the function that serves variants. */
export function variantServer(options: MediaVariantsOptions): ServeVariant {
  const { answers, lookup, variants, transforms, encoderId, deadlines } = options;
  let unstoredBytes = 0;

  async function sendUnstored(made: FinishedPicture, send: (bytes: Uint8Array) => Promise<void>) {
    unstoredBytes += made.bytes.byteLength;
    try {
      await send(made.bytes);
    } finally {
      unstoredBytes -= made.bytes.byteLength;
    }
  }

  /** Answers with a stored variant. A damaged one counts as absent: it is made again and replaced. */
  async function storedSound(exchange: Exchange, stored: ServedFromStorage): Promise<boolean> {
    try {
      return await answers.stored(exchange, stored);
    } catch (error) {
      if (error instanceof ImagesError && isDamage(error.cause)) return false;
      throw error;
    }
  }

  return async (exchange, opened, transform) => {
    const { req, res, requestId } = exchange;
    const { file } = opened;
    const varies = transform.format === 'auto';
    const known = isConditional(req.headers) ? lookup.known(opened.original.key) : undefined;
    const info = known ?? (await lookup.stat(opened.original.key, requestId));
    if (info === undefined || !opened.original.accepts(info)) throw notFound();
    const original: Original = { ...file, sha256: info.sha256, size: recordedSize(info) };
    const { accept } = req.headers;
    const variant = planVariant({ transform, accept, original, formats: transforms.formats, encoderId });
    if (variant === undefined) {
      const asItIs = { ...opened.original, varies, redirects: false };
      if (!(await answers.stored(exchange, asItIs))) throw notFound();
      return;
    }
    const version = { tag: variant.tag, storedAt: madeAt(info) };
    const { download, tokenExpiresAtMs } = opened.original;
    const served = { ...servedAs(file.id, variant), download, tokenExpiresAtMs, varies };
    if (answers.unread(exchange, served, version)) return;
    // What is only remembered may have gone.
    if (known !== undefined && (await lookup.stat(opened.original.key, requestId)) === undefined)
      throw notFound();
    const stored: ServedFromStorage = {
      ...served,
      accepts: (found: typeof info) => isVariant(found, { variant, original }),
      version: () => version,
      discard: () => variants.discard(served.key, requestId),
    };
    if (variants.keeps && (await storedSound(exchange, stored))) return;
    if (unstoredBytes >= MAX_UNSTORED_BYTES) throw overloaded();
    const wanted = { id: file.id, info, original, variant, requestId };
    const made = await withDeadline(res, { deadlines, survives: false }, ({ signal }) =>
      variants.make(wanted, signal),
    );
    if (made === undefined) {
      if (await answers.stored(exchange, stored)) return;
      if ((await lookup.stat(opened.original.key, requestId)) === undefined) throw notFound();
      // By somebody who read the one before it, and found that damaged at its end.
      throw storageError(new Error('the version was removed as soon as it was made'));
    }
    const { contentType } = made;
    const size = made.bytes.byteLength;
    await sendUnstored(made, (bytes) =>
      answers.bytes(exchange, served, { bytes, version: { ...version, contentType, size } }),
    );
  };
}

function servedAs(id: string, { name, contentType }: Variant) {
  return { key: pictureKey(id, name), file: mediaFile(id, contentType) };
}

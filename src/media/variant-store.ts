/** Makes variants once and keeps them beside their original, as long as it. */
import type { Emit } from '../core/events.js';
import type { Gate } from '../core/gate.js';
import type { Size } from '../core/image.js';
import type { FinishedPicture, ReadPicture } from '../core/picture.js';
import type { MediaStorage, StoredInfo } from '../core/storage.js';
import type { MakeVariant } from '../core/variant.js';
import { whileInTime, within } from '../core/wait.js';
import { createFlights } from './flights.js';
import type { Lookup } from './lookup.js';
import { mediaFile, pictureKey } from './picture-id.js';
import { notFound, sha256Of, storageError } from './picture-store.js';
import type { Original, Variant } from './variant.js';

/** What keeping variants takes. */
export interface VariantStoreOptions {
  /** Where they go. One without `deletePrefix` gets none: they could not be deleted with their original. */
  readonly storage: MediaStorage;
  /** How long storage may take to answer, in milliseconds. */
  readonly storageMs: number;
  /** Looks originals up. */
  readonly lookup: Lookup;
  /** Reads originals. */
  readonly readPicture: ReadPicture;
  /** Makes them. */
  readonly makeVariant: MakeVariant;
  /** Bounds how many originals are in memory at once. */
  readonly gate: Gate;
  /** Raises events. */
  readonly emit: Emit;
}

/** A variant somebody waits for. */
export interface WantedVariant {
  /** The picture. */
  readonly id: string;
  /** What is stored of it. */
  readonly info: StoredInfo;
  /** What it is a variant of. */
  readonly original: Original;
  /** The variant. */
  readonly variant: Variant;
  /** The request that is the first to want it. */
  readonly requestId: string;
}

/** Makes variants and keeps them. */
export interface VariantStore {
  /** Whether variants are stored at all. */
  readonly keeps: boolean;
  /**
   * Makes a variant, once for all who want it at the same time. `undefined` is in storage now; a picture could not be
   * kept. Throws `MEDIA_NOT_FOUND` for an original that went meanwhile, `STORAGE_ERROR` for one that is not what was
   * stored, and `signal.reason` when aborted.
   */
  make(wanted: WantedVariant, signal: AbortSignal): Promise<FinishedPicture | undefined>;
  /** Removes a variant that is not what was stored, so that the next who wants it has it made. Never rejects. */
  discard(key: string, requestId: string): Promise<void>;
}

/** Makes the store of variants. */
export function createVariantStore(options: VariantStoreOptions): VariantStore {
  const { storage, storageMs, lookup, readPicture, makeVariant, gate, emit } = options;
  const keeps = storage.deletePrefix !== undefined;
  const share = createFlights<FinishedPicture | undefined>();

  async function make({ id, info, original, variant }: WantedVariant, signal: AbortSignal) {
    const { size, format, quality } = variant;
    const file = mediaFile(id, original.contentType);
    const bytes = await readPicture({ id, file, expiresAt: info.expiresAt }, signal);
    return await makeVariant({ bytes, originalSize: original.size, size, format, quality, signal });
  }

  /** Whether it could be kept. */
  async function keep(made: FinishedPicture, wanted: WantedVariant, signal: AbortSignal): Promise<boolean> {
    const { id, info, variant, requestId } = wanted;
    const { bytes, contentType, size } = made;
    const { expiresAt } = info;
    const sha256 = sha256Of(bytes);
    const metadata = { ...info.metadata, width: size.width, height: size.height, original: info.sha256 };
    const key = pictureKey(id, variant.name);
    const facts = { contentType, sha256, expiresAt, metadata };
    try {
      await whileInTime((bound) => storage.put(key, bytes, { ...facts, signal: bound }), {
        signal,
        milliseconds: storageMs,
      });
      return true;
    } catch (cause) {
      signal.throwIfAborted();
      emit({ type: 'storage.failed', level: 'warn', requestId, operation: 'put', cause });
      return false;
    }
  }

  /** What was deleted while its variant was made must not live on in it. */
  async function removeOrphan({ id, variant, requestId }: WantedVariant): Promise<void> {
    if ((await lookup.stat(pictureKey(id), requestId)) !== undefined) return;
    await discard(pictureKey(id, variant.name), requestId);
    throw notFound();
  }

  async function discard(key: string, requestId: string): Promise<void> {
    const late = () => new Error(`storage did not answer within ${storageMs} ms`);
    try {
      await within(storage.delete(key), storageMs, late);
    } catch (cause) {
      emit({ type: 'storage.failed', level: 'warn', requestId, operation: 'delete', cause });
    }
  }

  async function makeAndKeep(
    wanted: WantedVariant,
    signal: AbortSignal,
  ): Promise<FinishedPicture | undefined> {
    const made = await make(wanted, signal);
    if (!keeps || !(await keep(made, wanted, signal))) return made;
    await removeOrphan(wanted);
    return undefined;
  }

  return {
    keeps,
    make: (wanted, signal) =>
      share(pictureKey(wanted.id, wanted.variant.name), signal, (shared) =>
        // The original is read inside of the gate: whoever waits holds no memory.
        gate.run(() => makeAndKeep(wanted, shared), shared),
      ),
    discard,
  };
}

/** Whether a stored object is this variant of this original. */
export function isVariant(
  info: StoredInfo,
  { variant, original }: Pick<WantedVariant, 'variant' | 'original'>,
): boolean {
  return info.contentType === variant.contentType && info.metadata.original === original.sha256;
}

/** The pixels recorded when a picture was stored. Throws `STORAGE_ERROR` where there are none. */
export function recordedSize({ metadata: { width, height } }: StoredInfo): Size {
  if (isPixels(width) && isPixels(height)) return { width, height };
  throw storageError(new Error('the size of a stored picture is not recorded'));
}

function isPixels(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) > 0;
}

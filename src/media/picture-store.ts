/** Keeping pictures: a finished picture gets an id, a key and an expiry, and is put into the host's storage. */
import { hash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Emit } from '../core/events.js';
import type { ReadPicture, StoredPicture, StorePicture } from '../core/picture.js';
import type { OfferedPicture, Spool } from '../core/spool.js';
import type { MediaStorage, StoredInfo } from '../core/storage.js';
import { whileInTime } from '../core/wait.js';
import { ImagesError, isImagesError } from '../errors.js';
import { createPictureId, mediaFile, pictureKey } from './picture-id.js';
import { damagedObject, isDamage, reportStorage } from './report.js';

/** What keeping pictures takes. */
export interface PictureStoreOptions {
  /** Where they go. */
  readonly storage: MediaStorage;
  /** Keeps those that storage does not take. */
  readonly spool: Pick<Spool, 'keep'>;
  /** How long they stay. */
  readonly retentionSeconds: number;
  /** How long storage may take to answer, in milliseconds. */
  readonly storageMs: number;
  /** Raises events. */
  readonly emit: Emit;
}

/** How often storing a picture is tried. */
export const ATTEMPTS = 3;
const FIRST_RETRY_MS = 100;

/**
 * Makes the function that keeps pictures. It tries storage a few times, then the spool, before it throws
 * `STORAGE_ERROR`.
 */
export function createPictureStore(options: PictureStoreOptions): StorePicture {
  const { storage, spool, retentionSeconds, storageMs, emit } = options;

  function put({ key, bytes, facts }: OfferedPicture, until: AbortSignal): Promise<void> {
    return whileInTime((signal) => storage.put(key, bytes, { ...facts, signal }), {
      signal: until,
      milliseconds: storageMs,
    });
  }

  return async ({ bytes, contentType, size }, owner): Promise<StoredPicture> => {
    const { requestId, model, signal } = owner;
    const now = Date.now();
    const id = createPictureId(owner.tenant, now);
    const key = pictureKey(id);
    const expiresAt = now + retentionSeconds * 1000;
    const stored = { id, file: mediaFile(id, contentType), expiresAt };
    const metadata = { model, request: requestId, width: size.width, height: size.height, made: now };
    const facts = { contentType, sha256: sha256Of(bytes), expiresAt, metadata };
    const picture = { id, key, bytes, facts, requestId };
    for (let attempt = 1; ; attempt += 1) {
      try {
        await put(picture, signal);
      } catch (cause) {
        signal.throwIfAborted();
        emit({ type: 'storage.failed', level: 'warn', requestId, operation: 'put', cause });
        if (attempt < ATTEMPTS) {
          await sleep(FIRST_RETRY_MS * 2 ** attempt * Math.random(), undefined, { signal });
          continue;
        }
        const isKept = owner.again && (await spool.keep(picture));
        if (!isKept) throw storageError(cause);
        return { ...stored, waiting: true };
      }
      // Puts that failed before may have been given up, and run on.
      if (attempt === 1) owner.onRead?.();
      return stored;
    }
  };
}

/**
 * When a picture was made, in epoch milliseconds. Not when storage took it, which can be twice: a picture that waited
 * in the spool would seem to change.
 */
export function madeAt({ metadata, storedAt }: StoredInfo): number {
  return Number.isSafeInteger(metadata.made) ? Number(metadata.made) : storedAt;
}

/** What storages record of bytes: their SHA-256 in 64 lower-case hex digits. */
export function sha256Of(bytes: Uint8Array): string {
  return hash('sha256', bytes);
}

/** The error for storage that failed. */
export function storageError(cause: unknown): ImagesError {
  return new ImagesError('STORAGE_ERROR', 'Storage is not available.', { cause });
}

/** The error for a picture that is gone. */
export function notFound(): ImagesError {
  return new ImagesError('MEDIA_NOT_FOUND', 'This picture is no longer kept here.');
}

/** Makes the function that reads kept pictures whole. */
export function createPictureReader(
  options: Pick<PictureStoreOptions, 'storage' | 'storageMs' | 'emit'>,
): ReadPicture {
  const { storage, storageMs, emit } = options;

  async function read(id: string, signal: AbortSignal): Promise<Uint8Array> {
    const object = await storage.get(pictureKey(id), { signal });
    if (object === undefined) throw notFound();
    const bytes = await collect(object.body);
    const sha256 = sha256Of(bytes);
    if (sha256 !== object.sha256)
      throw damagedObject(`its SHA-256 is ${sha256}, ${object.sha256} is recorded`);
    return bytes;
  }

  return async ({ id }, signal) => {
    try {
      return await whileInTime((bound) => read(id, bound), { signal, milliseconds: storageMs });
    } catch (cause) {
      signal.throwIfAborted();
      if (isImagesError(cause) && cause.code === 'MEDIA_NOT_FOUND') throw cause;
      reportStorage(emit, { operation: 'get', key: pictureKey(id), requestId: undefined, cause });
      throw isDamage(cause) ? cause : storageError(cause);
    }
  };
}

async function collect(body: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks);
}

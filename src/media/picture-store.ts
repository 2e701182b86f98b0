/** Keeping pictures: a finished picture gets an id, a key and an expiry, and is put into the host's storage. */
import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Emit } from '../core/events.js';
import type {
  FinishedPicture,
  PictureOwner,
  ReadPicture,
  StoredPicture,
  StorePicture,
} from '../core/picture.js';
import type { MediaStorage } from '../core/storage.js';
import { unlessAborted } from '../core/wait.js';
import { ImagesError, isImagesError } from '../errors.js';
import { createPictureId, mediaFile, pictureKey } from './picture-id.js';
import { damagedObject, isDamage } from './verify.js';

/** What keeping pictures takes. */
export interface PictureStoreOptions {
  /** Where they go. */
  readonly storage: MediaStorage;
  /** How long they stay. */
  readonly retentionSeconds: number;
  /** How long storage may take to answer, in milliseconds. */
  readonly storageMs: number;
  /** Raises events. */
  readonly emit: Emit;
}

interface Keeping {
  readonly owner: PictureOwner;
  readonly sha256: string;
  readonly expiresAt: number;
}

/** How often storing a picture is tried. */
export const ATTEMPTS = 3;
const FIRST_RETRY_MS = 100;

/** Makes the function that keeps pictures. It tries a few times before it throws `STORAGE_ERROR`. */
export function createPictureStore(options: PictureStoreOptions): StorePicture {
  const { storage, retentionSeconds, storageMs, emit } = options;

  function put(key: string, picture: FinishedPicture, keeping: Keeping) {
    const { bytes, contentType, size } = picture;
    const { owner, sha256, expiresAt } = keeping;
    const { requestId, model } = owner;
    const signal = AbortSignal.any([owner.signal, AbortSignal.timeout(storageMs)]);
    const metadata = { model, request: requestId, width: size.width, height: size.height };
    const stored = storage.put(key, bytes, { contentType, sha256, expiresAt, metadata, signal });
    return unlessAborted(stored, signal);
  }

  return async (picture, owner): Promise<StoredPicture> => {
    const now = Date.now();
    const id = createPictureId(owner.tenant, now);
    const expiresAt = now + retentionSeconds * 1000;
    const sha256 = sha256Of(picture.bytes);
    for (let attempt = 1; ; attempt += 1) {
      try {
        await put(pictureKey(id), picture, { owner, sha256, expiresAt });
        return { id, file: mediaFile(id, picture.contentType), expiresAt };
      } catch (cause) {
        owner.signal.throwIfAborted();
        const { requestId } = owner;
        emit({ type: 'storage.failed', level: 'warn', requestId, operation: 'put', cause });
        if (attempt === ATTEMPTS) throw storageError(cause);
        await sleep(FIRST_RETRY_MS * 2 ** attempt * Math.random(), undefined, { signal: owner.signal });
      }
    }
  };
}

/** What storages record of bytes: their SHA-256 in 64 lower-case hex digits. */
export function sha256Of(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
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
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    if (sha256 !== object.sha256)
      throw damagedObject(`its SHA-256 is ${sha256}, ${object.sha256} is recorded`);
    return bytes;
  }

  function report(id: string, cause: unknown): void {
    const about = { level: 'error', requestId: undefined, cause } as const;
    if (isDamage(cause)) emit({ ...about, type: 'storage.damaged', key: pictureKey(id), id });
    else emit({ ...about, type: 'storage.failed', operation: 'get' });
  }

  return async ({ id }, signal) => {
    const bound = AbortSignal.any([signal, AbortSignal.timeout(storageMs)]);
    try {
      return await unlessAborted(read(id, bound), bound);
    } catch (cause) {
      signal.throwIfAborted();
      if (isImagesError(cause) && cause.code === 'MEDIA_NOT_FOUND') throw cause;
      report(id, cause);
      throw storageError(cause);
    }
  };
}

async function collect(body: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks);
}

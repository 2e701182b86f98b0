/** What storage did wrong: telling damage from failure, and telling the host of both. */
import type { Emit, StorageFailed } from '../core/events.js';
import { ImagesError, isImagesError } from '../errors.js';
import { pictureOf } from './picture-id.js';

/** A failure of storage. */
export interface StorageFault {
  /** What was asked of storage. */
  readonly operation: StorageFailed['operation'];
  /** What it was asked about. */
  readonly key: string;
  /** The request that met it, if one did. */
  readonly requestId: string | undefined;
  /** What was thrown. */
  readonly cause: unknown;
}

/** The error of an object that is not what was stored. */
export function damagedObject(what: string): ImagesError {
  const cause = new Error(what);
  return new ImagesError('STORAGE_ERROR', 'A stored object is damaged.', { reason: 'damaged', cause });
}

/** True for the error of an object that is not what was stored, ours or a storage's. */
export function isDamage(error: unknown): boolean {
  return isImagesError(error) && error.reason === 'damaged';
}

/** Raises `storage.damaged` for an object that is not what was stored, `storage.failed` for all else. */
export function reportStorage(emit: Emit, { operation, key, requestId, cause }: StorageFault): void {
  const about = { level: 'error', requestId, cause } as const;
  if (isDamage(cause)) emit({ ...about, type: 'storage.damaged', key, id: pictureOf(key) });
  else emit({ ...about, type: 'storage.failed', operation });
}

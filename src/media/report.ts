/** How the host is told of what storage did not do. */
import type { Emit, StorageFailed } from '../core/events.js';
import { pictureOf } from './picture-id.js';
import { isDamage } from './picture-store.js';

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

/** Raises `storage.damaged` for an object that is not what was stored, `storage.failed` for all else. */
export function reportStorage(emit: Emit, { operation, key, requestId, cause }: StorageFault): void {
  const about = { level: 'error', requestId, cause } as const;
  if (isDamage(cause)) emit({ ...about, type: 'storage.damaged', key, id: pictureOf(key) });
  else emit({ ...about, type: 'storage.failed', operation });
}

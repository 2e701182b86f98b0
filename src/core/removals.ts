/**
 * Removals that hold. A `put` can run on after its signal aborted, or be under way when its picture is deleted; when it
 * lands then, what was deleted would be back. So its key is hidden until no put of it is left and a delete after the
 * last one has succeeded, or until it has expired.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Emit } from './events.js';
import type { MediaStorage, PutOptions } from './storage.js';
import { unlessAborted, within } from './wait.js';

/** What removals take. */
export interface RemovalsOptions {
  /** Where pictures are. */
  readonly storage: MediaStorage;
  /** How long storage may take to delete one, in milliseconds. */
  readonly storageMs: number;
  /** Raises events. */
  readonly emit: Emit;
}

/** Sees to it that what was deleted stays so. */
export interface Removals {
  /** Puts an object into storage. */
  put(key: string, body: Uint8Array, options: PutOptions): Promise<void>;
  /** True for a key that was deleted while it was being put: nobody may see what is there. */
  hides(key: string): boolean;
  /**
   * To be called right before storage deletes: what of it is being put at this moment is hidden, and deleted when it
   * has landed.
   */
  hide(isDeleted: (key: string) => boolean): void;
  /** Deletes once more what is not gone yet, until `signal` aborts, and tells what may come back. */
  close(signal: AbortSignal): Promise<void>;
}

/** Puts of one key that have not ended. */
interface Landing {
  readonly puts: Set<Promise<void>>;
  /** Epoch milliseconds. */
  readonly expiresAt: number;
}

const FIRST_RETRY_MS = 250;
const LAST_RETRY_MS = 30_000;

/**
 * Makes them. Asks storage for nothing that it is not asked for itself, unless something is deleted while it is put.
 */
export function createRemovals({ storage, storageMs, emit }: RemovalsOptions): Removals {
  const landings = new Map<string, Landing>();
  const hidden = new Set<string>();
  const closing = new AbortController();

  async function put(key: string, body: Uint8Array, options: PutOptions): Promise<void> {
    const { puts, expiresAt } = landings.get(key) ?? { puts: new Set(), expiresAt: options.expiresAt };
    const putting = storage.put(key, body, options);
    landings.set(key, { puts: puts.add(putting), expiresAt });
    try {
      await putting;
    } finally {
      puts.delete(putting);
      if (puts.size === 0) landings.delete(key);
    }
  }

  async function removeLanded(key: string): Promise<void> {
    for (let landing = landings.get(key); landing !== undefined; landing = landings.get(key)) {
      await Promise.allSettled(landing.puts);
    }
    await within(storage.delete(key), storageMs, () => new Error('storage did not delete in time'));
    hidden.delete(key);
  }

  async function removeUntilGone(key: string, expiresAt: number): Promise<void> {
    for (let waitMs = FIRST_RETRY_MS; expiresAt > Date.now(); waitMs = Math.min(waitMs * 2, LAST_RETRY_MS)) {
      try {
        return await unlessAborted(removeLanded(key), closing.signal);
      } catch (cause) {
        if (closing.signal.aborted) return;
        emit({ type: 'storage.failed', level: 'warn', requestId: undefined, operation: 'delete', cause });
      }
      // Unreferenced, so that a process that has nothing else to do may end.
      const pause = { ref: false, signal: closing.signal };
      await sleep(waitMs * (0.5 + Math.random() / 2), undefined, pause).catch(() => undefined);
    }
    if (!closing.signal.aborted) hidden.delete(key);
  }

  function hide(isDeleted: (key: string) => boolean): void {
    for (const [key, { expiresAt }] of landings) {
      if (!isDeleted(key) || hidden.has(key)) continue;
      hidden.add(key);
      // Never rejects.
      void removeUntilGone(key, expiresAt);
    }
  }

  async function removeAtLast(key: string, signal: AbortSignal): Promise<void> {
    try {
      await unlessAborted(removeLanded(key), signal);
    } catch (cause) {
      emit({ type: 'storage.undeleted', level: 'error', requestId: undefined, key, cause });
    }
  }

  return {
    put,
    hides: (key) => hidden.has(key),
    hide,
    async close(signal) {
      closing.abort();
      await Promise.all([...hidden].map((key) => removeAtLast(key, signal)));
    },
  };
}

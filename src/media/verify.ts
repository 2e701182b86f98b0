/** Proving that stored bytes are what was stored: they are read again and compared with their recorded digest. */
import { createHash } from 'node:crypto';
import type { Emit } from '../core/events.js';
import type { MediaStorage, StoredObject, VerifyResult } from '../core/storage.js';
import { within } from '../core/wait.js';
import { closeUnread } from './lookup.js';
import { damagedObject, isDamage, reportStorage } from './report.js';

/** What verifying takes. */
export interface VerifyOptions {
  /** What is verified. One without a `list` holds nothing. */
  readonly storage: MediaStorage;
  /** How long storage may take for the next bytes, in milliseconds. */
  readonly storageMs: number;
  /** Raises events. */
  readonly emit: Emit;
  /** Stops between two chunks when aborted. */
  readonly signal: AbortSignal | undefined;
}

/**
 * Reads every object of a storage, one after the other, a chunk at a time, and compares length and SHA-256 with what
 * was recorded. Each one that differs raises `storage.damaged`, each one that cannot be read `storage.failed`; none is
 * changed. Throws what `list` throws, and `signal.reason` when aborted.
 */
export async function verifyObjects(options: VerifyOptions): Promise<VerifyResult> {
  const { storage, emit, signal } = options;
  const found = { checked: 0, damaged: 0, unread: 0 };
  for await (const key of storage.list?.('', { signal }) ?? []) {
    signal?.throwIfAborted();
    try {
      if (await verifyObject(key, options)) found.checked += 1;
    } catch (cause) {
      signal?.throwIfAborted();
      const isDamaged = isDamage(cause);
      if (isDamaged) found.damaged += 1;
      found[isDamaged ? 'checked' : 'unread'] += 1;
      reportStorage(emit, { operation: 'get', key, requestId: undefined, cause });
    }
  }
  return found;
}

/** Throws for an object that is not what was stored. Answers false for one that has gone meanwhile. */
async function verifyObject(key: string, options: VerifyOptions): Promise<boolean> {
  const { storage, storageMs, signal } = options;
  const opening = storage.get(key, { signal });
  const object = await within(opening, storageMs, late).catch((error: unknown) => {
    // What opens after all is closed again, and what fails after all has been told already.
    opening.then((opened) => opened && closeUnread(opened)).catch(() => undefined);
    throw error;
  });
  if (object === undefined) return false;
  const { bytes, sha256 } = await digestOf(object, options);
  if (bytes !== object.size) throw damagedObject(`it has ${bytes} bytes, ${object.size} are recorded`);
  if (sha256 !== object.sha256) throw damagedObject(`its SHA-256 is ${sha256}, ${object.sha256} is recorded`);
  return true;
}

async function digestOf(object: StoredObject, { storageMs, signal }: VerifyOptions) {
  const hash = createHash('sha256');
  let bytes = 0;
  const iterator = object.body[Symbol.asyncIterator]();
  try {
    for (;;) {
      signal?.throwIfAborted();
      const next = await within(iterator.next(), storageMs, late);
      if (next.done === true) return { bytes, sha256: hash.digest('hex') };
      hash.update(next.value);
      bytes += next.value.byteLength;
    }
  } finally {
    // Not awaited: a body that hangs would hang us here as well.
    iterator.return?.()?.catch(() => undefined);
  }
}

function late(): Error {
  return new Error('storage did not answer in time');
}

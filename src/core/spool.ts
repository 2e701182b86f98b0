/**
 * The spool: where paid pictures wait that storage did not take. Each is a file until storage takes it, it expires or
 * the process ends; meanwhile whoever reads the storage through {@link Spool.storage} sees it as if it were stored.
 */
import { hash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Emit, StorageLost } from './events.js';
import { createRemovals } from './removals.js';
import { createSpoolFolder, readWhole, removeFile, removeLeftovers } from './spool-folder.js';
import { spooledView, type WaitingObject } from './spool-view.js';
import type { MediaStorage, PutOptions } from './storage.js';
import { whileInTime } from './wait.js';

/** What a spool takes. */
export interface SpoolOptions {
  /** What is to take the pictures. */
  readonly storage: MediaStorage;
  /** How many bytes may wait. */
  readonly maxBytes: number;
  /** How long storage may take to store one, in milliseconds. */
  readonly storageMs: number;
  /** Raises events. */
  readonly emit: Emit;
}

/** A picture on its way to storage. */
export interface OfferedPicture {
  /** Its id. */
  readonly id: string;
  /** Its storage key. */
  readonly key: string;
  /** Its bytes. */
  readonly bytes: Uint8Array;
  /** What was to be stored beside. */
  readonly facts: Omit<PutOptions, 'signal'>;
  /** The request that made it. */
  readonly requestId: string;
}

/** Keeps pictures until storage takes them. */
export interface Spool {
  /** The storage, in which pictures that wait can be read, described and deleted like those it took. */
  readonly storage: MediaStorage;
  /** Keeps a picture and goes on offering it. Answers false, after an event, when there is no room for it. */
  keep(picture: OfferedPicture): Promise<boolean>;
  /** Removes what processes that were killed left of their spools, once it has expired, until `signal` aborts. */
  sweep(signal: AbortSignal | undefined): Promise<void>;
  /** Offers everything once more, until `signal` aborts, tells what is lost, and removes all files. */
  close(signal: AbortSignal): Promise<void>;
}

interface SpooledPicture extends WaitingObject {
  readonly id: string;
  readonly requestId: string;
  /** Aborts when the picture is deleted: it must not be stored any more. */
  readonly deleted: AbortController;
  attempts: number;
}

const FIRST_RETRY_MS = 250;
const LAST_RETRY_MS = 30_000;

/** Makes a spool. Touches no disk before there is something to keep. */
export function createSpool(options: SpoolOptions): Spool {
  const { storage, maxBytes, storageMs, emit } = options;
  const folder = createSpoolFolder();
  const removals = createRemovals({ storage, storageMs, emit });
  const waiting = new Map<string, SpooledPicture>();
  const closing = new AbortController();
  const closed = new AbortController();
  let heldBytes = 0;
  let offering: Promise<void> | undefined;

  function lose(picture: { id: string; requestId: string }, reason: StorageLost['reason'], cause?: unknown) {
    const { id, requestId } = picture;
    emit({ type: 'storage.lost', level: 'error', requestId, id, reason, cause });
  }

  async function forget(picture: SpooledPicture): Promise<void> {
    if (!waiting.delete(picture.key)) return;
    await removeFile(picture.path).catch(() => undefined);
    heldBytes -= picture.info.size;
  }

  async function store(picture: SpooledPicture, signal: AbortSignal): Promise<void> {
    const { key, path, info, deleted } = picture;
    const { contentType, sha256, expiresAt, metadata } = info;
    const bytes = await readWhole(path);
    if (hash('sha256', bytes) !== sha256) throw new Error('a spooled file changed');
    // Who deletes it from here on meets a put under way.
    deleted.signal.throwIfAborted();
    await removals.put(key, bytes, { contentType, sha256, expiresAt, metadata, signal });
  }

  /** Offers one to storage. Answers whether it need not be offered again. */
  async function offer(picture: SpooledPicture): Promise<boolean> {
    const { id, requestId, info, deleted } = picture;
    if (info.expiresAt <= Date.now()) {
      lose(picture, 'expired');
      await forget(picture);
      return true;
    }
    picture.attempts += 1;
    const signal = AbortSignal.any([closed.signal, deleted.signal]);
    try {
      await whileInTime((either) => store(picture, either), { signal, milliseconds: storageMs });
    } catch (cause) {
      if (deleted.signal.aborted) return true;
      emit({ type: 'storage.failed', level: 'warn', requestId, operation: 'put', cause });
      return false;
    }
    await forget(picture);
    if (deleted.signal.aborted) return true;
    const waitedMs = Date.now() - info.storedAt;
    emit({ type: 'storage.landed', level: 'info', requestId, id, attempts: picture.attempts, waitedMs });
    return true;
  }

  /** Offers one after the other, so that one is in memory. The first refusal ends the round: storage is still down. */
  async function offerRound(): Promise<boolean> {
    for (const picture of [...waiting.values()]) {
      if (!waiting.has(picture.key) || (await offer(picture))) continue;
      // Next time another one goes first, in case it is this picture that storage does not like.
      if (waiting.delete(picture.key)) waiting.set(picture.key, picture);
      return false;
    }
    return true;
  }

  async function offerUntilTaken(): Promise<void> {
    let waitMs = FIRST_RETRY_MS;
    while (waiting.size > 0 && !closing.signal.aborted) {
      // Unreferenced, so that a process that has nothing else to do may end.
      const pause = { ref: false, signal: closing.signal };
      await sleep(waitMs * (0.5 + Math.random() / 2), undefined, pause).catch(() => undefined);
      if (closing.signal.aborted) return;
      waitMs = (await offerRound()) ? FIRST_RETRY_MS : Math.min(waitMs * 2, LAST_RETRY_MS);
    }
  }

  async function keep(offered: OfferedPicture): Promise<boolean> {
    const { id, key, bytes, facts, requestId } = offered;
    const size = bytes.byteLength;
    if (closing.signal.aborted || heldBytes + size > maxBytes) {
      lose(offered, closing.signal.aborted ? 'closed' : 'full');
      return false;
    }
    heldBytes += size;
    try {
      const path = await folder.write(bytes, facts.expiresAt);
      const info = { ...facts, size, storedAt: Date.now() };
      const deleted = new AbortController();
      waiting.set(key, { id, key, requestId, path, info, deleted, attempts: 0 });
    } catch (cause) {
      heldBytes -= size;
      lose(offered, 'failed', cause);
      return false;
    }
    const held = { waiting: waiting.size, waitingBytes: heldBytes };
    emit({ type: 'storage.spooled', level: 'warn', requestId, id, bytes: size, ...held });
    offering ??= offerUntilTaken().finally(() => {
      offering = undefined;
    });
    return true;
  }

  async function close(signal: AbortSignal): Promise<void> {
    closing.abort();
    const cutOff = () => closed.abort();
    signal.addEventListener('abort', cutOff);
    await offering;
    for (const picture of [...waiting.values()]) {
      if (signal.aborted || !(await offer(picture))) lose(picture, 'closed');
    }
    signal.removeEventListener('abort', cutOff);
    await removals.close(signal);
    waiting.clear();
    await folder.remove();
  }

  const discard = async (picture: SpooledPicture) => {
    picture.deleted.abort();
    await forget(picture);
  };
  const sweep = (signal: AbortSignal | undefined) => removeLeftovers(Date.now(), signal);
  return { storage: spooledView({ storage, waiting, removals, discard }), keep, sweep, close };
}

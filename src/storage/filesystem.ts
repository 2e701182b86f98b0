/** Storage in a folder of a file system, which several processes and machines may share. */
import { rm } from 'node:fs/promises';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { crc32 } from 'node:zlib';
import type { MediaStorage, PutOptions, SweepOptions, SweepResult } from '../core/storage.js';
import { ConfigError } from '../errors.js';
import { createAttempts } from './attempts.js';
import { withFaults } from './faults.js';
import { createFlush } from './flushed-folders.js';
import { createLinkCheck, syncDirectory } from './folders.js';
import { checkKey, checkPrefix, isOfYoungDay } from './keys.js';
import { encodeHeader } from './object-file.js';
import { createObjectReader, type ObjectPlace } from './object-read.js';
import {
  OBJECT_SUFFIX,
  objectsBelow,
  prune,
  pruneBelow,
  removeExpired,
  removeIncoming,
} from './object-tree.js';
import { type ObjectWrite, writeObject } from './object-write.js';

/** Where {@link filesystem} keeps its objects. */
export interface FilesystemOptions {
  /**
   * The folder that holds everything, made with the first `put`. One file system; it may be a volume that several
   * processes share. A relative path counts from the working directory at the time of the call.
   */
  readonly root: string;
}

// A writer in another process may hold a temporary file; none holds one for an hour.
const ORPHAN_GRACE_MS = 3_600_000;

/**
 * Makes a storage that keeps each object as one file below `root`, facts and bytes together. A `put` that resolved
 * survives a power cut; one that did not is never seen, whatever killed it. Reading opens one file and looks it up
 * once; one of up to 4 MiB that is lent again within a short while is looked up and, unless it changed, sent from
 * memory (32 MiB at most). The body of a `get` holds the file open until it is read, ended by `return()` or aborted.
 *
 * Throws a `ConfigError` for a wrong `root`. Its methods throw a `TypeError` for a key outside the router's grammar
 * and a `STORAGE_ERROR`, whose cause is the system's error, for a full, read-only or failing disk and for an object
 * that is damaged (its `reason` is `damaged`). A header that changed, a file of another length and one under another
 * key's name are noticed when it is opened, changed bytes when the last of them is read, unless the file was found
 * sound within the last minute and nobody has written to it since. `sweep` removes expired objects, damaged ones a
 * week after their file's modification time, left-overs of broken-off writes older than an hour, and empty folders.
 */
export function filesystem(options: FilesystemOptions): MediaStorage {
  const root = resolveRoot(options?.root);
  const reader = createObjectReader();
  const flush = createFlush(root);
  const refuseLinks = createLinkCheck(root);
  const locate = (key: string): string => {
    checkKey(key);
    return join(root, key) + OBJECT_SUFFIX;
  };

  return {
    put: async (key, body, putOptions) =>
      put({ root, flush, refuseLinks, path: locate(key), key }, body, putOptions),
    get: async (key, getOptions) => reader.get({ path: locate(key), key }, getOptions),
    stat: async (key) => reader.stat({ path: locate(key), key }),
    async delete(key) {
      const path = locate(key);
      // Afterwards: who opened it before may be about to remember it.
      await remove(refuseLinks, path).finally(() => reader.forget((known) => known === path));
    },
    async deletePrefix(prefix, { signal } = {}) {
      checkPrefix(prefix);
      const directory = join(root, prefix.slice(0, -1));
      const isBelow = (path: string) => path.startsWith(directory + sep);
      await removeTree(refuseLinks, directory, signal).finally(() => reader.forget(isBelow));
    },
    sweep: async (sweepOptions) => withFaults(() => sweep(root, sweepOptions)),
    list: (prefix, { signal } = {}) => list(root, prefix, signal),
  };
}

function resolveRoot(root: unknown): string {
  if (typeof root !== 'string' || root === '' || root.includes('\0')) {
    throw new ConfigError('root', 'must be the path of a folder');
  }
  return resolve(root);
}

type Place = ObjectPlace & Pick<ObjectWrite, 'root' | 'flush' | 'refuseLinks'>;

async function put({ key, ...place }: Place, body: Uint8Array, options: PutOptions): Promise<void> {
  const { contentType, sha256, expiresAt, metadata, signal } = options;
  signal?.throwIfAborted();
  // JSON has no other numbers, and an object whose expiry cannot be read back could not be read at all.
  if (!Number.isFinite(expiresAt)) throw new TypeError('expiresAt is not an instant in epoch milliseconds.');
  const info = { size: body.byteLength, contentType, sha256, storedAt: Date.now(), expiresAt, metadata };
  const header = encodeHeader({ key, info, bodyCrc32: crc32(body) });
  await withFaults(() => writeObject({ ...place, header, body, expiresAt, signal }));
}

async function remove(refuseLinks: Place['refuseLinks'], path: string): Promise<void> {
  await withFaults(async () => {
    await refuseLinks(dirname(path));
    await rm(path, { force: true });
    await syncDirectory(dirname(path));
  });
}

async function removeTree(
  refuseLinks: Place['refuseLinks'],
  directory: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  await withFaults(async () => {
    await refuseLinks(directory);
    const attempts = createAttempts(signal);
    const removeFile = async (path: string) => {
      await rm(path, { force: true });
      return true;
    };
    await attempts.run(() => prune(directory, { remove: removeFile, attempts }));
    await attempts.run(() => syncDirectory(dirname(directory)));
    attempts.end();
  });
}

async function sweep(root: string, options: SweepOptions): Promise<SweepResult> {
  const { before, signal } = options;
  const attempts = createAttempts(signal);
  let removed = 0;
  let orphans = 0;
  const removeFile = async (path: string) => {
    const verdict = await removeExpired(root, path, before);
    if (verdict === 'expired') removed += 1;
    if (verdict === 'damaged') orphans += 1;
    return verdict !== 'kept';
  };
  const passesBy = (directory: string) => isOfYoungDay(keyBelow(root, directory), options);
  await attempts.run(() => pruneBelow(root, { remove: removeFile, passesBy, attempts }));
  const youngest = Math.min(before, Date.now()) - ORPHAN_GRACE_MS;
  orphans += (await attempts.run(() => removeIncoming(root, youngest, attempts))) ?? 0;
  attempts.end();
  return { removed, orphans };
}

function keyBelow(root: string, path: string): string {
  return relative(root, path).replaceAll(sep, '/');
}

async function* list(
  root: string,
  prefix: string,
  signal: AbortSignal | undefined,
): AsyncGenerator<string, void> {
  if (prefix !== '') checkPrefix(prefix);
  const attempts = createAttempts(signal);
  const files = objectsBelow(join(root, prefix), attempts);
  try {
    for (;;) {
      const { done, value: path } = await withFaults(() => files.next());
      if (done === true) return await withFaults(async () => attempts.end());
      yield keyBelow(root, path).slice(0, -OBJECT_SUFFIX.length);
    }
  } finally {
    // Closes the folders of a listing that is left early.
    await files.return();
  }
}

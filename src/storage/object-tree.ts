/** Walks the folders of a filesystem storage to remove what is no longer wanted. */
import type { Dirent } from 'node:fs';
import { lstat, opendir, rename, rm, rmdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { isImagesError } from '../errors.js';
import type { Attempts } from './attempts.js';
import { isMissing, isOccupied } from './faults.js';
import { makeFolder } from './folders.js';
import { isKeySegment } from './keys.js';
import { FACTS_ONLY, openObject } from './object-file.js';
import { INCOMING, incomingPath, incomingSince, putBack } from './object-write.js';

/** What the name of every object file ends in. No key can contain it, so an object and a folder never collide. */
export const OBJECT_SUFFIX = '@object';

function isObjectName(name: string): boolean {
  return name.endsWith(OBJECT_SUFFIX) && isKeySegment(name.slice(0, -OBJECT_SUFFIX.length));
}

/** What to do with the object files below a folder. */
export interface Pruning {
  /** Removes the file, or leaves it and answers `false`. */
  readonly remove: (path: string) => Promise<boolean>;
  /** True for a folder that is not to be entered. */
  readonly passesBy?: ((directory: string) => boolean) | undefined;
  /** Keeps a file or a folder that fails from ending it. */
  readonly attempts: Attempts;
}

/** What an object file is to a sweep: `damaged` ones cannot be read by anyone and have been kept for long enough. */
type Verdict = 'kept' | 'expired' | 'damaged' | 'gone';

// Whatever rewrites or cuts a file sets its modification time to now. It is left to be found, told of and restored.
const DAMAGED_GRACE_MS = 7 * 86_400_000;

/** Does what {@link pruneBelow} does, then removes `directory` itself if it is empty. Answers whether it is gone. */
export async function prune(directory: string, pruning: Pruning): Promise<boolean> {
  const left = await pruneBelow(directory, pruning);
  return left === 0 && (await removeEmpty(directory));
}

/**
 * Walks the object files below `directory` and removes the folders that are empty then. Answers how many entries
 * are left. Links and what is not ours (`lost+found`, other people's files) are left alone.
 */
export async function pruneBelow(directory: string, pruning: Pruning): Promise<number> {
  let left = 0;
  for await (const entry of entriesOf(directory)) {
    const path = join(directory, entry.name);
    const isGone = await pruning.attempts.run(() => pruneEntry(path, entry, pruning));
    if (isGone !== true) left += 1;
  }
  return left;
}

async function pruneEntry(path: string, entry: Dirent, pruning: Pruning): Promise<boolean> {
  if (entry.isDirectory() && isKeySegment(entry.name)) {
    return pruning.passesBy?.(path) !== true && prune(path, pruning);
  }
  return entry.isFile() && entry.name.endsWith(OBJECT_SUFFIX) && pruning.remove(path);
}

/**
 * The paths of the object files below `directory`, one folder open for each level. Links are not followed, folders
 * that cannot be read are noted and left out.
 */
export async function* objectsBelow(directory: string, attempts: Attempts): AsyncGenerator<string, void> {
  try {
    for await (const entry of entriesOf(directory)) {
      attempts.signal?.throwIfAborted();
      const path = join(directory, entry.name);
      if (entry.isDirectory() && isKeySegment(entry.name)) yield* objectsBelow(path, attempts);
      if (entry.isFile() && isObjectName(entry.name)) yield path;
    }
  } catch (error) {
    attempts.note(error);
  }
}

/**
 * Removes the object file at `path` if it expired before an instant, in epoch milliseconds, and answers what it was.
 * Files whose modification time lies after it are not opened, damaged ones removed a week after theirs.
 */
export async function removeExpired(root: string, path: string, before: number): Promise<Verdict> {
  const verdict = await judge(path, before);
  if (verdict === 'gone' || verdict === 'kept') return verdict;

  // Somebody may store the key again between this look and the removal. So the file is taken aside, looked at
  // again where no one can replace it, and put back if it is a new one.
  const aside = incomingPath(root);
  await makeFolder(dirname(aside));
  if (!(await rename(path, aside).then(() => true, whenMissing(false)))) return 'gone';
  const taken = await judge(aside, before);
  if (taken === 'kept') await putBack(aside, { root, path });
  await rm(aside, { force: true });
  return taken;
}

/** Removes the files that broken-off writes left in the incoming folder before an instant; answers how many. */
export async function removeIncoming(root: string, before: number, attempts: Attempts): Promise<number> {
  let removed = 0;
  for await (const entry of entriesOf(join(root, INCOMING))) {
    const since = incomingSince(entry.name);
    if (since === undefined || since >= before) continue;
    await attempts.run(async () => {
      await rm(join(root, INCOMING, entry.name), { force: true });
      removed += 1;
    });
  }
  return removed;
}

async function judge(path: string, before: number): Promise<Verdict> {
  const modified = await lstat(path).then((entry) => entry.mtimeMs, whenMissing(undefined));
  if (modified === undefined) return 'gone';
  if (modified > before) return 'kept';
  try {
    const object = await openObject(path, FACTS_ONLY);
    await object?.file.close();
    if (object === undefined) return 'gone';
    return object.info.expiresAt <= before ? 'expired' : 'kept';
  } catch (error) {
    if (!isImagesError(error)) throw error;
    return modified <= before - DAMAGED_GRACE_MS ? 'damaged' : 'kept';
  }
}

async function* entriesOf(directory: string): AsyncGenerator<Dirent> {
  const entries = await opendir(directory).catch(whenMissing(undefined));
  if (entries !== undefined) yield* entries;
}

// Answers false when somebody has just put something in, or removed it first.
async function removeEmpty(directory: string): Promise<boolean> {
  return rmdir(directory).then(
    () => true,
    (error: unknown) => {
      if (isOccupied(error) || isMissing(error)) return false;
      throw error;
    },
  );
}

function whenMissing<T>(value: T): (error: unknown) => T {
  return (error) => {
    if (isMissing(error)) return value;
    throw error;
  };
}

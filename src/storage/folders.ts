/** Folders of a filesystem storage: made under the eyes of sweeps, flushed, and never left through a link. */
import { lstat, mkdir, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { ImagesError } from '../errors.js';
import { isMissing, isTaken, isUnsupported } from './faults.js';

// A sweep may remove the empty folder a writer has just made; nobody loses that race again and again but by a fault.
const MOVE_ATTEMPTS = 10;

/**
 * Makes a folder and those above it, where they are missing. Answers the highest folder that has a new entry, or the
 * folder itself. (Node's own recursive `mkdir` reports a full disk as a missing folder.)
 */
export async function makeFolder(directory: string): Promise<string> {
  try {
    await mkdir(directory);
    return dirname(directory);
  } catch (error) {
    if (isTaken(error)) return directory;
    if (!isMissing(error) || directory === dirname(directory)) throw error;
  }
  const highest = await makeFolder(dirname(directory));
  await mkdir(directory).catch((error: unknown) => {
    if (!isTaken(error)) throw error;
  });
  return highest;
}

/**
 * Makes a folder and moves something into it, again when a sweep removed the empty folder in between. Answers the
 * highest folder that has a new entry.
 */
export async function intoFolder(directory: string, move: () => Promise<void>): Promise<string> {
  let highest = directory;
  for (let attempt = 1; ; attempt += 1) {
    try {
      const changed = await makeFolder(directory);
      if (changed.length < highest.length) highest = changed;
      await move();
      return highest;
    } catch (error) {
      if (!isMissing(error) || attempt === MOVE_ATTEMPTS) throw error;
    }
  }
}

/** Makes the entries of `directory` and of the folders above it up to `highest` survive a power cut. */
export async function syncUpTo(highest: string, directory: string): Promise<void> {
  for (let at = directory; ; at = dirname(at)) {
    await syncDirectory(at);
    if (at === highest || at === dirname(at)) return;
  }
}

/** Throws when a folder between `root` and `directory` (included) is a link, which could lead out of the root. */
export async function refuseLinks(root: string, directory: string): Promise<void> {
  for (let at = directory; at !== root; at = dirname(at)) {
    const isLink = await lstat(at).then(
      (entry) => entry.isSymbolicLink(),
      (error: unknown) => {
        if (isMissing(error)) return false;
        throw error;
      },
    );
    if (!isLink) continue;
    const cause = new Error(`${at} is a symbolic link`);
    throw new ImagesError('STORAGE_ERROR', 'A folder of the media storage is a link.', { cause });
  }
}

/** Makes the entries of a folder survive a power cut. A folder that is gone has none. */
export async function syncDirectory(directory: string): Promise<void> {
  try {
    const handle = await open(directory, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  } catch (error) {
    if (!isMissing(error) && !isUnsupported(error)) throw error;
  }
}

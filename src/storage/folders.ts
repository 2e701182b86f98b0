/** Folders of a filesystem storage: made under the eyes of sweeps, flushed, and never left through a link. */
import { lstat, mkdir, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { ImagesError } from '../errors.js';
import { isMissing, isTaken, isUnsupported } from './faults.js';

// A sweep may remove the empty folder a writer has just made; nobody loses that race again and again but by a fault.
const MOVE_ATTEMPTS = 10;

/**
 * Makes a folder and those above it, where they are missing. (Node's own recursive `mkdir` reports a full disk as a
 * missing folder.)
 */
export async function makeFolder(directory: string): Promise<void> {
  try {
    await mkdir(directory);
  } catch (error) {
    if (isTaken(error)) return;
    if (!isMissing(error) || directory === dirname(directory)) throw error;
    await makeFolder(dirname(directory));
    await mkdir(directory).catch((again: unknown) => {
      if (!isTaken(again)) throw again;
    });
  }
}

/** Makes a folder and moves something into it, again when a sweep removed the empty folder in between. */
export async function intoFolder(directory: string, move: () => Promise<void>): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      await makeFolder(directory);
      return await move();
    } catch (error) {
      if (!isMissing(error) || attempt === MOVE_ATTEMPTS) throw error;
    }
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

/**
 * Makes the entries of a folder survive a power cut, and answers what tells it from one that is made under its name
 * later. A folder that is gone has none, and some systems flush none: `undefined`.
 */
export async function syncDirectory(directory: string): Promise<string | undefined> {
  try {
    const handle = await open(directory, 'r');
    try {
      await handle.sync();
      const { dev, ino, birthtimeNs } = await handle.stat({ bigint: true });
      return `${dev}:${ino}:${birthtimeNs}`;
    } finally {
      await handle.close();
    }
  } catch (error) {
    if (!isMissing(error) && !isUnsupported(error)) throw error;
    return undefined;
  }
}

/** Folders of a filesystem storage: made under the eyes of sweeps, flushed, and never left through a link. */
import { realpath } from 'node:fs';
import { lstat, mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { ImagesError } from '../errors.js';
import { isMissing, isTaken, isUnsupported } from './faults.js';
import { type OpenFolder, openFolder } from './file.js';

// A sweep may remove the empty folder a writer has just made; nobody loses that race again and again but by a fault.
const MOVE_ATTEMPTS = 10;

/**
 * Makes a folder and those above it, where they are missing, and answers whether it was. (Node's own recursive `mkdir`
 * reports a full disk as a missing folder.)
 */
export async function makeFolder(directory: string): Promise<boolean> {
  try {
    await mkdir(directory);
    return true;
  } catch (error) {
    if (isTaken(error)) return false;
    if (!isMissing(error) || directory === dirname(directory)) throw error;
    await makeFolder(dirname(directory));
    return mkdir(directory).then(
      () => true,
      (again: unknown) => {
        if (!isTaken(again)) throw again;
        return false;
      },
    );
  }
}

/**
 * Makes a folder and moves something into it, again when a sweep removed the empty folder in between. `move` is told
 * whether the folder is one that was made for it.
 */
export async function intoFolder(directory: string, move: (isNew: boolean) => Promise<void>): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await move(await makeFolder(directory));
    } catch (error) {
      if (!isMissing(error) || attempt === MOVE_ATTEMPTS) throw error;
    }
  }
}

const realPath = promisify(realpath.native);

/**
 * Makes the function that throws when a folder between `root` and the one it is given (included) is a link, which
 * could lead out of the root. The root itself may be one.
 */
export function createLinkCheck(root: string): (directory: string) => Promise<void> {
  let realRoot: string | undefined;

  // One look where nothing is wrong, which the usual system call for each folder would take five for.
  async function isStraight(directory: string): Promise<boolean> {
    const real = await realPath(directory);
    const below = directory.slice(root.length);
    if (real === `${realRoot}${below}`) return true;
    realRoot = await realPath(root);
    return real === `${realRoot}${below}`;
  }

  return async (directory) => {
    if (await isStraight(directory).catch(() => false)) return;
    for (let at = directory; at.length > root.length; at = dirname(at)) {
      if (await isLink(at)) throw linkError(at);
    }
  };
}

async function isLink(path: string): Promise<boolean> {
  try {
    return (await lstat(path)).isSymbolicLink();
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}

function linkError(path: string): ImagesError {
  const cause = new Error(`${path} is a symbolic link`);
  return new ImagesError('STORAGE_ERROR', 'A folder of the media storage is a link.', { cause });
}

/** Makes the entries of a folder survive a power cut. A folder that is gone has none, and some systems flush none. */
export async function syncDirectory(directory: string): Promise<void> {
  await synced(directory, async () => undefined);
}

/**
 * Does what {@link syncDirectory} does, and answers what tells the folder from one that is made under its name later;
 * `undefined` where nothing was flushed.
 */
export async function syncAndIdentify(directory: string): Promise<string | undefined> {
  return synced(directory, (folder) => folder.identity());
}

async function synced<T>(
  directory: string,
  look: (folder: OpenFolder) => Promise<T>,
): Promise<T | undefined> {
  try {
    const folder = await openFolder(directory);
    try {
      await folder.sync();
      return await look(folder);
    } finally {
      await folder.close();
    }
  } catch (error) {
    if (!isMissing(error) && !isUnsupported(error)) throw error;
    return undefined;
  }
}

/** How an object file comes into place: all of it, durably, or nothing. */
import { randomUUID } from 'node:crypto';
import { link, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { isMissing, isTaken } from './faults.js';
import { createFile, type NewFile } from './file.js';
import { createFlush } from './flushed-folders.js';
import { intoFolder, makeFolder } from './folders.js';

/** What to write, and where. */
export interface ObjectWrite {
  /** The folder that holds everything, absolute. */
  readonly root: string;
  /** Makes the entries of a folder and of those above it survive a power cut. */
  readonly flush: (directory: string) => Promise<void>;
  /** Throws when a folder between the root and this one (included) is a link. */
  readonly refuseLinks: (directory: string) => Promise<void>;
  /** Where the file goes, below `root`. */
  readonly path: string;
  /** What it starts with. */
  readonly header: Uint8Array;
  /** What follows the header. */
  readonly body: Uint8Array;
  /** Epoch milliseconds, kept as the file's modification time so that a sweep need not open it. */
  readonly expiresAt: number;
  /** Gives up when aborted. */
  readonly signal: AbortSignal | undefined;
}

// More at once costs Linux more, not less.
const CHUNK_BYTES = 512 * 1024;
// What the oldest file systems can say. An earlier time only makes a sweep look into the file.
const MAX_MODIFIED_SECONDS = 2 ** 31 - 1;

/** The folder below the root where files wait to be whole. No key can name it. */
export const INCOMING = '@incoming';
const INCOMING_NAME = /^(\d{1,16})-[0-9a-f-]{36}\.tmp$/;

/** A new name for a file that is not an object yet, or none any more. It tells when it was made. */
export function incomingPath(root: string): string {
  return join(root, INCOMING, `${Date.now()}-${randomUUID()}.tmp`);
}

/** When a file in the incoming folder was made, in epoch milliseconds; `undefined` when it is none of ours. */
export function incomingSince(name: string): number | undefined {
  const since = INCOMING_NAME.exec(name)?.[1];
  return since === undefined ? undefined : Number(since);
}

/** Writes an object file under a temporary name and moves it into place. On any error nothing is left behind. */
export async function writeObject(write: ObjectWrite): Promise<void> {
  const temporary = incomingPath(write.root);
  try {
    await writeTemporary(temporary, write);
    await moveIntoPlace(temporary, write);
  } catch (error) {
    // What cannot be removed (the disk has just become read-only) is left to a sweep; the first error matters more.
    await rm(temporary, { force: true }).catch(() => undefined);
    throw error;
  }
}

/** Puts a file that was taken aside back to `path`, durably, unless there is a newer one. */
export async function putBack(
  aside: string,
  { root, path }: Pick<ObjectWrite, 'root' | 'path'>,
): Promise<void> {
  const directory = dirname(path);
  await intoFolder(directory, async () => {
    await link(aside, path).catch((error: unknown) => {
      if (!isTaken(error)) throw error;
    });
  });
  await createFlush(root)(directory);
}

async function writeTemporary(temporary: string, write: ObjectWrite): Promise<void> {
  const file = await createIncoming(temporary);
  try {
    await writeAll(file, write);
    // Only a hint for the sweep, so a file system that refuses it does no harm.
    await file.setTimes(Math.min(write.expiresAt / 1000, MAX_MODIFIED_SECONDS)).catch(() => undefined);
    await file.sync();
  } finally {
    await file.close();
  }
  write.signal?.throwIfAborted();
}

// The folder is there for all but the first.
async function createIncoming(temporary: string): Promise<NewFile> {
  try {
    return await createFile(temporary);
  } catch (error) {
    if (!isMissing(error)) throw error;
    await makeFolder(dirname(temporary));
    return createFile(temporary);
  }
}

async function writeAll(file: NewFile, { header, body, signal }: ObjectWrite): Promise<void> {
  let written = 0;
  while (written < header.byteLength + body.byteLength) {
    signal?.throwIfAborted();
    const start = Math.max(0, written - header.byteLength);
    // Whole pages, then. A disk that fills up may take a part of them before it refuses the rest.
    const end = written + CHUNK_BYTES - header.byteLength;
    written += await file.append([header.subarray(written), body.subarray(start, end)]);
  }
}

async function moveIntoPlace(temporary: string, { path, flush, refuseLinks }: ObjectWrite): Promise<void> {
  const directory = dirname(path);
  // Before a folder is made through a link.
  await refuseLinks(dirname(directory));
  await intoFolder(directory, async (isNew) => {
    if (!isNew) await refuseLinks(directory);
    await rename(temporary, path);
  });
  try {
    await flush(directory);
  } catch (error) {
    // It is in place but may not survive a power cut, and a rejected put leaves nothing.
    await rm(path, { force: true }).catch(() => undefined);
    throw error;
  }
}

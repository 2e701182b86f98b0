/**
 * Files of pictures that wait, for storage or for their turn: in a private folder among the system's temporary ones, gone
 * with the process unless it is killed.
 */
import { randomUUID } from 'node:crypto';
import {
  type FileHandle,
  lstat,
  mkdtemp,
  open,
  readdir,
  readFile,
  rm,
  rmdir,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ByteRange } from './storage.js';

/** A folder for files that only this process reads. Made with its first file. */
export interface SpoolFolder {
  /**
   * Writes a file and answers its path. On an error nothing is left. Nobody reads it any more after `expiresAt`, epoch
   * milliseconds: should this process be killed, {@link removeLeftovers} takes it from then on.
   */
  write(bytes: Uint8Array, expiresAt: number): Promise<string>;
  /** Removes the folder with everything in it. Another `write` makes a new one. */
  remove(): Promise<void>;
}

const PREFIX = 'images-router-spool-';
// What `write` names files: when they expire, and an id.
const NAME = /^(\d{13,})-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
// A chunk stays in memory until its reader takes it.
const CHUNK_BYTES = 64 * 1024;
// Machines that share a temporary folder have clocks of their own.
const SLACK_MS = 3_600_000;

/** Makes the keeper of such a folder. Only this user may enter it. */
export function createSpoolFolder(): SpoolFolder {
  let making: Promise<string> | undefined;

  function folder(): Promise<string> {
    // `mkdtemp` makes folders with mode 0700 and a name nobody can guess.
    making ??= mkdtemp(join(tmpdir(), PREFIX)).catch((error: unknown) => {
      making = undefined;
      throw error;
    });
    return making;
  }

  return {
    async write(bytes, expiresAt) {
      const name = `${Math.ceil(expiresAt)}-${randomUUID()}`;
      const made = folder();
      return writeNew(join(await made, name), bytes).catch(async (error: unknown) => {
        // Whoever tidies temporary folders up takes one that has been empty for days.
        if (!isMissing(error)) throw error;
        if (making === made) making = undefined;
        return writeNew(join(await folder(), name), bytes);
      });
    },
    async remove() {
      const made = making;
      making = undefined;
      if (made !== undefined) await rm(await made, { recursive: true, force: true });
    },
  };
}

async function writeNew(path: string, bytes: Uint8Array): Promise<string> {
  try {
    await writeFile(path, bytes, { flag: 'wx', mode: 0o600 });
    return path;
  } catch (error) {
    await removeFile(path).catch(() => undefined);
    throw error;
  }
}

/**
 * Removes what processes that were killed left behind, once nobody would read it any more even if its process lived:
 * from outside nobody can tell for sure whether one does. What cannot be looked at or removed is left.
 */
export async function removeLeftovers(now: number, signal?: AbortSignal): Promise<void> {
  const names = await readdir(tmpdir()).catch(() => []);
  for (const name of names.filter((each) => each.startsWith(PREFIX))) {
    if (signal?.aborted) return;
    // Some go at this moment.
    await removeExpired(join(tmpdir(), name), now).catch(() => undefined);
  }
}

async function removeExpired(folder: string, now: number): Promise<void> {
  // Where all may write, others could lead us elsewhere by what they call so.
  const entry = await lstat(folder);
  if (!entry.isDirectory() || entry.uid !== (process.getuid?.() ?? entry.uid)) return;
  for (const name of await readdir(folder)) {
    const [, expiresAt] = NAME.exec(name) ?? [];
    if (expiresAt !== undefined && Number(expiresAt) + SLACK_MS < now) await removeFile(join(folder, name));
  }
  // Fails where anything is left. Whoever lives, and finds its folder gone, makes another one.
  await rmdir(folder);
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}

/** Removes a file. A missing one is fine. */
export async function removeFile(path: string): Promise<void> {
  await rm(path, { force: true });
}

/** Reads a file whole. */
export async function readWhole(path: string): Promise<Uint8Array> {
  return readFile(path);
}

/** Chunks of a range of an open file, which is closed however the reading ends once it has begun. */
export async function* readRange(
  handle: FileHandle,
  { start, end }: ByteRange,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array, void> {
  try {
    for (let position = start; position <= end; ) {
      signal?.throwIfAborted();
      const length = Math.min(CHUNK_BYTES, end - position + 1);
      const { buffer, bytesRead } = await handle.read(Buffer.allocUnsafeSlow(length), 0, length, position);
      if (bytesRead === 0) throw new Error('a spooled file is shorter than it was');
      yield buffer.subarray(0, bytesRead);
      position += bytesRead;
    }
  } finally {
    await handle.close();
  }
}

/** Opens a file for {@link readRange}, or answers `undefined` when it is gone. */
export async function openFile(path: string): Promise<FileHandle | undefined> {
  return open(path, 'r').catch((error: unknown) => {
    if (isMissing(error)) return undefined;
    throw error;
  });
}

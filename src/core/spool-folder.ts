/**
 * Files of pictures that wait for storage: in a private folder among the system's temporary ones, gone with the
 * process.
 */
import { randomUUID } from 'node:crypto';
import { type FileHandle, mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ByteRange } from './storage.js';

/** A folder for files that only this process reads. Made with its first file. */
export interface SpoolFolder {
  /** Writes a file and answers its path. On an error nothing is left. */
  write(bytes: Uint8Array): Promise<string>;
  /** Removes the folder with everything in it. Another `write` makes a new one. */
  remove(): Promise<void>;
}

// A chunk stays in memory until its reader takes it.
const CHUNK_BYTES = 64 * 1024;

/** Makes the keeper of such a folder. Only this user may enter it. */
export function createSpoolFolder(): SpoolFolder {
  let making: Promise<string> | undefined;

  async function folder(): Promise<string> {
    // `mkdtemp` makes folders with mode 0700 and a name nobody can guess.
    making ??= mkdtemp(join(tmpdir(), 'images-router-spool-'));
    try {
      return await making;
    } catch (error) {
      making = undefined;
      throw error;
    }
  }

  return {
    async write(bytes) {
      const path = join(await folder(), randomUUID());
      try {
        await writeFile(path, bytes, { flag: 'wx', mode: 0o600 });
        return path;
      } catch (error) {
        await removeFile(path).catch(() => undefined);
        throw error;
      }
    },
    async remove() {
      const made = making;
      making = undefined;
      if (made !== undefined) await rm(await made, { recursive: true, force: true });
    },
  };
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
  return open(path, 'r').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
}

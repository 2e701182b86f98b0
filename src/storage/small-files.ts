/** Small files that are asked for again and again: kept in memory, and looked at before each use. */
import { lstat } from 'node:fs';
import type { OpenObject } from './object-file.js';
import { isSameFile, isSettled, REMEMBERED_MS } from './sound-files.js';

/** Small files that were read a short while ago. */
export interface SmallFiles {
  /** Whether a file was asked for before, one of the last 2,000 times: then it is worth remembering. */
  isAskedAgain(path: string): boolean;
  /** What was remembered of a file within the last minute, unless it has gone or been written to since. */
  recall(path: string): Promise<OpenObject | undefined> | undefined;
  /** Remembers a file that was read whole and found sound. Copies its bytes. */
  remember(path: string, object: OpenObject): void;
  /** Lets go of the bytes of files that are removed. */
  forget(isRemoved: (path: string) => boolean): void;
}

interface SmallFile {
  readonly object: OpenObject;
  readonly stamp: NonNullable<OpenObject['stamp']>;
  readonly readAt: number;
}

const MAX_BYTES = 16 * 1024 * 1024;
const MAX_FILES = 2_000;

/** Makes a memory of at most 16 MiB in 2,000 files. */
export function createSmallFiles(): SmallFiles {
  const files = new Map<string, SmallFile>();
  const asked = new Set<string>();
  let bytes = 0;

  function drop(path: string): void {
    const known = files.get(path);
    if (known === undefined) return;
    bytes -= known.stamp.size;
    files.delete(path);
  }

  async function sameAsBefore(path: string, { object, stamp }: SmallFile): Promise<OpenObject | undefined> {
    const found = await lookAt(path);
    if (found !== undefined && isSameFile(stamp, found)) return object;
    drop(path);
    return undefined;
  }

  return {
    isAskedAgain(path) {
      if (asked.delete(path)) return true;
      if (asked.size >= MAX_FILES) asked.delete(asked.keys().next().value ?? '');
      asked.add(path);
      return false;
    },
    recall(path) {
      const known = files.get(path);
      if (known === undefined) return undefined;
      if (Date.now() - known.readAt < REMEMBERED_MS) return sameAsBefore(path, known);
      drop(path);
      return undefined;
    },
    remember(path, { head, stamp, ...object }) {
      if (stamp === undefined || !isSettled(stamp)) return;
      drop(path);
      files.set(path, { object: { ...object, head: Buffer.from(head), stamp }, stamp, readAt: Date.now() });
      bytes += stamp.size;
      while (bytes > MAX_BYTES || files.size > MAX_FILES) drop(files.keys().next().value ?? '');
    },
    forget(isRemoved) {
      for (const path of files.keys()) if (isRemoved(path)) drop(path);
    },
  };
}

/** A file as it is now; `undefined` where that cannot be told. */
function lookAt(path: string): Promise<OpenObject['stamp']> {
  return new Promise((resolve) => {
    lstat(path, (error, stats) => resolve(error ? undefined : stats));
  });
}

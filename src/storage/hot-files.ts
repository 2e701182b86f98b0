/** Files that are asked for again and again: kept in memory, and looked at before each use. */
import { lstat } from 'node:fs';
import { crc32 } from 'node:zlib';
import type { StoredInfo } from '../core/storage.js';
import { createGroupCommit } from './group-commit.js';
import { createHeldMemory, type HeldBytes } from './held-bytes.js';
import { damaged, type OpenObject, type Stamp } from './object-file.js';
import { isSameFile, isSettled, REMEMBERED_MS } from './sound-files.js';

/** An object in memory. Whoever reads it holds its bytes. */
export interface HotObject extends Pick<HeldBytes, 'bytes' | 'hold'> {
  /** What a reader is told. */
  readonly info: StoredInfo;
}

/** Files of up to 4 MiB that were asked for again within a short while. */
export interface HotFiles {
  /** What was loaded of a file within the last minute, unless it has gone or been written to since. */
  recall(path: string): Promise<HotObject | undefined> | undefined;
  /**
   * Notes that a file is asked for, before it is opened. Where it was one of the last 2,000 it is worth remembering:
   * answers what loads it.
   */
  noteAsked(path: string): LoadFile | undefined;
  /** Lets go of the bytes of files that were removed. */
  forget(isRemoved: (path: string) => boolean): void;
}

/**
 * Reads the rest of an open object into memory and checks it; `undefined` where it is too large or was written to too
 * shortly ago, is being loaded already, may have been removed, or memory is full. Throws where it is damaged.
 */
export type LoadFile = (object: OpenObject) => Promise<HotObject | undefined>;

interface HotFile extends HotObject, Pick<HeldBytes, 'holders'> {
  readonly stamp: Stamp;
  readonly loadedAt: number;
  readonly release: () => void;
}

const MAX_FILE_BYTES = 4 * 1024 * 1024;
const MAX_BYTES = 32 * 1024 * 1024;
const MAX_FILES = 2_000;

/** Makes a memory of at most 2,000 files, and 32 MiB together with those that went while somebody reads them. */
export function createHotFiles(): HotFiles {
  const files = new Map<string, HotFile>();
  const asked = new Set<string>();
  const loading = new Set<string>();
  const memory = createHeldMemory();
  const lookAt = createGroupCommit(stampOf);
  let removals = 0;

  function drop(path: string): void {
    files.get(path)?.release();
    files.delete(path);
  }

  /** Drops the oldest files that nobody reads until another one fits. */
  function makeRoom(bytes: number): boolean {
    const hasRoom = () => memory.heldBytes() + bytes <= MAX_BYTES && files.size < MAX_FILES;
    for (const [path, { holders }] of files) {
      if (hasRoom()) break;
      if (holders() === 1) drop(path);
    }
    return hasRoom();
  }

  async function sameAsBefore(path: string, file: HotFile): Promise<HotObject | undefined> {
    const stamp = await lookAt(path);
    if (stamp !== undefined && isSameFile(file.stamp, stamp)) return file;
    if (files.get(path) === file) drop(path);
    return undefined;
  }

  async function load(
    path: string,
    object: OpenObject,
    isThere: () => boolean,
  ): Promise<HotObject | undefined> {
    const { info, stamp } = object;
    if (stamp === undefined || !isSettled(stamp) || info.size > MAX_FILE_BYTES) return undefined;
    // Somebody may have loaded it since it was opened.
    const known = files.get(path);
    if (known !== undefined && isSameFile(known.stamp, stamp)) return known;
    if (loading.has(path) || !makeRoom(info.size)) return undefined;
    const held = memory.allocate(info.size);
    const letGo = held.hold();
    loading.add(path);
    try {
      await readWhole(path, object, held.bytes);
    } catch (error) {
      letGo();
      throw error;
    } finally {
      loading.delete(path);
    }
    if (!isThere()) {
      letGo();
      return undefined;
    }
    drop(path);
    // Not only when somebody asks again: nobody may.
    const timer = setTimeout(() => drop(path), REMEMBERED_MS);
    timer.unref();
    const release = () => {
      clearTimeout(timer);
      letGo();
    };
    const file = { ...held, info, stamp, loadedAt: Date.now(), release };
    files.set(path, file);
    return file;
  }

  return {
    recall(path) {
      const file = files.get(path);
      if (file === undefined) return undefined;
      if (Date.now() - file.loadedAt < REMEMBERED_MS) return sameAsBefore(path, file);
      drop(path);
      return undefined;
    },
    noteAsked(path) {
      if (asked.delete(path)) {
        const before = removals;
        return (object) => load(path, object, () => removals === before);
      }
      if (asked.size >= MAX_FILES) asked.delete(asked.keys().next().value ?? '');
      asked.add(path);
      return undefined;
    },
    forget(isRemoved) {
      removals += 1;
      for (const path of files.keys()) if (isRemoved(path)) drop(path);
    },
  };
}

async function readWhole(path: string, { file, head, bodyStart, bodyCrc32 }: OpenObject, bytes: Buffer) {
  bytes.set(head);
  for (let position = head.byteLength; position < bytes.byteLength; ) {
    const bytesRead = await file.read(bytes.subarray(position), bodyStart + position);
    if (bytesRead === 0) throw damaged(path, `it ends before byte ${bytes.byteLength - 1}`);
    position += bytesRead;
  }
  if (crc32(bytes) !== bodyCrc32) throw damaged(path, 'its bytes have changed');
}

/** A file as it is now; `undefined` where that cannot be told. */
function stampOf(path: string): Promise<Stamp | undefined> {
  return new Promise((resolve) => {
    lstat(path, (error, stats) => resolve(error ? undefined : stats));
  });
}

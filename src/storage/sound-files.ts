/** Files that were read whole a short while ago and found sound. */
import type { Stamp } from './object-file.js';

/** What is known of a file that has just been opened. */
export interface Soundness {
  /** Whether it was sound within the last minute, and nobody has written to it since. */
  readonly isKnownSound: boolean;
  /** To be called once all of it was read and found sound. */
  readonly onSound: () => void;
}

interface Sound extends Stamp {
  readonly foundAt: number;
}

/** How long what was found sound counts as sound: what changes bytes behind the file system's back shows after it. */
export const REMEMBERED_MS = 60_000;
const MAX_FILES = 2_000;
// Some file systems cannot tell apart what happens within two seconds: what was written that shortly before it was
// opened could be written once more and look the same.
const SETTLED_MS = 2_000;

/** Makes a memory of at most 2,000 files. Its function is asked about each file when it is opened. */
export function createSoundFiles(): (path: string, stamp: Stamp | undefined) => Soundness {
  const files = new Map<string, Sound>();

  function remember(path: string, { ino, size, ctimeMs }: Stamp): void {
    files.delete(path);
    if (files.size >= MAX_FILES) files.delete(files.keys().next().value ?? '');
    files.set(path, { ino, size, ctimeMs, foundAt: Date.now() });
  }

  return (path, stamp) => {
    if (stamp === undefined || !isSettled(stamp)) return UNKNOWN;
    const known = files.get(path);
    const isKnownSound =
      known !== undefined && Date.now() - known.foundAt < REMEMBERED_MS && isSameFile(known, stamp);
    return { isKnownSound, onSound: () => remember(path, stamp) };
  };
}

const UNKNOWN: Soundness = { isKnownSound: false, onSound: () => undefined };

/** False for a file that was written to so shortly ago that what follows could look the same. */
export function isSettled({ ctimeMs }: Stamp): boolean {
  return Date.now() - ctimeMs >= SETTLED_MS;
}

/** Whether nobody has replaced a file, or written to it, between two looks. */
export function isSameFile(one: Stamp, other: Stamp): boolean {
  return one.ino === other.ino && one.size === other.size && one.ctimeMs === other.ctimeMs;
}

/**
 * Files that are read at given places, new ones, and folders to be flushed. By the callbacks of `node:fs`: its promised
 * handles cost a third more for each small read or write.
 */
import { close, constants, fstat, fsync, futimes, open, read, type Stats, writev } from 'node:fs';
import { promisify } from 'node:util';

/** An open file. Whoever has it closes it. */
export interface OpenFile {
  /** Fills `buffer` from a place in the file and answers with how many bytes: fewer where the file ends. */
  read(buffer: Uint8Array, position: number): Promise<number>;
  /** Describes it. */
  stat(): Promise<Stats>;
  /** Closes it once what is being read has been read. May be called again. */
  close(): Promise<void>;
}

const openNow = promisify(open);
const readNow = promisify(read);
const describeNow = promisify(fstat);
const writeNow = promisify(writev);
const setTimesNow = promisify(futimes);
const syncNow = promisify(fsync);
const closeNow = promisify(close);

// A link in the place of a file is refused by the system itself. (Windows has no such flag.)
const FLAGS = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0);

/** Opens a file for reading. Throws the system's errors. */
export async function openFile(path: string): Promise<OpenFile> {
  const descriptor = await openNow(path, FLAGS);
  let working: Promise<unknown> | undefined;
  let closing: Promise<void> | undefined;
  const closeIt = () => closeNow(descriptor);

  return {
    async read(buffer, position) {
      const done = readNow(descriptor, buffer, 0, buffer.byteLength, position);
      working = done;
      return (await done).bytesRead;
    },
    stat() {
      const done = describeNow(descriptor);
      working = done;
      return done;
    },
    close() {
      // The descriptor could be another file's before work under way has come to it.
      closing ??= working === undefined ? closeIt() : working.then(closeIt, closeIt);
      return closing;
    },
  };
}

/** A file that is being written. Whoever has it closes it. */
export interface NewFile {
  /** Writes `pieces` behind what is there and answers how many bytes it took: fewer than all where the disk is full. */
  append(pieces: readonly Uint8Array[]): Promise<number>;
  /** Sets when it was read and modified last, in epoch seconds. */
  setTimes(seconds: number): Promise<void>;
  /** Makes its bytes survive a power cut. */
  sync(): Promise<void>;
  /** Closes it. Nothing may be under way. */
  close(): Promise<void>;
}

/** Makes a file. Throws the system's errors, also where there is something of that name. */
export async function createFile(path: string): Promise<NewFile> {
  const descriptor = await openNow(path, 'wx');
  return {
    append: async (pieces) => (await writeNow(descriptor, pieces)).bytesWritten,
    setTimes: (seconds) => setTimesNow(descriptor, seconds, seconds),
    sync: () => syncNow(descriptor),
    close: () => closeNow(descriptor),
  };
}

/** An open folder. Whoever has it closes it. */
export interface OpenFolder {
  /** Makes its entries survive a power cut. */
  sync(): Promise<void>;
  /** What tells it from one that is made under its name later. */
  identity(): Promise<string>;
  /** Closes it. Nothing may be under way. */
  close(): Promise<void>;
}

/** Opens a folder. Throws the system's errors. */
export async function openFolder(path: string): Promise<OpenFolder> {
  const descriptor = await openNow(path, 'r');
  return {
    sync: () => syncNow(descriptor),
    async identity() {
      const { dev, ino, birthtimeNs } = await describeNow(descriptor, { bigint: true });
      return `${dev}:${ino}:${birthtimeNs}`;
    },
    close: () => closeNow(descriptor),
  };
}

/**
 * Files that are read at given places, and new ones. By the callbacks of `node:fs`: its promised handles cost a third
 * more for each small read or write.
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

// A link in the place of a file is refused by the system itself. (Windows has no such flag.)
const FLAGS = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0);

/** Opens a file for reading. Throws the system's errors. */
export function openFile(path: string): Promise<OpenFile> {
  return new Promise((resolve, reject) => {
    open(path, FLAGS, (error, descriptor) => {
      if (error) reject(error);
      else resolve(openedFile(descriptor));
    });
  });
}

function openedFile(descriptor: number): OpenFile {
  let working: Promise<unknown> | undefined;
  let closing: Promise<void> | undefined;

  function readInto(buffer: Uint8Array, position: number): Promise<number> {
    return new Promise((resolve, reject) => {
      read(descriptor, buffer, 0, buffer.byteLength, position, (error, bytesRead) => {
        if (error) reject(error);
        else resolve(bytesRead);
      });
    });
  }
  function describe(): Promise<Stats> {
    return new Promise((resolve, reject) => {
      fstat(descriptor, (error, stats) => (error ? reject(error) : resolve(stats)));
    });
  }
  function closeNow(): Promise<void> {
    return new Promise((resolve, reject) => {
      close(descriptor, (error) => (error ? reject(error) : resolve()));
    });
  }

  return {
    read(buffer, position) {
      const done = readInto(buffer, position);
      working = done;
      return done;
    },
    stat() {
      const done = describe();
      working = done;
      return done;
    },
    close() {
      // The descriptor could be another file's before work under way has come to it.
      closing ??= working === undefined ? closeNow() : working.then(closeNow, closeNow);
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

const openNow = promisify(open);
const writePieces = promisify(writev);
const setTimesNow = promisify(futimes);
const syncNow = promisify(fsync);
const closeNow = promisify(close);

/** Makes a file. Throws the system's errors, also where there is something of that name. */
export async function createFile(path: string): Promise<NewFile> {
  const descriptor = await openNow(path, 'wx');
  return {
    append: async (pieces) => (await writePieces(descriptor, pieces)).bytesWritten,
    setTimes: (seconds) => setTimesNow(descriptor, seconds, seconds),
    sync: () => syncNow(descriptor),
    close: () => closeNow(descriptor),
  };
}

/**
 * How an object lies on disk: one file that starts with a header (its facts) and goes on with its bytes.
 *
 * Why not a side-car beside the data: two files cannot be replaced in one step, so a reader, a crash or a second
 * process could pair bytes with the facts of others, and a reader would need two look-ups. One file under one name
 * changes by one `rename`; whoever opened the old one keeps it whole. The price is that the files are no pictures
 * by themselves: they are read through this storage.
 *
 * Header: 8 bytes magic, 4 bytes length of the facts, 4 bytes CRC-32 of the facts (both big-endian), the facts as
 * JSON. The facts name their key, so that an object under another's name is noticed, and the CRC-32 of the bytes: a
 * quarter of what a read costs, where SHA-256 would double it.
 */
import type { Stats } from 'node:fs';
import { crc32 } from 'node:zlib';
import type { StoredInfo } from '../core/storage.js';
import { ImagesError } from '../errors.js';
import { isMissing } from './faults.js';
import { type OpenFile, openFile } from './file.js';

/** What the header of an object says. */
export interface ObjectFacts {
  /** The key it was stored under. */
  readonly key: string;
  /** What a reader is told. */
  readonly info: StoredInfo;
  /** CRC-32 of its bytes, checked whenever all of them are read. */
  readonly bodyCrc32: number;
}

/** What tells a file from every other, and from itself with other bytes. */
export type Stamp = Pick<Stats, 'ino' | 'size' | 'ctimeMs'>;

/** An object file that is open for reading. Whoever gets it closes the file. */
export interface OpenObject extends ObjectFacts {
  /** The open file. */
  readonly file: OpenFile;
  /** Where the first byte of the object is in the file. */
  readonly bodyStart: number;
  /** The object's first bytes, read together with its header. */
  readonly head: Uint8Array;
  /** Whether all of the object has been read already. */
  readonly isRead: boolean;
  /** The file as it was opened; `undefined` where all of it has been read and nobody wanted to know. */
  readonly stamp: Stamp | undefined;
}

const MAGIC = Buffer.from('EIR-OBJ1', 'latin1');
const FIXED_BYTES = 16;
const MAX_FACTS_BYTES = 256 * 1024;
// One page holds the header of any ordinary picture.
const HEADER_READ_BYTES = 4096;

/** Makes the header for `facts`. Throws a `TypeError` when they are longer than 256 KiB as JSON. */
export function encodeHeader(facts: ObjectFacts): Uint8Array {
  const json = Buffer.from(JSON.stringify(facts), 'utf8');
  if (json.byteLength > MAX_FACTS_BYTES) throw new TypeError('The facts of a stored object are too long.');
  const fixed = Buffer.alloc(FIXED_BYTES);
  MAGIC.copy(fixed);
  fixed.writeUInt32BE(json.byteLength, 8);
  fixed.writeUInt32BE(crc32(json), 12);
  return Buffer.concat([fixed, json]);
}

/** The error of an object that is not what was once stored. What is wrong goes into its cause, not to clients. */
export function damaged(path: string, what: string): ImagesError {
  const cause = new Error(`${path}: ${what}`);
  return new ImagesError('STORAGE_ERROR', 'A stored object is damaged.', { reason: 'damaged', cause });
}

/** What to open. */
export interface OpenOptions {
  /** Makes the memory for the first read: of the facts, and as many bytes of the object as fit. */
  readonly firstBuffer: () => Buffer;
  /** Whether the file is looked at even where the first read has all of it. @defaultValue `false` */
  readonly isStamped?: boolean | undefined;
}

/** Reads the facts, and little more. */
export const FACTS_ONLY: OpenOptions = { firstBuffer: () => Buffer.allocUnsafe(HEADER_READ_BYTES) };

/**
 * Opens the object file at `path`, or answers `undefined` when there is none. Throws when its header is damaged or
 * its length is not the one recorded.
 */
export async function openObject(path: string, options: OpenOptions): Promise<OpenObject | undefined> {
  let file: OpenFile;
  try {
    file = await openFile(path);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
  try {
    return { file, ...(await readHeader(file, path, options)) };
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function readHeader(
  file: OpenFile,
  path: string,
  { firstBuffer, isStamped = false }: OpenOptions,
): Promise<Omit<OpenObject, 'file'>> {
  const buffer = firstBuffer();
  const bytesRead = await file.read(buffer, 0);
  if (bytesRead < FIXED_BYTES || !buffer.subarray(0, MAGIC.byteLength).equals(MAGIC)) {
    throw damaged(path, 'it does not start like an object');
  }
  const factsBytes = buffer.readUInt32BE(8);
  const bodyStart = FIXED_BYTES + factsBytes;
  if (factsBytes > MAX_FACTS_BYTES) throw damaged(path, 'its header is cut off');

  const json =
    bodyStart <= bytesRead ? buffer.subarray(FIXED_BYTES, bodyStart) : await readFacts(file, factsBytes);
  if (crc32(json) !== buffer.readUInt32BE(12)) throw damaged(path, 'its header has changed');
  const { key, info, bodyCrc32 }: ObjectFacts = JSON.parse(json.toString('utf8'));
  const fileBytes = bodyStart + info.size;
  const head = buffer.subarray(Math.min(bodyStart, bytesRead), Math.min(fileBytes, bytesRead));
  // What ended short of the buffer, and where it should, has no more bytes.
  const isRead = bytesRead === fileBytes && bytesRead < buffer.byteLength;
  const object = { key, info, bodyCrc32, bodyStart, head, isRead };
  if (isRead && !isStamped) return { ...object, stamp: undefined };
  const stamp = await file.stat();
  if (stamp.size !== fileBytes) {
    throw damaged(path, `it has ${stamp.size - bodyStart} bytes, ${info.size} are recorded`);
  }
  return { ...object, stamp };
}

async function readFacts(file: OpenFile, bytes: number): Promise<Buffer> {
  const buffer = Buffer.alloc(bytes);
  return buffer.subarray(0, await file.read(buffer, FIXED_BYTES));
}

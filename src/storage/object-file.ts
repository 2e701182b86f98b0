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
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { crc32 } from 'node:zlib';
import type { StoredInfo } from '../core/storage.js';
import { ImagesError } from '../errors.js';
import { isMissing } from './faults.js';

/** What the header of an object says. */
export interface ObjectFacts {
  /** The key it was stored under. */
  readonly key: string;
  /** What a reader is told. */
  readonly info: StoredInfo;
  /** CRC-32 of its bytes, checked whenever all of them are read. */
  readonly bodyCrc32: number;
}

/** An object file that is open for reading. Whoever gets it closes the handle. */
export interface OpenObject extends ObjectFacts {
  /** The open file. */
  readonly handle: FileHandle;
  /** Where its first byte is in the file. */
  readonly bodyStart: number;
}

const MAGIC = Buffer.from('EIR-OBJ1', 'latin1');
const FIXED_BYTES = 16;
const MAX_FACTS_BYTES = 256 * 1024;
// One page: holds the whole header of any ordinary picture, so that it takes one read.
const FIRST_READ_BYTES = 4096;
// A link in the place of an object is refused by the system itself. (Windows has no such flag.)
const READ_FLAGS = constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0);

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

/**
 * Opens the object file at `path`, or answers `undefined` when there is none. Throws when its header is damaged or
 * its length is not the one recorded.
 */
export async function openObject(path: string): Promise<OpenObject | undefined> {
  const handle = await open(path, READ_FLAGS).catch((error: unknown) => {
    if (isMissing(error)) return undefined;
    throw error;
  });
  if (handle === undefined) return undefined;
  try {
    return { handle, ...(await readHeader(handle, path)) };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

async function readHeader(handle: FileHandle, path: string): Promise<Omit<OpenObject, 'handle'>> {
  const buffer = Buffer.allocUnsafe(FIRST_READ_BYTES);
  const [{ size: fileBytes }, { bytesRead }] = await Promise.all([
    handle.stat(),
    handle.read(buffer, 0, FIRST_READ_BYTES, 0),
  ]);
  if (bytesRead < FIXED_BYTES || !buffer.subarray(0, MAGIC.byteLength).equals(MAGIC)) {
    throw damaged(path, 'it does not start like an object');
  }
  const factsBytes = buffer.readUInt32BE(8);
  const bodyStart = FIXED_BYTES + factsBytes;
  if (factsBytes > MAX_FACTS_BYTES || bodyStart > fileBytes) throw damaged(path, 'its header is cut off');

  const json =
    bodyStart <= bytesRead ? buffer.subarray(FIXED_BYTES, bodyStart) : await readFacts(handle, factsBytes);
  if (crc32(json) !== buffer.readUInt32BE(12)) throw damaged(path, 'its header has changed');
  const { key, info, bodyCrc32 }: ObjectFacts = JSON.parse(json.toString('utf8'));
  if (bodyStart + info.size !== fileBytes) {
    throw damaged(path, `it has ${fileBytes - bodyStart} bytes, ${info.size} are recorded`);
  }
  return { key, info, bodyCrc32, bodyStart };
}

async function readFacts(handle: FileHandle, bytes: number): Promise<Buffer> {
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(bytes), 0, bytes, FIXED_BYTES);
  return buffer.subarray(0, bytesRead);
}

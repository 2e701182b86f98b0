/** Reading an object: its facts, and its bytes from its file or, where they were asked for before, from memory. */
import type { ByteRange, GetOptions, StoredInfo, StoredObject } from '../core/storage.js';
import { BUFFER_BYTES, createChunkBuffers } from './chunk-buffers.js';
import { withFaults } from './faults.js';
import { createHotFiles, type HotObject } from './hot-files.js';
import { lentBody } from './lent-body.js';
import { readBody } from './object-body.js';
import { damaged, FACTS_ONLY, type OpenObject, type OpenOptions, openObject } from './object-file.js';
import { createSoundFiles } from './sound-files.js';

/** Where an object lies, and the key it must have been stored under. */
export interface ObjectPlace {
  /** Its file. */
  readonly path: string;
  /** Its key. */
  readonly key: string;
}

/** Reads objects, with the memory that makes reading them again cheap. */
export interface ObjectReader {
  /** As `MediaStorage.get`. */
  get(place: ObjectPlace, options?: GetOptions): Promise<StoredObject | undefined>;
  /** As `MediaStorage.stat`. */
  stat(place: ObjectPlace): Promise<StoredInfo | undefined>;
  /** Lets go of the bytes of files that are removed. */
  forget(isRemoved: (path: string) => boolean): void;
}

// A small picture comes with its facts in one read, which a larger one begins with: into memory of its own, or lent.
const WHOLE_READ_BYTES = 64 * 1024;

// What came with its facts is checked whenever it does.
const CHECKED_EACH_TIME = { isKnownSound: false, onSound: () => undefined };

/** Makes a reader. */
export function createObjectReader(): ObjectReader {
  const soundnessOf = createSoundFiles();
  const hotFiles = createHotFiles();
  const supply = createChunkBuffers();

  /** By the memory of hot files; `undefined` where it has none of it. */
  async function fromMemory(path: string, options: GetOptions): Promise<StoredObject | undefined> {
    const hot = await hotFiles.recall(path);
    if (hot === undefined || hot.info.expiresAt <= Date.now()) return undefined;
    options.signal?.throwIfAborted();
    return readHot(hot, options);
  }

  async function fromFile(place: ObjectPlace, options: GetOptions): Promise<StoredObject | undefined> {
    const { range, signal, transient = false } = options;
    const { path } = place;
    const buffers = transient ? supply : undefined;
    const firstBuffer = () => buffers?.take(BUFFER_BYTES) ?? Buffer.allocUnsafeSlow(WHOLE_READ_BYTES);
    const load = transient && range === undefined ? hotFiles.noteAsked(path) : undefined;
    const opening = range === undefined ? { firstBuffer, isStamped: load !== undefined } : FACTS_ONLY;
    const object = await withFaults(() => openLiving(place, opening));
    if (object === undefined) return undefined;
    try {
      signal?.throwIfAborted();
      const { start, end } = resolveRange(range, object.info.size);
      const hot = load && (await withFaults(() => load(object)));
      signal?.throwIfAborted();
      // What has been read whole is not waited for.
      if (hot !== undefined || object.isRead) object.file.close().catch(() => undefined);
      if (hot !== undefined) {
        buffers?.give(object.head);
        return readHot(hot, options);
      }
      const soundness = object.isRead ? CHECKED_EACH_TIME : soundnessOf(path, object.stamp);
      return { body: readBody(object, { start, end, path, signal, soundness, buffers }), ...object.info };
    } catch (error) {
      await object.file.close();
      throw error;
    }
  }

  return {
    async get(place, options = {}) {
      const { signal, transient = false } = options;
      signal?.throwIfAborted();
      // Whoever may keep chunks may write to them, too.
      const remembered = transient ? await fromMemory(place.path, options) : undefined;
      return remembered ?? (await fromFile(place, options));
    },
    async stat(place) {
      const object = await withFaults(() => openLiving(place, FACTS_ONLY));
      await object?.file.close();
      return object?.info;
    },
    forget: hotFiles.forget,
  };
}

// Links among the folders are not looked for on the way to a read: it would take a look-up for each, and all that
// can be read through one is an object of ours, stored under this very key.
async function openLiving({ path, key }: ObjectPlace, options: OpenOptions): Promise<OpenObject | undefined> {
  const object = await openObject(path, options);
  if (object === undefined) return undefined;
  if (object.key === key && object.info.expiresAt > Date.now()) return object;
  await object.file.close();
  if (object.key !== key) throw damaged(path, `it was stored as ${object.key}`);
  return undefined;
}

function readHot({ bytes, hold, info }: HotObject, { range, signal }: GetOptions): StoredObject {
  const { start, end } = resolveRange(range, info.size);
  return { body: lentBody(bytes.subarray(start, end + 1), { signal, release: hold() }), ...info };
}

function resolveRange(range: ByteRange | undefined, size: number): ByteRange {
  if (range === undefined) return { start: 0, end: size - 1 };
  if (range.start >= 0 && range.end >= range.start && range.end < size) return range;
  throw new RangeError(`Bytes ${range.start}-${range.end} are not inside ${size} bytes.`);
}

/** Storage in the memory of this process. */
import type { ByteRange, MediaStorage, PutOptions, StoredInfo } from '../core/storage.js';
import { ConfigError, ImagesError } from '../errors.js';
import { checkKey, checkPrefix } from './keys.js';

/** How {@link memoryStorage} behaves. */
export interface MemoryStorageOptions {
  /**
   * Bytes of bodies it holds at most; a `put` past that is refused with `STORAGE_ERROR`.
   * @defaultValue no limit
   */
  readonly maxBytes?: number | undefined;
}

interface Entry {
  readonly info: StoredInfo;
  readonly bytes: Uint8Array;
}

const CHUNK_BYTES = 256 * 1024;

/**
 * Makes a storage for tests and for programs that are a single process: what it holds is gone when the process
 * ends, and no other process sees it. Bodies are copied on their way in and out. Expired objects keep their memory
 * until they are swept or the room is needed.
 */
export function memoryStorage(options: MemoryStorageOptions = {}): MediaStorage {
  const maxBytes = resolveMaxBytes(options.maxBytes);
  const entries = new Map<string, Entry>();
  let heldBytes = 0;

  function living(key: string): Entry | undefined {
    const entry = entries.get(key);
    return entry !== undefined && entry.info.expiresAt > Date.now() ? entry : undefined;
  }

  function remove(key: string): void {
    heldBytes -= entries.get(key)?.bytes.byteLength ?? 0;
    entries.delete(key);
  }

  function removeExpired(before: number): number {
    const expired = [...entries].filter(([, entry]) => entry.info.expiresAt <= before);
    for (const [key] of expired) remove(key);
    return expired.length;
  }

  function makeRoom(key: string, bytes: number): void {
    const fits = () => heldBytes - (entries.get(key)?.bytes.byteLength ?? 0) + bytes <= maxBytes;
    if (fits()) return;
    removeExpired(Date.now());
    if (!fits()) throw new ImagesError('STORAGE_ERROR', `The memory storage is full (${maxBytes} bytes).`);
  }

  return {
    async put(key, body, putOptions) {
      checkKey(key);
      putOptions.signal?.throwIfAborted();
      makeRoom(key, body.byteLength);
      const entry = { info: describe(body, putOptions), bytes: new Uint8Array(body) };
      remove(key);
      entries.set(key, entry);
      heldBytes += body.byteLength;
    },
    async get(key, { range, signal } = {}) {
      checkKey(key);
      signal?.throwIfAborted();
      const entry = living(key);
      if (entry === undefined) return undefined;
      return { ...entry.info, body: readChunks(section(entry.bytes, range), signal) };
    },
    async stat(key) {
      checkKey(key);
      return living(key)?.info;
    },
    async delete(key) {
      checkKey(key);
      remove(key);
    },
    async deletePrefix(prefix, { signal } = {}) {
      checkPrefix(prefix);
      signal?.throwIfAborted();
      for (const key of [...entries.keys()]) {
        if (key.startsWith(prefix)) remove(key);
      }
    },
    async sweep({ before, signal }) {
      signal?.throwIfAborted();
      return { removed: removeExpired(before), orphans: 0 };
    },
    async *list(prefix, { signal } = {}) {
      if (prefix !== '') checkPrefix(prefix);
      for (const key of [...entries.keys()]) {
        signal?.throwIfAborted();
        if (key.startsWith(prefix)) yield key;
      }
    },
  };
}

function resolveMaxBytes(maxBytes: number | undefined): number {
  if (maxBytes === undefined) return Number.POSITIVE_INFINITY;
  if (Number.isSafeInteger(maxBytes) && maxBytes > 0) return maxBytes;
  throw new ConfigError('maxBytes', 'must be a whole number of bytes above 0');
}

function describe(body: Uint8Array, options: PutOptions): StoredInfo {
  const { contentType, sha256, expiresAt } = options;
  const metadata = Object.freeze({ ...options.metadata });
  const size = body.byteLength;
  return Object.freeze({ size, contentType, sha256, storedAt: Date.now(), expiresAt, metadata });
}

function section(bytes: Uint8Array, range: ByteRange | undefined): Uint8Array {
  if (range === undefined) return bytes;
  if (range.start < 0 || range.end < range.start || range.end >= bytes.byteLength) {
    throw new RangeError(`Bytes ${range.start}-${range.end} are not inside ${bytes.byteLength} bytes.`);
  }
  return bytes.subarray(range.start, range.end + 1);
}

async function* readChunks(bytes: Uint8Array, signal: AbortSignal | undefined): AsyncGenerator<Uint8Array> {
  for (let position = 0; position < bytes.byteLength; position += CHUNK_BYTES) {
    signal?.throwIfAborted();
    yield bytes.slice(position, position + CHUNK_BYTES);
  }
}

/** A storage as it looks with the pictures that still wait for it. */
import type { Removals } from './removals.js';
import { openFile, readRange } from './spool-folder.js';
import type { GetOptions, MediaStorage, StoredInfo, StoredObject } from './storage.js';

/** An object that waits for a storage. */
export interface WaitingObject {
  /** Its key. */
  readonly key: string;
  /** The file with its bytes. */
  readonly path: string;
  /** What a reader is told. */
  readonly info: StoredInfo;
}

/** What a view takes. */
export interface SpooledViewOptions<Waiting extends WaitingObject> {
  /** What has been taken. */
  readonly storage: MediaStorage;
  /** What waits, by key. */
  readonly waiting: ReadonlyMap<string, Waiting>;
  /** Puts, and keeps what is deleted meanwhile from coming back. */
  readonly removals: Omit<Removals, 'close'>;
  /** Removes one that waits. */
  readonly discard: (object: Waiting) => Promise<void>;
}

/** Makes a storage that also reads, describes and deletes what waits. It can do what the storage can, and no more. */
export function spooledView<Waiting extends WaitingObject>(
  options: SpooledViewOptions<Waiting>,
): MediaStorage {
  const { storage, waiting, removals, discard } = options;
  const { deletePrefix, sweep, list, directUrl, close } = storage;

  function living(key: string): Waiting | undefined {
    const object = waiting.get(key);
    return object !== undefined && object.info.expiresAt > Date.now() ? object : undefined;
  }

  async function get(key: string, getOptions: GetOptions = {}): Promise<StoredObject | undefined> {
    if (removals.hides(key)) return undefined;
    const object = living(key);
    const handle = object && (await openFile(object.path));
    // Where the file is gone, storage has taken it in this very moment.
    if (object === undefined || handle === undefined) return storage.get(key, getOptions);
    const { range = { start: 0, end: object.info.size - 1 }, signal } = getOptions;
    const chunks = readRange(handle, range, signal);
    // A generator that has not begun does not notice that it is left.
    const end = async () => {
      await handle.close();
      return chunks.return();
    };
    const body = { [Symbol.asyncIterator]: () => ({ next: () => chunks.next(), return: end }) };
    return { ...object.info, body };
  }

  return {
    put: removals.put,
    get,
    stat: async (key) => (removals.hides(key) ? undefined : (living(key)?.info ?? storage.stat(key))),
    async delete(key) {
      const object = waiting.get(key);
      if (object !== undefined) await discard(object);
      removals.hide((landing) => landing === key);
      await storage.delete(key);
    },
    ...(deletePrefix !== undefined && {
      async deletePrefix(prefix, prefixOptions) {
        // What is no prefix is refused below, and must have removed nothing before.
        const isBelow = (key: string) => prefix.endsWith('/') && key.startsWith(prefix);
        const below = [...waiting.values()].filter(({ key }) => isBelow(key));
        await Promise.all(below.map(discard));
        removals.hide(isBelow);
        await deletePrefix.call(storage, prefix, prefixOptions);
      },
    }),
    ...(sweep !== undefined && { sweep: (sweepOptions) => sweep.call(storage, sweepOptions) }),
    ...(list !== undefined && { list: (prefix, listOptions) => list.call(storage, prefix, listOptions) }),
    ...(directUrl !== undefined && {
      directUrl: async (key, urlOptions) =>
        removals.hides(key) || living(key) !== undefined
          ? undefined
          : directUrl.call(storage, key, urlOptions),
    }),
    ...(close !== undefined && { close: () => close.call(storage) }),
  } satisfies MediaStorage;
}

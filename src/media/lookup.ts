/** Looks stored pictures up: within a time limit, failures told, nothing left open. */
import type { Emit } from '../core/events.js';
import type { DirectUrlOptions, GetOptions, StoredInfo, StoredObject } from '../core/storage.js';
import { within } from '../core/wait.js';
import type { KnownFacts } from './known-facts.js';
import { pictureKey } from './picture-id.js';
import { storageError } from './picture-store.js';
import { reportStorage, type StorageFault } from './report.js';

/**
 * Looks stored objects up. All throw `STORAGE_ERROR` where storage fails or does not answer in time, with what storage
 * threw as its `cause`.
 */
export interface Lookup {
  /** What has just been learnt of an object, without asking. */
  known(key: string): StoredInfo | undefined;
  /** Describes an object. */
  stat(key: string, requestId: string | undefined): Promise<StoredInfo | undefined>;
  /** Opens an object. One that opens too late is closed again. */
  get(key: string, requestId: string, options?: ReadOptions): Promise<StoredObject | undefined>;
  /** A URL at which storage itself serves an object, if it does. */
  directUrl(key: string, requestId: string, options: DirectUrlOptions): Promise<string | undefined>;
}

/** How to read an object. */
export type ReadOptions = Pick<GetOptions, 'range' | 'transient'>;

/** What looking up takes. */
export interface LookupOptions {
  /** Where pictures are, and what is known of them. */
  readonly facts: KnownFacts;
  /** How long storage may take to answer, in milliseconds. */
  readonly storageMs: number;
  /** Raises events. */
  readonly emit: Emit;
}

/** Makes a lookup. */
export function createLookup({ facts, storageMs, emit }: LookupOptions): Lookup {
  const { storage, known } = facts;
  const late = () => new Error(`storage did not answer within ${storageMs} ms`);

  async function asked<T>(asking: Omit<StorageFault, 'cause'>, ask: () => Promise<T>): Promise<T> {
    try {
      return await within(ask(), storageMs, late);
    } catch (cause) {
      reportStorage(emit, { ...asking, cause });
      throw storageError(cause);
    }
  }

  return {
    known,
    stat: (key, requestId) => asked({ operation: 'stat', key, requestId }, () => storage.stat(key)),
    directUrl: (key, requestId, options) =>
      asked({ operation: 'get', key, requestId }, async () => storage.directUrl?.(key, options)),
    async get(key, requestId, options) {
      let waiting = true;
      const opening = async () => {
        const object = await storage.get(key, options);
        if (!waiting && object !== undefined) await closeUnread(object);
        return object;
      };
      try {
        return await asked({ operation: 'get', key, requestId }, opening);
      } finally {
        waiting = false;
      }
    },
  };
}

/** Makes what tells that a picture is surely gone. Where storage fails nobody knows, and its link will tell. */
export function createKeptCheck(lookup: Lookup): (picture: { readonly id: string }) => Promise<boolean> {
  return async ({ id }) => {
    const key = pictureKey(id);
    if (lookup.known(key) !== undefined) return true;
    return lookup.stat(key, undefined).then(
      (info) => info !== undefined,
      () => true,
    );
  };
}

/** Closes an object nobody will read. */
export async function closeUnread(object: Pick<StoredObject, 'body'>): Promise<void> {
  await object.body[Symbol.asyncIterator]().return?.();
}

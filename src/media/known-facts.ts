/** What has just been learnt of stored objects, so that whoever has a picture already is told so without a look-up. */
import type { MediaStorage, StoredInfo } from '../core/storage.js';

/** A storage, and what is known of its objects. */
export interface KnownFacts {
  /** The storage. What it tells is remembered, what it is told to remove is forgotten. */
  readonly storage: MediaStorage;
  /** The facts of an object that was there within the last minute, and is not known to have gone. */
  known(key: string): StoredInfo | undefined;
}

// How long a picture that somebody else removed may still be called unchanged to those who have it.
const REMEMBERED_MS = 60_000;
// About 10 MB.
const MAX_OBJECTS = 10_000;

interface Remembered {
  readonly info: StoredInfo;
  readonly until: number;
}

/** Makes a storage whose facts are remembered. The bytes of a key never change, so its facts do not either. */
export function rememberFacts(inner: MediaStorage): KnownFacts {
  const facts = new Map<string, Remembered>();
  let removals = 0;

  /** Asks, and remembers the answer unless something was removed meanwhile: it could have been this. */
  async function ask<T extends StoredInfo>(key: string, asking: Promise<T | undefined>) {
    const before = removals;
    const info = await asking;
    if (info !== undefined && before === removals) remember(key, info);
    return info;
  }
  function remember(key: string, info: StoredInfo): void {
    const { size, contentType, sha256, storedAt, expiresAt, metadata } = info;
    facts.delete(key);
    if (facts.size >= MAX_OBJECTS) facts.delete(facts.keys().next().value ?? '');
    const until = Math.min(Date.now() + REMEMBERED_MS, expiresAt);
    facts.set(key, { info: { size, contentType, sha256, storedAt, expiresAt, metadata }, until });
  }
  async function remove(isGone: (key: string) => boolean, removing: Promise<void>): Promise<void> {
    try {
      await removing;
    } finally {
      removals += 1;
      for (const key of facts.keys()) if (isGone(key)) facts.delete(key);
    }
  }

  const { deletePrefix } = inner;
  return {
    known(key) {
      const found = facts.get(key);
      return found !== undefined && Date.now() < found.until ? found.info : undefined;
    },
    storage: {
      ...inner,
      get: (key, options) => ask(key, inner.get(key, options)),
      stat: (key) => ask(key, inner.stat(key)),
      delete: (key) => remove((known) => known === key, inner.delete(key)),
      ...(deletePrefix !== undefined && {
        deletePrefix: (prefix, options) =>
          remove((known) => known.startsWith(prefix), deletePrefix.call(inner, prefix, options)),
      }),
    },
  };
}

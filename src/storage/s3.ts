/** Storage in a bucket of AWS S3 or a server that speaks its protocol: Ceph, MinIO, R2, Garage. */
import type { MediaStorage, StoredInfo, SweepOptions, SweepResult } from '../core/storage.js';
import { type Attempts, createAttempts } from './attempts.js';
import { checkKey, checkPrefix, isKeySegment, isOfYoungDay } from './keys.js';
import { discard, readBody } from './s3-body.js';
import { type Bucket, createBucket } from './s3-bucket.js';
import { decodeFacts, encodeFacts, expiryOf } from './s3-facts.js';
import { checkS3Options, resolvePrefix, type S3Options } from './s3-options.js';

export { type S3LifecycleOptions, s3Lifecycle } from './s3-lifecycle.js';
export type { S3Options } from './s3-options.js';

// What servers take at most.
const MAX_SIGNED_SECONDS = 604_800;
// URLs of one minute are the same, so that caches can work.
const SIGNING_WINDOW_MS = 60_000;
const HEADS_AT_ONCE = 16;

/**
 * Makes a storage that keeps each object as one object of a bucket, its facts in user metadata. A `put` sends a body
 * whole or not at all and the server checks its digest; it is tried three times where the server is throttling,
 * failing or out of reach, unless the client is yours. Reading takes one request.
 *
 * Throws a `ConfigError` for wrong options. Its methods throw a `TypeError` for a key outside the router's grammar and
 * a `STORAGE_ERROR` whose cause has the server's words for everything else.
 */
export function s3(options: S3Options): MediaStorage {
  checkS3Options(options);
  const root = resolvePrefix(options.prefix);
  const bucket = createBucket(options);
  const nameOf = (key: string): string => {
    checkKey(key);
    return root + key;
  };

  return {
    async put(key, body, { signal, ...facts }) {
      const name = nameOf(key);
      signal?.throwIfAborted();
      const { contentType, sha256 } = facts;
      await bucket.put(name, {
        body,
        contentType,
        sha256,
        facts: encodeFacts(key, body.byteLength, facts),
        signal,
      });
    },
    async get(key, { range, signal } = {}) {
      const name = nameOf(key);
      signal?.throwIfAborted();
      const answer = await bucket.open(name, range, signal);
      if (answer === undefined) return undefined;
      try {
        const info = living(decodeFacts({ ...answer, key }));
        if (info !== undefined) {
          const bytes = range === undefined ? info.size : range.end - range.start + 1;
          return { ...info, body: readBody(answer.body, { bytes, key, signal }) };
        }
      } catch (error) {
        discard(answer.body);
        throw error;
      }
      discard(answer.body);
      return undefined;
    },
    async stat(key) {
      const head = await bucket.head(nameOf(key));
      return head && living(decodeFacts({ ...head, key }));
    },
    delete: async (key) => bucket.remove([nameOf(key)]),
    async deletePrefix(prefix, { signal } = {}) {
      checkPrefix(prefix);
      const attempts = createAttempts(signal);
      await attempts.run(async () => {
        for await (const page of bucket.pages(root + prefix, signal)) {
          await attempts.run(() => bucket.remove(page, signal));
        }
      });
      attempts.end();
    },
    sweep: async (sweepOptions) => sweep(bucket, root, sweepOptions),
    async *list(prefix, { signal } = {}) {
      if (prefix !== '') checkPrefix(prefix);
      signal?.throwIfAborted();
      for await (const page of bucket.pages(root + prefix, signal)) {
        yield* page.map((name) => name.slice(root.length)).filter(isKey);
      }
    },
    async directUrl(key, { expiresAt, ...answer }) {
      const name = nameOf(key);
      const signedAt = Math.floor(Date.now() / SIGNING_WINDOW_MS) * SIGNING_WINDOW_MS;
      const expiresIn = Math.min(Math.floor((expiresAt - signedAt) / 1000), MAX_SIGNED_SECONDS);
      if (signedAt + expiresIn * 1000 <= Date.now()) return undefined;
      return bucket.sign(name, { ...answer, signedAt, expiresIn });
    },
    close: async () => bucket.close(),
  };
}

function living(info: StoredInfo): StoredInfo | undefined {
  return info.expiresAt > Date.now() ? info : undefined;
}

async function sweep(bucket: Bucket, root: string, options: SweepOptions): Promise<SweepResult> {
  const { before, signal } = options;
  const attempts = createAttempts(signal);
  let removed = 0;
  await attempts.run(async () => {
    for await (const page of bucket.pages(root, signal)) {
      const old = page.filter((name) => {
        const key = name.slice(root.length);
        return isKey(key) && !isOfYoungDay(key, options);
      });
      const expired = await expiredOf(bucket, old, { root, before, signal, attempts });
      await attempts.run(() => bucket.remove(expired, signal));
      removed += expired.length;
    }
  });
  attempts.end();
  // There are none: a server keeps nothing of an upload that was broken off.
  return { removed, orphans: 0 };
}

async function expiredOf(
  bucket: Bucket,
  names: readonly string[],
  { root, before, signal, attempts }: SweepOptions & { readonly root: string; readonly attempts: Attempts },
): Promise<string[]> {
  const expired: string[] = [];
  const look = async (name: string) => {
    const expiresAt = expiryOf(name.slice(root.length), (await bucket.head(name, signal))?.facts);
    if (expiresAt !== undefined && expiresAt <= before) expired.push(name);
  };
  for (let at = 0; at < names.length; at += HEADS_AT_ONCE) {
    const some = names.slice(at, at + HEADS_AT_ONCE);
    await Promise.all(some.map((name) => attempts.run(() => look(name))));
  }
  return expired;
}

function isKey(name: string): boolean {
  return name.split('/').every(isKeySegment);
}

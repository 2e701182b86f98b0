import { createHash } from 'node:crypto';
import type { MediaStorage, PutOptions, StoredInfo } from '../../src/core/storage.js';

/** A key shaped like the router's. */
export function keyOf(name: string): string {
  return `0123456789abcdef0123456789abcdef/2026/11/22/${name}/original`;
}

/** Facts that fit `body` and expire in an hour, unless overridden. */
export function factsOf(body: Uint8Array, facts: Partial<PutOptions> = {}): PutOptions {
  const sha256 = createHash('sha256').update(body).digest('hex');
  const metadata = { bytes: body.byteLength };
  return { contentType: 'image/png', sha256, expiresAt: Date.now() + 3_600_000, metadata, ...facts };
}

/** Reads a key and answers its facts and the digest of the bytes that really came; `undefined` when it is absent. */
export async function readAndHash(
  storage: MediaStorage,
  key: string,
): Promise<(StoredInfo & { readonly read: number; readonly digest: string }) | undefined> {
  const object = await storage.get(key);
  if (object === undefined) return undefined;
  const { body, ...info } = object;
  const hash = createHash('sha256');
  let read = 0;
  for await (const chunk of body) {
    hash.update(chunk);
    read += chunk.byteLength;
  }
  return { ...info, read, digest: hash.digest('hex') };
}

/** The keys that several processes write in turns. */
export const SHARED_KEYS: readonly string[] = ['one', 'two', 'three', 'four'].map(keyOf);

/**
 * What is kept beside the bytes of an object: user metadata, which is ASCII in headers and at most 2 KB in all. The
 * facts name their key, so that an object copied to another's name is noticed.
 */
import type { Metadata } from '../core/image.js';
import type { PutOptions, StoredInfo } from '../core/storage.js';
import { damaged } from './s3-faults.js';

/** An object as a server describes it. */
export interface ServedObject {
  /** The key it was asked for by. */
  readonly key: string;
  /** Bytes of the whole object. */
  readonly size: number | undefined;
  /** Its media type. */
  readonly contentType: string | undefined;
  /** Its user metadata. */
  readonly facts: Readonly<Record<string, string>> | undefined;
}

const MAX_BYTES = 2048;
const DIGEST = /^[0-9a-f]{64}$/;

/** Makes the user metadata of an object. Throws a `TypeError` when it is more than servers keep. */
export function encodeFacts(key: string, size: number, options: PutOptions): Record<string, string> {
  const { sha256, expiresAt, metadata } = options;
  if (!Number.isFinite(expiresAt)) throw new TypeError('expiresAt is not an instant in epoch milliseconds.');
  const facts = {
    key,
    size: String(size),
    sha256,
    'stored-at': String(Date.now()),
    'expires-at': String(expiresAt),
    metadata: Buffer.from(JSON.stringify(metadata), 'utf8').toString('base64url'),
  };
  const bytes = Object.entries(facts).reduce((sum, [name, value]) => sum + name.length + value.length, 0);
  if (bytes > MAX_BYTES) throw new TypeError(`The facts of a stored object are too long (${bytes} bytes).`);
  return facts;
}

/** Reads the facts of an object. Throws when they are not there, or are those of another object. */
export function decodeFacts({ key, size, contentType, facts = {} }: ServedObject): StoredInfo {
  const { sha256 = '', metadata = '' } = facts;
  const expiresAt = readInstant(facts['expires-at']);
  const storedAt = readInstant(facts['stored-at']);
  if (
    expiresAt === undefined ||
    storedAt === undefined ||
    !DIGEST.test(sha256) ||
    contentType === undefined
  ) {
    throw damaged(key, 'its facts are missing');
  }
  if (facts.key !== key) throw damaged(key, `it was stored as ${facts.key}`);
  if (size === undefined || String(size) !== facts.size) {
    throw damaged(key, `it has ${size} bytes, ${facts.size} are recorded`);
  }
  return { size, contentType, sha256, storedAt, expiresAt, metadata: readMetadata(key, metadata) };
}

/**
 * When the object of a key expires by its facts, in epoch milliseconds; `undefined` for one that is none of ours.
 * Others who use the bucket may say of their objects when they expire, too, and mean something else.
 */
export function expiryOf(key: string, facts: ServedObject['facts']): number | undefined {
  return facts?.key === key ? readInstant(facts['expires-at']) : undefined;
}

function readInstant(text: string | undefined): number | undefined {
  const instant = Number(text || Number.NaN);
  return Number.isFinite(instant) ? instant : undefined;
}

function readMetadata(key: string, text: string): Metadata {
  try {
    return JSON.parse(Buffer.from(text, 'base64url').toString('utf8'));
  } catch {
    throw damaged(key, 'its metadata has changed');
  }
}

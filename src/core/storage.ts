/**
 * The storage contract: where finished pictures wait until they expire. Keys are the router's own grammar
 * (lower-case letters, digits, `_`, `-`, `.` and `/`, checked before storage sees them). What is normal, such as a
 * missing object, is returned; only faults are thrown. Types only.
 */
import type { Metadata } from './image.js';

/** A store of immutable objects that expire. */
export interface MediaStorage {
  /**
   * Stores all of `body` or nothing: until it resolves, no reader sees the key; after it rejects or `signal`
   * aborts, nothing is left behind. Storing a key again replaces it whole. Once it has resolved, the memory of `body`
   * is used for something else: a storage that keeps bytes copies them.
   */
  put(key: string, body: Uint8Array, options: PutOptions): Promise<void>;
  /**
   * Opens an object, or `undefined` when there is none or it has expired. What is there but is not what was stored
   * under this key (it has another length, it was stored under another key) is an `ImagesError` with the code
   * `STORAGE_ERROR` and the reason `damaged`. Ending the iteration early closes the source.
   */
  get(key: string, options?: GetOptions): Promise<StoredObject | undefined>;
  /** Describes an object without reading it, or `undefined` when there is none or it has expired. */
  stat(key: string): Promise<StoredInfo | undefined>;
  /** Removes an object. A missing one is fine. */
  delete(key: string): Promise<void>;
  /**
   * Removes every object whose key starts with `prefix`, which ends in `/`. One that cannot be removed keeps no other:
   * the first failure is thrown at the end.
   */
  deletePrefix?(prefix: string, options?: { readonly signal?: AbortSignal | undefined }): Promise<void>;
  /**
   * Removes what expired before an instant, and what broken-off writes left behind. What cannot be looked at or removed
   * keeps nothing else: the first failure is thrown at the end.
   */
  sweep?(options: SweepOptions): Promise<SweepResult>;
  /**
   * The keys of all objects whose key starts with `prefix`, which ends in `/` or is empty, in any order, read on only
   * as they are asked for. Damaged ones are among them; expired ones, and what comes and goes meanwhile, may be.
   */
  list?(prefix: string, options?: { readonly signal?: AbortSignal | undefined }): AsyncIterable<string>;
  /** A URL at which a client can read the object itself, or `undefined` when this one cannot be expressed. */
  directUrl?(key: string, options: DirectUrlOptions): Promise<string | undefined>;
  /** Frees what it holds. No call follows. */
  close?(): Promise<void>;
}

/** What is stored beside the bytes. */
export interface PutOptions {
  /** Media type, returned as given. */
  readonly contentType: string;
  /** SHA-256 of the body, 64 lower-case hex digits, returned as given. */
  readonly sha256: string;
  /** Absolute expiry in epoch milliseconds, enforced on read. */
  readonly expiresAt: number;
  /** Small facts to keep, any Unicode. */
  readonly metadata: Metadata;
  /** Gives up when aborted. */
  readonly signal?: AbortSignal | undefined;
}

/** How to open an object. */
export interface GetOptions {
  /** First and last byte, both inclusive and inside the object. */
  readonly range?: ByteRange | undefined;
  /** Gives up, and stops the body, when aborted. */
  readonly signal?: AbortSignal | undefined;
  /**
   * The reader is done with a chunk when it asks for the next one or ends the iteration, so the storage may use its
   * memory again. Storages need not. @defaultValue `false`
   */
  readonly transient?: boolean | undefined;
}

/** Bytes `start` to `end`, both inclusive. */
export interface ByteRange {
  /** First byte, from 0. */
  readonly start: number;
  /** Last byte, at least `start`. */
  readonly end: number;
}

/** What is known about a stored object. */
export interface StoredInfo {
  /** Bytes in the whole object. */
  readonly size: number;
  /** Media type as stored. */
  readonly contentType: string;
  /** SHA-256 as stored, 64 lower-case hex digits. */
  readonly sha256: string;
  /** Epoch milliseconds. */
  readonly storedAt: number;
  /** Epoch milliseconds. */
  readonly expiresAt: number;
  /** As stored. */
  readonly metadata: Metadata;
}

/** An open object: what is known about it, and its bytes (or the range asked for) as they are read. */
export interface StoredObject extends StoredInfo {
  /** Chunks of the object or range. Iterated at most once. */
  readonly body: AsyncIterable<Uint8Array>;
}

/** What to sweep. */
export interface SweepOptions {
  /** Epoch milliseconds: what expired before this goes. */
  readonly before: number;
  /**
   * How long pictures are kept, variants as long as their originals. With it a storage need not look at keys of a day
   * (`<tenant tag>/<yyyy>/<mm>/<dd>/…`, UTC) that began less than this before the instant. @defaultValue not known
   */
  readonly retentionSeconds?: number | undefined;
  /** Stops between objects when aborted. */
  readonly signal?: AbortSignal | undefined;
}

/** What a sweep did. */
export interface SweepResult {
  /** Expired objects removed. */
  readonly removed: number;
  /** Left-overs of broken-off writes removed. */
  readonly orphans: number;
}

/** What reading everything again found. */
export interface VerifyResult {
  /** Objects that were read. */
  readonly checked: number;
  /** Those of them that are not what was stored. */
  readonly damaged: number;
  /** Objects that could not be read for another reason. */
  readonly unread: number;
}

/** What a direct URL must allow. */
export interface DirectUrlOptions {
  /** The only method it must serve. */
  readonly method: 'GET' | 'HEAD';
  /** Epoch milliseconds after which it must be refused. */
  readonly expiresAt: number;
  /** `Content-Type` of the answer. */
  readonly contentType: string;
  /** `Content-Disposition` of the answer. */
  readonly disposition: string;
}

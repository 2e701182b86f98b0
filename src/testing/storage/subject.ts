/** What the checks of a storage are made from: a fresh subject, sample objects, and ways to read and compare. */
import assert from 'node:assert/strict';
import { hash, randomBytes, randomFillSync } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Metadata } from '../../core/image.js';
import type { GetOptions, MediaStorage, PutOptions, StoredInfo } from '../../core/storage.js';
import type { Check, NotApplicable } from '../check.js';

/**
 * Makes the storage to check. A check may call it several times, for two writers say, and must then get instances
 * over the same backing store (one instance for all calls is fine when its `close` is harmless or absent). The
 * store may be shared with other checks, and with other data: keys are random and removed afterwards.
 */
export type CreateStorage = () => MediaStorage | Promise<MediaStorage>;

/** What a check works with. */
export interface Subject {
  /** The storage under test. */
  readonly storage: MediaStorage;
  /** A folder of its own for this run, shaped like the router's, ending in `/`. */
  readonly folder: string;
  /** A key in the folder. What is stored there is removed after the check. */
  key(name: string): string;
  /** One more instance over the same store. */
  another(): Promise<MediaStorage>;
}

/** An object to store. */
export interface Sample {
  /** Its bytes, random. */
  readonly body: Uint8Array;
  /** Its facts. They expire in an hour. */
  readonly options: PutOptions;
}

/** What a check is, apart from how it gets its subject. */
export interface StorageCheck extends Omit<Check<CreateStorage>, 'run'> {
  /** The check itself. */
  run(subject: Subject): Promise<undefined | NotApplicable>;
}

/** Turns a check on a subject into one that makes, cleans and closes it. */
export function toCheck({ id, title, level, run }: StorageCheck): Check<CreateStorage> {
  return { id, title, level, run: (create) => withSubject(create, run) };
}

async function withSubject<T>(create: CreateStorage, run: (subject: Subject) => Promise<T>): Promise<T> {
  const opened: MediaStorage[] = [];
  const keys = new Set<string>();
  const another = async () => {
    const storage = await create();
    opened.push(storage);
    return storage;
  };
  const storage = await another();
  const folder = `${randomHex()}/2026/01/02/${randomHex()}/`;
  const key = (name: string) => {
    keys.add(folder + name);
    return folder + name;
  };
  try {
    return await run({ storage, folder, key, another });
  } finally {
    // What fails here is either the subject of another check or hides the failure of this one.
    await Promise.allSettled([...keys].map(async (name) => storage.delete(name)));
    await Promise.allSettled(opened.map(async (instance) => instance.close?.()));
  }
}

function randomHex(): string {
  return randomBytes(16).toString('hex');
}

/** Metadata with every type of value a client may send. */
export const MIXED_METADATA: Metadata = { label: 'a', steps: 28, ratio: 0.5, upscaled: false };

/** Keys outside the grammar. */
export const ODD_KEYS: readonly string[] = [
  '',
  '/etc/x',
  '../x',
  'a/../x',
  'a/./x',
  'a//x',
  'a/',
  'a\0x',
  'a\\x',
  'a/%2e%2e/x',
  'é/x',
  'x'.repeat(300),
];

/** Prefixes outside the grammar. A storage that takes one for another stays in the folder of the check's own tenant. */
export function oddPrefixes(folder: string): readonly string[] {
  return [
    folder.slice(0, -1),
    ...['../', 'a/../', '/', './', '%/', '*/', 'A/', '\\/', '\0/'].map((odd) => folder + odd),
  ];
}

/** A sample of `size` random bytes, with facts to be overridden. */
export function makeSample(size = 1000, facts: Partial<PutOptions> = {}): Sample {
  const body = randomFillSync(new Uint8Array(size));
  const metadata = { label: randomHex() };
  const expiresAt = Date.now() + 3_600_000;
  return {
    body,
    options: { contentType: 'image/png', sha256: sha256Of(body), expiresAt, metadata, ...facts },
  };
}

function sha256Of(bytes: Uint8Array): string {
  return hash('sha256', bytes);
}

/** Stores a sample that has expired when this resolves. */
export async function putExpired(storage: MediaStorage, key: string): Promise<void> {
  const expiresAt = Date.now() + 30;
  const { body, options } = makeSample(1000, { expiresAt });
  await storage.put(key, body, options);
  while (Date.now() <= expiresAt) await sleep(5);
}

/** Fails unless `info` says what was stored. */
export function assertFacts(info: StoredInfo, { body, options }: Sample): void {
  assert.equal(info.size, body.byteLength, 'size is that of the whole object');
  assert.equal(info.contentType, options.contentType, 'contentType is returned as given');
  assert.equal(info.sha256, options.sha256, 'sha256 is returned as given');
  assert.equal(info.expiresAt, options.expiresAt, 'expiresAt is returned as given');
  assert.deepEqual({ ...info.metadata }, { ...options.metadata }, 'metadata is returned as given');
}

/** Reads a key, or a range of it, as one piece; `undefined` when there is none. */
export async function readBytes(
  storage: MediaStorage,
  key: string,
  options?: GetOptions,
): Promise<Buffer | undefined> {
  const object = await storage.get(key, options);
  if (object === undefined) return undefined;
  const chunks: Uint8Array[] = [];
  for await (const chunk of object.body) chunks.push(Uint8Array.from(chunk));
  return Buffer.concat(chunks);
}

/** Fails unless the key answers exactly these bytes and facts. */
export async function assertStored(storage: MediaStorage, key: string, sample: Sample): Promise<void> {
  const object = await storage.get(key);
  assert.ok(object, 'the object is there');
  assertFacts(object, sample);
  const chunks: Uint8Array[] = [];
  for await (const chunk of object.body) chunks.push(Uint8Array.from(chunk));
  assertSameBytes(Buffer.concat(chunks), sample.body);
}

/** Fails unless nobody sees anything under the key. */
export async function assertAbsent(storage: MediaStorage, key: string): Promise<void> {
  assert.equal(await storage.stat(key), undefined, 'stat answers undefined');
  assert.equal(await storage.get(key), undefined, 'get answers undefined');
}

/** Fails unless both have the same bytes, without printing megabytes. */
export function assertSameBytes(actual: Uint8Array | undefined, expected: Uint8Array): void {
  assert.ok(actual, 'the object is there');
  assert.equal(actual.byteLength, expected.byteLength, 'as many bytes come back as were asked for');
  assert.ok(Buffer.from(actual).equals(expected), 'the bytes that come back are the ones stored');
}

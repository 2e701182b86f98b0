/** What tests of the media proxy share: a drawn picture with its link, and links of their own making. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { request } from 'node:http';
import type { Size } from '../../src/core/image.js';
import type { MediaStorage, StoredObject } from '../../src/core/storage.js';
import { createLinkSigner, type LinkSigner } from '../../src/media/link.js';
import { createPictureId, isPictureType, mediaFile, pictureKey } from '../../src/media/picture-id.js';
import type { TestApp } from './app.js';

/** The secret tests of links use. */
export const LINK_SECRET = 'the secret of tests that make links of their own';

/** Makes links as the router does. */
export const linkSigner: LinkSigner = createLinkSigner({ secrets: [LINK_SECRET] });

/** A picture the router drew. */
export interface DrawnPicture {
  readonly id: string;
  readonly url: string;
  readonly expires_at: number;
  readonly bytes: number;
  readonly content_type: string;
  /** The last part of its path. */
  readonly file: string;
  /** The token in its URL. */
  readonly token: string;
}

/** Draws one picture. */
export async function draw(app: TestApp, body: object = {}): Promise<DrawnPicture> {
  const { body: answer } = await app
    .native({ model: 'placeholder/sketch', prompt: 'a hill', ...body })
    .expect(200);
  const picture = answer.data.data[0];
  const { pathname, searchParams } = new URL(picture.url);
  return { ...picture, file: pathname.split('/').at(-1), token: searchParams.get('token') };
}

/** An answer taken to pieces. */
export interface RawAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer;
}

/** Asks with nothing added and nothing tidied up: the path as it stands, any header, `Host` too. */
export function ask(
  target: { readonly port: number; readonly path: string; readonly method?: string },
  headers: Readonly<Record<string, string>> = {},
): Promise<RawAnswer> {
  return new Promise((resolve, reject) => {
    const sent = request({ host: '127.0.0.1', agent: false, ...target, headers }, (answer) => {
      const chunks: Buffer[] = [];
      answer.on('data', (chunk) => chunks.push(chunk));
      answer.on('error', reject);
      answer.on('end', () => {
        resolve({ status: answer.statusCode ?? 0, headers: answer.headers, body: Buffer.concat(chunks) });
      });
    });
    sent.on('error', reject);
    sent.end();
  });
}

/** A storage that counts the bodies it has open. */
export interface CountedStorage extends MediaStorage {
  /** Bodies opened so far. */
  opened(): number;
  /** Bodies opened and neither read to their end nor closed. */
  open(): number;
  /** Chunks handed out so far. */
  chunks(): number;
}

/** Wraps a storage so that its open bodies are counted; `body` replaces what an object yields. */
export function countingStorage(
  inner: MediaStorage,
  replace: (object: StoredObject) => Partial<StoredObject> | Promise<Partial<StoredObject>> = () => ({}),
): CountedStorage {
  let opened = 0;
  let closed = 0;
  let chunks = 0;
  function counted(body: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
    const iterator = body[Symbol.asyncIterator]();
    let isClosed = false;
    const close = () => {
      if (!isClosed) closed += 1;
      isClosed = true;
    };
    return {
      [Symbol.asyncIterator]: () => ({
        async next() {
          try {
            const result = await iterator.next();
            if (result.done === true) close();
            else chunks += 1;
            return result;
          } catch (error) {
            close();
            throw error;
          }
        },
        async return() {
          close();
          await iterator.return?.();
          return { done: true, value: undefined };
        },
      }),
    };
  }
  return {
    ...inner,
    async get(key, options) {
      const object = await inner.get(key, options);
      if (object === undefined) return undefined;
      opened += 1;
      const changed = { ...object, ...(await replace(object)) };
      return { ...changed, body: counted(changed.body) };
    },
    opened: () => opened,
    open: () => opened - closed,
    chunks: () => chunks,
  };
}

/** Fails unless two answers cannot be told apart, request id and date aside. */
export async function assertSameAnswer(one: Response, other: Response): Promise<void> {
  const facts = async (answer: Response) => {
    const { date: _, 'x-request-id': __, ...headers } = Object.fromEntries(answer.headers);
    const body = (await answer.json()) as Record<string, unknown>;
    return { status: answer.status, headers, body: { ...body, meta: undefined } };
  };
  assert.deepEqual(await facts(one), await facts(other));
}

/** A picture put straight into storage, by whoever can write there. */
export interface PlacedPicture {
  readonly id: string;
  /** The path of its link, token included. */
  readonly path: string;
  /** The key it is stored under. */
  readonly key: string;
  readonly bytes: Buffer;
}

/** What is said of a placed picture. */
export interface PlacedFacts {
  readonly contentType?: string | undefined;
  readonly size?: Size | undefined;
  readonly expiresAt?: number | undefined;
}

/** Puts bytes into storage as the router would a picture, and signs a link with {@link LINK_SECRET}. */
export async function place(
  storage: MediaStorage,
  bytes: Buffer,
  facts: PlacedFacts = {},
): Promise<PlacedPicture> {
  const { contentType = 'image/png', size = { width: 64, height: 64 } } = facts;
  const { expiresAt = Date.now() + 3_600_000 } = facts;
  const id = createPictureId('acme', Date.now());
  const key = pictureKey(id);
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  const metadata = { model: 'placeholder/sketch', request: 'req_1', ...size };
  await storage.put(key, bytes, { contentType, sha256, expiresAt, metadata });
  // A link always ends as one of ours; what is stored may say otherwise.
  const file = mediaFile(id, isPictureType(contentType) ? contentType : 'image/png');
  return { id, key, bytes, path: `/v1/media/${file}?token=${linkSigner.sign(file, expiresAt)}` };
}

/** A storage that writes down what it was asked, as `get <last part of the key>`. */
export interface RecordedStorage extends MediaStorage {
  /** Everything asked so far. */
  readonly asked: string[];
}

/** Wraps a storage so that what it is asked is written down. */
export function recordingStorage(inner: MediaStorage): RecordedStorage {
  const asked: string[] = [];
  const note = (operation: string, key: string) => asked.push(`${operation} ${key.split('/').at(-1)}`);
  return {
    ...inner,
    asked,
    put: (key, ...rest) => {
      note('put', key);
      return inner.put(key, ...rest);
    },
    get: (key, ...rest) => {
      note('get', key);
      return inner.get(key, ...rest);
    },
    stat: (key) => {
      note('stat', key);
      return inner.stat(key);
    },
    delete: (key) => {
      note('delete', key);
      return inner.delete(key);
    },
  };
}

/** The media proxy: stored pictures, for whoever has a signed link. */
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Emit } from '../core/events.js';
import type { ByteRange, MediaStorage, StoredInfo, StoredObject } from '../core/storage.js';
import { within } from '../core/wait.js';
import { ImagesError } from '../errors.js';
import { type DeliveryHeaders, type DeliveryPlan, planDelivery } from '../media/delivery.js';
import type { LinkSigner } from '../media/link.js';
import { type MediaFile, parseMediaFile, pictureKey } from '../media/picture-id.js';
import { storageError } from '../media/picture-store.js';
import type { Exchange } from './exchange.js';
import type { Handler } from './handle.js';
import { queryOf } from './query.js';

/** What the media proxy takes. */
export interface MediaOptions {
  /** Checks links. */
  readonly signer: LinkSigner;
  /** Where pictures are. */
  readonly storage: MediaStorage;
  /** How long storage may take to answer, in milliseconds. */
  readonly storageMs: number;
  /** Raises events. */
  readonly emit: Emit;
}

/** What a good link leads to. */
interface Opened {
  /** The last part of the path. */
  readonly name: string;
  readonly file: MediaFile;
  readonly expiresAtMs: number;
}

/** Serves `GET` and `HEAD` of `/v1/media/{file}?token=…`. */
export function mediaHandler(options: MediaOptions): Handler {
  const { signer, storage, storageMs, emit } = options;

  /** The token comes first: without a good one, what is absent and what is another's look the same. */
  function open({ req }: Exchange): Opened {
    const name = req.path.slice(req.path.lastIndexOf('/') + 1);
    const [token = '', ...others] = queryOf(req).getAll('token');
    const verdict = signer.verify({ file: name, token, nowMs: Date.now() });
    if (others.length > 0 || verdict.state === 'invalid') {
      throw new ImagesError('MEDIA_TOKEN_INVALID', 'This link is not valid. Ask the API for a fresh one.');
    }
    if (verdict.state === 'expired') {
      throw new ImagesError('MEDIA_TOKEN_EXPIRED', 'This link has expired. Ask the API for a fresh one.');
    }
    const file = parseMediaFile(name);
    if (file === undefined) throw notFound();
    return { name, file, expiresAtMs: verdict.expiresAtMs };
  }

  const late = () => new Error(`storage did not answer within ${storageMs} ms`);

  async function stat(key: string, requestId: string): Promise<StoredInfo | undefined> {
    return asked('stat', requestId, () => storage.stat(key));
  }

  /** Opens an object. One that opens too late is closed again. */
  async function get(key: string, requestId: string, range?: ByteRange): Promise<StoredObject | undefined> {
    let waiting = true;
    const opening = async () => {
      const object = await storage.get(key, { range });
      if (!waiting && object !== undefined) await closeUnread(object);
      return object;
    };
    try {
      return await asked('get', requestId, opening);
    } finally {
      waiting = false;
    }
  }

  async function asked<T>(operation: 'get' | 'stat', requestId: string, ask: () => Promise<T>): Promise<T> {
    try {
      return await within(ask(), storageMs, late);
    } catch (cause) {
      emit({ type: 'storage.failed', level: 'error', requestId, operation, cause });
      throw storageError(cause);
    }
  }

  function plan({ req }: Exchange, { name, expiresAtMs }: Opened, info: StoredInfo): DeliveryPlan {
    return planDelivery({
      method: req.method === 'HEAD' ? 'HEAD' : 'GET',
      headers: req.headers,
      info: { ...info, tag: info.sha256 },
      file: name,
      download: queryOf(req).get('download') === '1',
      tokenExpiresAtMs: expiresAtMs,
      nowMs: Date.now(),
    });
  }

  async function send(
    { res, requestId }: Exchange,
    { status, headers }: DeliveryPlan,
    object?: StoredObject,
  ) {
    res.statusCode = status;
    for (const [name, value] of Object.entries(headers)) res.setHeader(name, value);
    if (object === undefined) {
      res.end();
      return;
    }
    // The client left while storage was asked.
    if (res.destroyed) return closeUnread(object);
    try {
      await pipeline(Readable.from(object.body, { objectMode: false }), res);
    } catch (cause) {
      if (isClientGone(cause)) return;
      emit({ type: 'storage.failed', level: 'error', requestId, operation: 'get', cause });
      // Breaking the connection is the only way left to say that the body is not whole.
      res.destroy();
    }
  }

  return async (exchange) => {
    const { requestId } = exchange;
    const opened = open(exchange);
    const key = pictureKey(opened.file.id);
    const isOurs = (info: StoredInfo) => info.contentType === opened.file.contentType;
    if (isPlain(exchange)) {
      const object = await get(key, requestId);
      if (object === undefined) throw notFound();
      if (!isOurs(object)) return refuse(object, notFound());
      return send(exchange, plan(exchange, opened, object), object);
    }
    const info = await stat(key, requestId);
    if (info === undefined || !isOurs(info)) throw notFound();
    const planned = plan(exchange, opened, info);
    if (!planned.body) return send(exchange, planned);
    const object = await get(key, requestId, planned.range);
    if (object === undefined) throw notFound();
    if (object.sha256 !== info.sha256) {
      return refuse(object, storageError(new Error('the object changed between two reads')));
    }
    return send(exchange, planned, object);
  };
}

const DECIDING_HEADERS = [
  'range',
  'if-none-match',
  'if-modified-since',
  'if-match',
  'if-unmodified-since',
] as const satisfies readonly (keyof DeliveryHeaders)[];

/** A plain GET needs one look-up: nothing can keep its body from being sent. */
function isPlain({ req }: Exchange): boolean {
  return req.method === 'GET' && DECIDING_HEADERS.every((name) => req.headers[name] === undefined);
}

function notFound(): ImagesError {
  return new ImagesError('MEDIA_NOT_FOUND', 'This picture is no longer kept here.');
}

async function closeUnread(object: StoredObject): Promise<void> {
  await object.body[Symbol.asyncIterator]().return?.();
}

async function refuse(object: StoredObject, error: ImagesError): Promise<never> {
  await closeUnread(object);
  throw error;
}

function isClientGone(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ERR_STREAM_PREMATURE_CLOSE';
}

/** Answers with what is stored under a key, or with bytes at hand: plans, headers, body. */
import type { Emit } from '../core/events.js';
import type { StoredInfo } from '../core/storage.js';
import {
  type DeliveryPlan,
  type DeliveryRequest,
  isConditional,
  planDelivery,
  planRedirect,
  planUnread,
  type ServedVersion,
} from '../media/delivery.js';
import { closeUnread, type Lookup } from '../media/lookup.js';
import { storageError } from '../media/picture-store.js';
import { isDamage, reportStorage } from '../media/report.js';
import { type Exchange, isWrittenStraight } from './exchange.js';
import { type SizedBody, sendBody } from './media-body.js';

/** A picture somebody with a good link asks for. */
export interface Served {
  /** Where it is stored. */
  readonly key: string;
  /** A name to save it under. */
  readonly file: string;
  /** Whether it should be saved instead of shown. */
  readonly download: boolean;
  /** When the link expires, in epoch milliseconds. */
  readonly tokenExpiresAtMs: number;
  /** Whether the `Accept` header of the request had a say. */
  readonly varies: boolean;
  /** Removes it when it is not what was stored; `undefined` where it could not be made again. Never rejects. */
  readonly discard?: (() => Promise<void>) | undefined;
}

/** One that is stored. */
export interface ServedFromStorage extends Served {
  /** Whether what is stored there is it. */
  readonly accepts: (info: StoredInfo) => boolean;
  /** What its validators are made of. */
  readonly version: (info: StoredInfo) => ServedVersion;
  /** Whether the client is sent to where storage itself serves it, if it does. @defaultValue `false` */
  readonly redirects?: boolean | undefined;
}

/** Bytes at hand. */
export interface ServedBytes {
  /** All of them. */
  readonly bytes: Uint8Array;
  /** What they are. */
  readonly version: DeliveryRequest['info'];
}

/** Answers requests for pictures. */
export interface MediaAnswers {
  /** Answers at once, without a look-up, what needs none; `false` when it does. */
  known(exchange: Exchange, served: ServedFromStorage): boolean;
  /** Answers with what is stored; `false` when it is not there. Throws `STORAGE_ERROR`. */
  stored(exchange: Exchange, served: ServedFromStorage): Promise<boolean>;
  /** Answers without a body where the conditions of the request ask for none; `false` when they do not. */
  unread(exchange: Exchange, served: Served, version: ServedVersion): boolean;
  /** Answers with bytes at hand. */
  bytes(exchange: Exchange, served: Served, at: ServedBytes): Promise<void>;
}

interface Sendable extends Omit<SizedBody, 'length'> {
  /** What it is. */
  readonly of: Pick<Served, 'key' | 'varies' | 'discard'>;
}

/** What answers take. */
export interface MediaAnswersOptions {
  /** Looks pictures up. */
  readonly lookup: Lookup;
  /** Raises events. */
  readonly emit: Emit;
}

// What memory hands out at once: small enough that a slow connection takes no copy of a whole picture.
const SLICE_BYTES = 64 * 1024;

/** Makes the answers. A body that breaks breaks the connection; a client that leaves closes its source. */
export function createMediaAnswers({ lookup, emit }: MediaAnswersOptions): MediaAnswers {
  async function sendObject(exchange: Exchange, plan: DeliveryPlan, { of, body, isLent }: Sendable) {
    const { res, requestId } = exchange;
    if (!begin(exchange, plan, of)) return closeUnread({ body });
    try {
      await sendBody(res, { body, length: Number(plan.headers['Content-Length']), isLent });
    } catch (cause) {
      reportStorage(emit, { operation: 'get', key: of.key, requestId, cause });
      // Breaking the connection is the only way left to say that the body is not whole.
      res.destroy();
      if (isDamage(cause)) await of.discard?.();
    }
  }

  function plan(exchange: Exchange, served: ServedFromStorage, info: StoredInfo) {
    const { size, contentType } = info;
    const { tag, storedAt } = served.version(info);
    return planOf(exchange, served, { tag, storedAt, size, contentType });
  }

  async function storedWhole(exchange: Exchange, served: ServedFromStorage): Promise<boolean> {
    const isLent = isWrittenStraight(exchange.res);
    const object = await lookup.get(served.key, exchange.requestId, { transient: isLent });
    if (object === undefined) return false;
    if (!served.accepts(object)) {
      await closeUnread(object);
      return false;
    }
    await sendObject(exchange, plan(exchange, served, object), { of: served, body: object.body, isLent });
    return true;
  }

  /** Sends the client to storage; `false` when storage serves nobody itself. */
  async function redirect(exchange: Exchange, served: Served, planned: DeliveryPlan): Promise<boolean> {
    const { 'Content-Type': contentType = '', 'Content-Disposition': disposition = '' } = planned.headers;
    const { key, tokenExpiresAtMs: expiresAt } = served;
    const asked = { method: 'GET', expiresAt, contentType, disposition } as const;
    const location = await lookup.directUrl(key, exchange.requestId, asked);
    if (location === undefined) return false;
    sendHead(exchange, planRedirect({ location, expiresAtMs: expiresAt, nowMs: Date.now() }), served);
    return true;
  }

  /** What has just been learnt of a picture of which something will be read: that tells whether it is still there. */
  function knownToBeRead(exchange: Exchange, served: ServedFromStorage): StoredInfo | undefined {
    const info = served.redirects === true ? undefined : lookup.known(served.key);
    return info !== undefined && plan(exchange, served, info).body ? info : undefined;
  }

  async function storedInPart(exchange: Exchange, served: ServedFromStorage): Promise<boolean> {
    const { requestId } = exchange;
    const info = knownToBeRead(exchange, served) ?? (await lookup.stat(served.key, requestId));
    if (info === undefined || !served.accepts(info)) return false;
    const planned = plan(exchange, served, info);
    if (planned.body && served.redirects === true && (await redirect(exchange, served, planned))) return true;
    const isLent = isWrittenStraight(exchange.res);
    const options = { range: planned.range, transient: isLent };
    const object = planned.body ? await lookup.get(served.key, requestId, options) : undefined;
    if (planned.body && object === undefined) return false;
    if (object !== undefined && object.sha256 !== info.sha256) {
      await closeUnread(object);
      throw storageError(new Error('the object changed between two reads'));
    }
    if (object === undefined) sendHead(exchange, planned, served);
    else await sendObject(exchange, planned, { of: served, body: object.body, isLent });
    return true;
  }

  function unread(exchange: Exchange, served: Served, version: ServedVersion): boolean {
    const { headers } = exchange.req;
    const { tokenExpiresAtMs } = served;
    const planned = planUnread({ headers, info: version, tokenExpiresAtMs, nowMs: Date.now() });
    if (planned !== undefined) sendHead(exchange, planned, served);
    return planned !== undefined;
  }

  function known(exchange: Exchange, served: ServedFromStorage): boolean {
    const info = isConditional(exchange.req.headers) ? lookup.known(served.key) : undefined;
    if (info === undefined || !served.accepts(info)) return false;
    return unread(exchange, served, served.version(info));
  }

  return {
    known,
    async stored(exchange, served) {
      if (known(exchange, served)) return true;
      const { headers, method } = exchange.req;
      // A plain GET needs one look-up: nothing can keep its body from being sent.
      const isPlain = method === 'GET' && headers.range === undefined && !isConditional(headers);
      return await (isPlain && served.redirects !== true ? storedWhole : storedInPart)(exchange, served);
    },
    unread,
    async bytes(exchange, served, { bytes, version }) {
      const planned = planOf(exchange, served, version);
      if (!planned.body) return sendHead(exchange, planned, served);
      const { start, end } = planned.range ?? { start: 0, end: bytes.byteLength - 1 };
      const body = slices(bytes.subarray(start, end + 1));
      await sendObject(exchange, planned, { of: served, body, isLent: false });
    },
  };
}

function planOf(
  { req }: Exchange,
  { file, download, tokenExpiresAtMs }: Served,
  info: DeliveryRequest['info'],
): DeliveryPlan {
  const method = req.method === 'HEAD' ? 'HEAD' : 'GET';
  const { headers } = req;
  return planDelivery({ method, headers, nowMs: Date.now(), info, file, download, tokenExpiresAtMs });
}

/** Sets the headers of an answer; `false` when the client left, or shutdown had it told so, while storage was asked. */
function begin({ res }: Exchange, { status, headers }: DeliveryPlan, { varies }: Pick<Served, 'varies'>) {
  if (res.destroyed || res.headersSent) return false;
  res.statusCode = status;
  for (const [name, value] of Object.entries(headers)) res.setHeader(name, value);
  if (varies) res.vary('Accept');
  return true;
}

/** Sends an answer without a body. */
function sendHead(exchange: Exchange, plan: DeliveryPlan, of: Pick<Served, 'varies'>): void {
  if (begin(exchange, plan, of)) exchange.res.end();
}

async function* slices(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += SLICE_BYTES) yield bytes.subarray(at, at + SLICE_BYTES);
}

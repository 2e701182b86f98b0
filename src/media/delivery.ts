/**
 * Decides how a stored picture is answered: conditional and range requests by RFC 9110, and the headers that keep
 * it safe wherever it is shown. Decides only; whoever asks does the reading and sending.
 */
import type { ByteRange, StoredInfo } from '../core/storage.js';
import { parseHttpDate } from './http-date.js';
import { requestedRange } from './range.js';

/** What decides an answer. */
export interface DeliveryRequest {
  /** How it was asked for. */
  readonly method: 'GET' | 'HEAD';
  /** The request's headers; the ones named here count. */
  readonly headers: DeliveryHeaders;
  /** What is stored. */
  readonly info: Pick<StoredInfo, 'size' | 'contentType' | 'sha256' | 'storedAt'>;
  /** The file of the URL, proposed as a name to save under. */
  readonly file: string;
  /** Whether it should be saved instead of shown. */
  readonly download: boolean;
  /** When the link expires, in epoch milliseconds. */
  readonly tokenExpiresAtMs: number;
  /** The instant of the answer, in epoch milliseconds. */
  readonly nowMs: number;
}

/** The headers of a request that decide, as `node:http` has them. */
export interface DeliveryHeaders {
  /** Entity tags the client already has. */
  readonly 'if-none-match'?: string | undefined;
  /** When the client's copy was current. */
  readonly 'if-modified-since'?: string | undefined;
  /** The copy of which the client wants more. */
  readonly 'if-range'?: string | undefined;
  /** Which part the client wants. */
  readonly range?: string | undefined;
}

/** How to answer. */
export interface DeliveryPlan {
  /** The HTTP status. */
  readonly status: 200 | 206 | 304 | 416;
  /** All headers of the answer that depend on the picture. */
  readonly headers: Readonly<Record<string, string>>;
  /** The bytes to read; `undefined` reads all. Only with status 206. */
  readonly range: ByteRange | undefined;
  /** Whether there is a body to send. */
  readonly body: boolean;
}

// These go with every status: a 304 updates the headers of the copy a browser keeps, and a host that sets stricter
// ones for its own pages (as helmet does) would lock pictures out of the pages they were drawn for.
const EVERYWHERE = {
  'Accept-Ranges': 'bytes',
  'X-Content-Type-Options': 'nosniff',
  'Content-Security-Policy': "default-src 'none'; sandbox",
  'Cross-Origin-Resource-Policy': 'cross-origin',
  'Referrer-Policy': 'no-referrer',
} as const;

/** Plans the answer to a GET or HEAD of a stored picture. */
export function planDelivery(request: DeliveryRequest): DeliveryPlan {
  const { info, method } = request;
  const validators = validatorsOf(info);
  const common = { ...EVERYWHERE, ...validators, 'Cache-Control': cacheControl(request) };
  if (isUnchanged(request.headers, validators)) {
    return { status: 304, headers: common, range: undefined, body: false };
  }
  const range = wantsRange(request, validators)
    ? requestedRange(request.headers.range, info.size)
    : undefined;
  if (range === 'unsatisfiable') {
    return { status: 416, headers: unsatisfiable(info.size), range: undefined, body: false };
  }
  const headers = {
    ...common,
    'Content-Type': info.contentType,
    'Content-Disposition': disposition(request),
    'Content-Length': String(range === undefined ? info.size : range.end - range.start + 1),
  };
  if (range === undefined) return { status: 200, headers, range, body: method === 'GET' };
  const contentRange = `bytes ${range.start}-${range.end}/${info.size}`;
  return { status: 206, headers: { ...headers, 'Content-Range': contentRange }, range, body: true };
}

interface Validators {
  readonly ETag: string;
  readonly 'Last-Modified': string;
}

function validatorsOf(info: DeliveryRequest['info']): Validators {
  return { ETag: `"${info.sha256}"`, 'Last-Modified': new Date(info.storedAt).toUTCString() };
}

/** RFC 9110, 13.2.2: entity tags are compared weakly, and dates count only without them. */
function isUnchanged(headers: DeliveryHeaders, validators: Validators): boolean {
  const tags = headers['if-none-match'];
  if (tags !== undefined) {
    // Our tag has no comma, so no piece of another tag can equal it.
    const known = tags.split(',').map((tag) => tag.trim().replace(/^W\//, ''));
    return tags.trim() === '*' || known.includes(validators.ETag);
  }
  const since = parseHttpDate(headers['if-modified-since']);
  return since !== undefined && Date.parse(validators['Last-Modified']) <= since;
}

/** RFC 9110, 13.1.5 and 14.2: parts are for GET, and only of the very copy the client has the rest of. */
function wantsRange({ method, headers }: DeliveryRequest, validators: Validators): boolean {
  if (method !== 'GET' || headers.range === undefined) return false;
  const validator = headers['if-range'];
  if (validator === undefined || validator === validators.ETag) return true;
  return parseHttpDate(validator) === Date.parse(validators['Last-Modified']);
}

function unsatisfiable(size: number): Record<string, string> {
  // A cache that kept it could answer plain requests with it.
  return {
    ...EVERYWHERE,
    'Cache-Control': 'no-store',
    'Content-Range': `bytes */${size}`,
    'Content-Length': '0',
  };
}

function cacheControl({ tokenExpiresAtMs, nowMs }: DeliveryRequest): string {
  return `private, max-age=${Math.max(0, Math.floor((tokenExpiresAtMs - nowMs) / 1000))}`;
}

/** RFC 6266. A quoted name of plain characters needs no escaping and no encoded twin. */
function disposition({ file, download }: DeliveryRequest): string {
  return `${download ? 'attachment' : 'inline'}; filename="${file.replace(/[^\w.-]/g, '_')}"`;
}

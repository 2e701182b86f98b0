/**
 * Decides how a stored picture is answered: conditional and range requests by RFC 9110, and the headers that keep
 * it safe wherever it is shown. Decides only; whoever asks does the reading and sending.
 */
import type { ByteRange, StoredInfo } from '../core/storage.js';
import { parseHttpDate } from './http-date.js';
import { requestedRange } from './range.js';

/** What decides whether a request is answered with a body. */
export interface ConditionalRequest {
  /** The request's headers; the ones named here count. */
  readonly headers: DeliveryHeaders;
  /** What is served. */
  readonly info: ServedVersion;
  /** When the link expires, in epoch milliseconds. */
  readonly tokenExpiresAtMs: number;
  /** The instant of the answer, in epoch milliseconds. */
  readonly nowMs: number;
}

/** What is known of a picture before it is read. */
export interface ServedVersion {
  /** What stands for these bytes and no others; goes into the `ETag`. Letters and digits. */
  readonly tag: string;
  /** Since when they are served, in epoch milliseconds. */
  readonly storedAt: number;
}

/** What decides an answer. */
export interface DeliveryRequest extends ConditionalRequest {
  /** How it was asked for. */
  readonly method: 'GET' | 'HEAD';
  /** What is served. */
  readonly info: ServedVersion & Pick<StoredInfo, 'size' | 'contentType'>;
  /** A name to save it under. */
  readonly file: string;
  /** Whether it should be saved instead of shown. */
  readonly download: boolean;
}

/** The headers of a request that decide, as `node:http` has them. */
export interface DeliveryHeaders {
  /** Entity tags of which the picture must have one. */
  readonly 'if-match'?: string | undefined;
  /** Since when the picture must not have changed. */
  readonly 'if-unmodified-since'?: string | undefined;
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
  readonly status: 200 | 206 | 302 | 304 | 412 | 416;
  /** All headers of the answer that depend on the picture. */
  readonly headers: Readonly<Record<string, string>>;
  /** The bytes to read; `undefined` reads all. Only with status 206. */
  readonly range: ByteRange | undefined;
  /** Whether there is a body to send. */
  readonly body: boolean;
}

/**
 * Headers of every answer, whatever its status: a 304 updates those of the copy a browser keeps, an error is nothing to
 * run either, and a host that sets stricter ones for its own pages (as helmet does) would lock pictures out of the
 * pages they were drawn for.
 */
export const SAFE_HEADERS = {
  'X-Content-Type-Options': 'nosniff',
  'Content-Security-Policy': "default-src 'none'; sandbox",
  'Cross-Origin-Resource-Policy': 'cross-origin',
  'Referrer-Policy': 'no-referrer',
} as const;

// In objects made for each answer what is spread comes last: V8 takes ten times as long to add to a copy.
const EVERYWHERE = { 'Accept-Ranges': 'bytes', ...SAFE_HEADERS } as const;

const CONDITIONS = [
  'if-none-match',
  'if-modified-since',
  'if-match',
  'if-unmodified-since',
] as const satisfies readonly (keyof DeliveryHeaders)[];

/** Plans the answer to a GET or HEAD of a stored picture. */
export function planDelivery(request: DeliveryRequest): DeliveryPlan {
  const { info, method } = request;
  const validators = validatorsOf(info);
  const unread = unreadPlan(request, validators);
  if (unread !== undefined) return unread;
  const range = wantsRange(request, validators)
    ? requestedRange(request.headers.range, info.size)
    : undefined;
  if (range === 'unsatisfiable') {
    return { status: 416, headers: unsatisfiable(info.size), range: undefined, body: false };
  }
  const headers = {
    'Content-Type': info.contentType,
    'Content-Disposition': disposition(request),
    'Content-Length': String(range === undefined ? info.size : range.end - range.start + 1),
    ...commonHeaders(request, validators),
  };
  if (range === undefined) return { status: 200, headers, range, body: method === 'GET' };
  const contentRange = `bytes ${range.start}-${range.end}/${info.size}`;
  return { status: 206, headers: { 'Content-Range': contentRange, ...headers }, range, body: true };
}

/** Whether a request has conditions that could leave nothing to read. */
export function isConditional(headers: DeliveryHeaders): boolean {
  return CONDITIONS.some((name) => headers[name] !== undefined);
}

/**
 * Plans the answer to a request whose conditions (RFC 9110, 13.2.2) leave nothing to read, or answers `undefined` when
 * the picture is to be served.
 */
export function planUnread(request: ConditionalRequest): DeliveryPlan | undefined {
  return unreadPlan(request, validatorsOf(request.info));
}

function unreadPlan(request: ConditionalRequest, validators: Validators): DeliveryPlan | undefined {
  if (isRefused(request.headers, validators)) {
    const headers = { 'Cache-Control': 'no-store', 'Content-Length': '0', ...validators, ...EVERYWHERE };
    return { status: 412, headers, range: undefined, body: false };
  }
  if (!isUnchanged(request.headers, validators)) return undefined;
  return { status: 304, headers: commonHeaders(request, validators), range: undefined, body: false };
}

/** A picture that is fetched elsewhere. */
export interface Redirection {
  /** Where, absolute. */
  readonly location: string;
  /** When both the link and the location expire, in epoch milliseconds. */
  readonly expiresAtMs: number;
  /** The instant of the answer, in epoch milliseconds. */
  readonly nowMs: number;
}

// A location signed with temporary keys can end before its time, so nobody remembers one for long.
const MAX_REDIRECT_S = 300;

/** Plans the answer that sends a client to where storage itself serves the picture. */
export function planRedirect({ location, expiresAtMs, nowMs }: Redirection): DeliveryPlan {
  const maxAge = Math.min(MAX_REDIRECT_S, secondsUntil(expiresAtMs, nowMs));
  const headers = {
    Location: location,
    'Cache-Control': `private, max-age=${maxAge}`,
    'Content-Length': '0',
    ...SAFE_HEADERS,
  };
  return { status: 302, headers, range: undefined, body: false };
}

interface Validators {
  readonly ETag: string;
  readonly 'Last-Modified': string;
}

function validatorsOf({ tag, storedAt }: ServedVersion): Validators {
  return { ETag: `"${tag}"`, 'Last-Modified': new Date(storedAt).toUTCString() };
}

function commonHeaders(request: ConditionalRequest, validators: Validators) {
  return { 'Cache-Control': cacheControl(request), ...validators, ...EVERYWHERE };
}

/** RFC 9110, 13.1.1 and 13.1.4: entity tags are compared strongly, and dates count only without them. */
function isRefused(headers: DeliveryHeaders, validators: Validators): boolean {
  const tags = headers['if-match'];
  if (tags !== undefined) return tags.trim() !== '*' && !tagsIn(tags).includes(validators.ETag);
  const since = parseHttpDate(headers['if-unmodified-since']);
  return since !== undefined && Date.parse(validators['Last-Modified']) > since;
}

/** RFC 9110, 13.1.2 and 13.1.3: entity tags are compared weakly, and dates count only without them. */
function isUnchanged(headers: DeliveryHeaders, validators: Validators): boolean {
  const tags = headers['if-none-match'];
  if (tags !== undefined) {
    const known = tagsIn(tags).map((tag) => tag.replace(/^W\//, ''));
    return tags.trim() === '*' || known.includes(validators.ETag);
  }
  const since = parseHttpDate(headers['if-modified-since']);
  return since !== undefined && Date.parse(validators['Last-Modified']) <= since;
}

/** The tags in a list. Ours has no comma, so no piece of another tag can equal it. */
function tagsIn(list: string): readonly string[] {
  return list.split(',').map((tag) => tag.trim());
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
    'Cache-Control': 'no-store',
    'Content-Range': `bytes */${size}`,
    'Content-Length': '0',
    ...EVERYWHERE,
  };
}

function cacheControl({ tokenExpiresAtMs, nowMs }: ConditionalRequest): string {
  return `private, max-age=${secondsUntil(tokenExpiresAtMs, nowMs)}`;
}

function secondsUntil(instantMs: number, nowMs: number): number {
  return Math.max(0, Math.floor((instantMs - nowMs) / 1000));
}

/** RFC 6266. A quoted name of plain characters needs no escaping and no encoded twin. */
function disposition({ file, download }: DeliveryRequest): string {
  return `${download ? 'attachment' : 'inline'}; filename="${file.replace(/[^\w.-]/g, '_')}"`;
}

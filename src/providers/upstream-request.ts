/**
 * Requests sent by `node:http`: as fast as this process can move bytes, and what comes back is read where it arrives.
 * `fetch` passes every chunk through two web streams, which costs more than all that is done to a picture.
 */
import * as http from 'node:http';
import * as https from 'node:https';
import { type Duplex, pipeline, type Readable } from 'node:stream';
import { createBrotliDecompress, createGunzip, constants as zlib } from 'node:zlib';
import { chunksOf, freeReadings } from './body-chunks.js';

/** Connections that are kept for the next request. */
export interface UpstreamAgents {
  /** By the scheme of a URL. */
  readonly 'http:': http.Agent;
  /** By the scheme of a URL. */
  readonly 'https:': https.Agent;
}

/** A request that needs nothing of `fetch` but the network. */
export interface PlainRequest {
  /** Where to. */
  readonly url: URL;
  /** How. */
  readonly method: string;
  /** All headers but those of the connection. */
  readonly headers: Readonly<Record<string, string>>;
  /** What is sent; nothing where there is none. */
  readonly body: string | Uint8Array | undefined;
  /** Each ends the request and its answer. */
  readonly signals: readonly AbortSignal[];
}

// Servers close connections nobody uses after five seconds, most of them. A request on one that is just being closed
// fails, and nobody knows whether it was read.
const IDLE_MS = 4_000;
// What undici gives them.
const CONNECT_MS = 10_000;
const SILENCE_MS = 300_000;

/** Makes agents. They open nothing before the first request, and keep no process alive. */
export function createUpstreamAgents(): UpstreamAgents {
  const options = { keepAlive: true, scheduling: 'lifo', timeout: IDLE_MS } as const;
  return { 'http:': new http.Agent(options), 'https:': new https.Agent(options) };
}

/** What is to be sent, where `fetch` is not needed for it: no `Request`, no stream, no form, no dispatcher. */
export function plainRequest(
  target: URL | Request,
  init: RequestInit | undefined,
): Omit<PlainRequest, 'signals'> | undefined {
  if (target instanceof Request) return undefined;
  const { body, method = 'GET', headers: given } = init ?? {};
  const isPlainBody =
    body === undefined || body === null || typeof body === 'string' || body instanceof Uint8Array;
  if (!isPlainBody || hasDispatcher(init)) return undefined;
  const usual = typeof body === 'string' ? USUAL_HEADERS_OF_TEXT : USUAL_HEADERS;
  const headers = { ...usual, ...Object.fromEntries(given instanceof Headers ? given : new Headers(given)) };
  return { url: target, method, headers, body: body ?? undefined };
}

// As `fetch` has them, but that pictures are compressed already: to unpack their base64 costs more than all else that is
// done to it, and saves a quarter of the bytes.
const USUAL_HEADERS = { accept: '*/*', 'accept-encoding': 'identity', 'user-agent': 'node' };
const USUAL_HEADERS_OF_TEXT = { ...USUAL_HEADERS, 'content-type': 'text/plain;charset=UTF-8' };

/** Where undici keeps what `setGlobalDispatcher()` was given. */
const GLOBAL_DISPATCHERS = [Symbol.for('undici.globalDispatcher.2'), Symbol.for('undici.globalDispatcher.1')];

/** Whether the host has `fetch` go another way than straight ahead: through a proxy, say. */
function hasDispatcher(init: RequestInit | undefined): boolean {
  if (init !== undefined && 'dispatcher' in init && init.dispatcher !== undefined) return true;
  const holder = globalThis as { readonly [key: symbol]: object | undefined };
  const dispatcher = GLOBAL_DISPATCHERS.map((key) => holder[key]).find((found) => found !== undefined);
  return dispatcher !== undefined && dispatcher.constructor.name !== 'Agent';
}

/** Sends a request. Resolves with the head of its answer; rejects with what the network says. */
export function sendRequest(
  { url, method, headers, body, signals }: PlainRequest,
  agents: UpstreamAgents | undefined,
): Promise<http.IncomingMessage> {
  const isSecure = url.protocol === 'https:';
  const { request } = isSecure ? https : http;
  return new Promise((resolve, reject) => {
    const outgoing = request(url, {
      method,
      headers,
      timeout: SILENCE_MS,
      agent: agents?.[isSecure ? 'https:' : 'http:'],
    });
    let answer: http.IncomingMessage | undefined;
    const abort = () => cut(outgoing, answer, new Error('aborted'));
    for (const signal of signals) signal.addEventListener('abort', abort);
    outgoing.once('close', () => {
      for (const signal of signals) signal.removeEventListener('abort', abort);
    });
    outgoing.once('response', (incoming) => {
      answer = incoming;
      // A server that has answered before it has read all may never read the rest.
      incoming.once('end', () => {
        if (!outgoing.writableFinished) outgoing.destroy();
      });
      resolve(incoming);
    });
    // Kept: what goes wrong after the answer began is told by its body.
    outgoing.on('error', reject);
    outgoing.on('timeout', () => {
      // An answer that is there waits for its reader, if it has one.
      if (answer?.complete !== true || !answer.readableDidRead) cut(outgoing, answer, timedOut('BODY'));
    });
    limitConnecting(outgoing, isSecure);
    outgoing.end(body);
  });
}

/** Ends a request and its answer. */
function cut(outgoing: http.ClientRequest, answer: http.IncomingMessage | undefined, error: Error): void {
  if (outgoing.destroyed) return;
  // In the moment in which its answer ends, nobody listens to its connection any more, and what it then says would end
  // the process.
  outgoing.socket?.once('error', () => undefined);
  // First: the request would throw away what was not read yet of an answer, which would then end as a whole one does.
  answer?.destroy(error);
  outgoing.destroy(error);
}

function limitConnecting(outgoing: http.ClientRequest, isSecure: boolean): void {
  outgoing.once('socket', (socket) => {
    if (!socket.connecting) return;
    const timer = setTimeout(() => outgoing.destroy(timedOut('CONNECT')), CONNECT_MS);
    socket.once(isSecure ? 'secureConnect' : 'connect', () => clearTimeout(timer));
    socket.once('close', () => clearTimeout(timer));
  });
}

/** By the names that undici has for it. */
function timedOut(what: 'CONNECT' | 'BODY'): Error {
  const code = `UND_ERR_${what}_TIMEOUT`;
  return Object.assign(new Error(code), { code });
}

// Whoever compresses in more steps wants something else than to save bytes.
const MAX_CODINGS = 2;
// Each chunk is a trip to another thread: of Node's usual 16 KB they cost half as much again.
const chunkSize = 64 * 1024;
// As browsers do: what arrived of a body that is cut short is still read, and judged.
const LENIENT = { chunkSize, flush: zlib.Z_SYNC_FLUSH, finishFlush: zlib.Z_SYNC_FLUSH };
const LENIENT_BROTLI = {
  chunkSize,
  flush: zlib.BROTLI_OPERATION_FLUSH,
  finishFlush: zlib.BROTLI_OPERATION_FLUSH,
};

const DECODERS: ReadonlyMap<string, () => Duplex> = new Map<string, () => Duplex>([
  ['gzip', () => createGunzip(LENIENT)],
  ['x-gzip', () => createGunzip(LENIENT)],
  ['br', () => createBrotliDecompress(LENIENT_BROTLI)],
]);

/** The bytes of an answer as they were before they were compressed; what nobody asked for is left as it is. */
export function decodedBody(incoming: http.IncomingMessage): AsyncGenerator<Buffer, void> {
  freeReadings(incoming);
  return chunksOf(decoded(incoming));
}

function decoded(incoming: http.IncomingMessage): Readable {
  const { 'content-encoding': encoding } = incoming.headers;
  if (encoding === undefined) return incoming;
  const codings = encoding
    .toLowerCase()
    .split(',')
    .map((coding) => coding.trim());
  if (codings.length > MAX_CODINGS || !codings.every((coding) => DECODERS.has(coding))) return incoming;
  return codings.reduceRight<Readable>((source, coding) => {
    const decoder = DECODERS.get(coding)?.();
    // Failures are told by the last stream, which is the one that is read.
    return decoder === undefined ? source : pipeline(source, decoder, () => undefined);
  }, incoming);
}

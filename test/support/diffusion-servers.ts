/**
 * Local servers in the place of Stable Diffusion, one per protocol, that behave as the real ones do, warts included.
 * What they share is here: they draw one picture at a time behind a lock, and go on drawing when a client has left.
 */
import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import sharp from 'sharp';
import type { ImageFormat, Size } from '../../src/core/image.js';

/** One request as it arrived. */
export interface DiffusionRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/** What a server answers: status, body (JSON unless it is text or bytes) and headers. */
export interface DiffusionAnswer {
  readonly status: number;
  readonly body?: unknown;
  readonly headers?: Record<string, string>;
}

/** Answers a request; or takes the response over and answers nothing. */
export type DiffusionHandler = (
  request: DiffusionRequest,
  response: ServerResponse,
) => DiffusionAnswer | undefined | Promise<DiffusionAnswer | undefined>;

/** A running server. */
export interface DiffusionServer {
  /** Its root. */
  readonly url: string;
  /** All requests, in order of arrival. */
  readonly requests: readonly DiffusionRequest[];
  /** The requests to a path. */
  to(path: string): readonly DiffusionRequest[];
  /** Answers requests to a path by this from now on. */
  override(path: string, handler: DiffusionHandler): void;
  /** Ends it and every connection. */
  close(): Promise<void>;
}

/** Starts a server on a free port of 127.0.0.1. */
export async function serve(handler: DiffusionHandler): Promise<DiffusionServer> {
  const requests: DiffusionRequest[] = [];
  const overrides = new Map<string, DiffusionHandler>();
  const server = createServer(async (incoming, response) => {
    const body = await buffer(incoming).catch(() => undefined);
    if (body === undefined) return;
    const request = {
      method: incoming.method ?? '',
      path: incoming.url ?? '',
      headers: incoming.headers,
      body,
    };
    requests.push(request);
    const answer = await (overrides.get(request.path) ?? handler)(request, response);
    if (answer !== undefined) send(response, answer);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    requests,
    to: (path) => requests.filter((request) => request.path === path),
    override: (path, other) => void overrides.set(path, other),
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

function send(response: ServerResponse, { status, body = '', headers = {} }: DiffusionAnswer): void {
  const plain = typeof body === 'string' || Buffer.isBuffer(body);
  response.writeHead(status, { ...(!plain && { 'content-type': 'application/json' }), ...headers });
  response.end(plain ? body : JSON.stringify(body));
}

/** A request's body as the JSON object it is; throws like any parser. */
export function jsonOf(request: DiffusionRequest | undefined): Record<string, unknown> {
  return JSON.parse(request?.body.toString('utf8') ?? '');
}

/** A request's body as the form it is; throws for anything else. */
export function formOf(request: DiffusionRequest | undefined): Promise<FormData> {
  const headers = { 'content-type': request?.headers['content-type'] ?? '' };
  return new Response(Uint8Array.from(request?.body ?? []), { headers }).formData();
}

/** The lock of a graphics card. */
export interface Card {
  /** Draws, when it is this picture's turn; nothing stops it. */
  draw(picture: DrawnPicture): Promise<Buffer>;
  /** Pictures that were drawn to their end. */
  readonly drawn: number;
}

/** A picture to draw: its colours follow from its seed. */
export interface DrawnPicture {
  readonly size: Size;
  readonly seed: number;
  readonly format?: ImageFormat | undefined;
}

/** Makes a card that takes `drawMs` for each picture. */
export function createCard(drawMs = 0): Card {
  let turn: Promise<unknown> = Promise.resolve();
  let drawn = 0;
  return {
    get drawn() {
      return drawn;
    },
    draw(picture) {
      const mine = turn.then(async () => {
        await sleep(drawMs);
        drawn += 1;
        return await paint(picture);
      });
      turn = mine.catch(() => undefined);
      return mine;
    },
  };
}

async function paint({ size, seed, format = 'png' }: DrawnPicture): Promise<Buffer> {
  const background = { r: seed % 256, g: (seed >>> 8) % 256, b: (seed >>> 16) % 256 };
  return await sharp({ create: { ...size, channels: 3, background } })
    .toFormat(format)
    .toBuffer();
}

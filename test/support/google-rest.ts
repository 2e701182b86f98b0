/** A local HTTP server in Google's place, for the REST form of `PredictionService`. */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import { pipeline } from 'node:stream/promises';
import {
  createRecorder,
  type GoogleAnswer,
  type GoogleBody,
  type GoogleUpstream,
} from './google-upstream.js';

/** An answer of any status and body. */
export interface HttpAnswer {
  readonly httpStatus: number;
  /** Whole, or piece by piece; what a piece throws cuts the connection. */
  readonly text: string | AsyncIterable<string>;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Starts a server on a free port of 127.0.0.1. */
export async function createRestUpstream(): Promise<GoogleUpstream> {
  const recorder = createRecorder();
  const server = createServer(async (incoming, response) => {
    const left = once(response, 'close').then(() => !response.writableFinished);
    const { resource, rpc } = readTarget(incoming);
    const body = (await json(incoming)) as GoogleBody;
    send(await recorder.answer({ rpc, resource, body, headers: incoming.headers, left }), response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    ...recorder,
    port: (server.address() as AddressInfo).port,
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

function readTarget({ url = '' }: IncomingMessage) {
  const [, resource = '', rpc] = /^\/v1\/(.*):(predict|generateContent)\?/.exec(url) ?? [];
  return { resource, rpc: rpc as 'predict' | 'generateContent' };
}

function send(answer: GoogleAnswer, response: ServerResponse): void {
  if ('cut' in answer) response.destroy();
  else if ('failure' in answer) sendFailure(answer.failure, response);
  else if ('json' in answer) sendJson(answer.json, response);
}

function sendJson(body: object, response: ServerResponse): void {
  const { httpStatus, text, headers } = 'httpStatus' in body ? (body as HttpAnswer) : plain(body);
  response.writeHead(httpStatus, { 'content-type': 'application/json', ...headers });
  if (typeof text === 'string') response.end(text);
  // What goes wrong is seen by whoever asked.
  else pipeline(text, response).catch(() => undefined);
}

function plain(body: object): HttpAnswer {
  return { httpStatus: 200, text: JSON.stringify(body) };
}

type Failure = Extract<GoogleAnswer, { failure: unknown }>['failure'];

function sendFailure({ httpStatus, status, message, retrySeconds }: Failure, response: ServerResponse): void {
  const type = 'type.googleapis.com/google.rpc.RetryInfo';
  const details = retrySeconds === undefined ? [] : [{ '@type': type, retryDelay: `${retrySeconds}s` }];
  const text = JSON.stringify({ error: { code: httpStatus, message, status, details } });
  sendJson({ httpStatus, text }, response);
}

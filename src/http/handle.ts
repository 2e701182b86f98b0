/**
 * The one wrapper around every endpoint: request id, method, and errors. Express 4 does not catch rejections, so
 * nothing may escape it.
 */
import type { Request, RequestHandler, Response } from 'express';
import { CLIENT_LEFT } from '../core/deadline.js';
import type { Emit } from '../core/events.js';
import { randomHex } from '../core/random.js';
import { ImagesError } from '../errors.js';
import { letBodyPass } from './body.js';
import { closeInLine } from './disconnect.js';
import { errorAnswer, isServerFault, type Surface, toImagesError } from './errors.js';
import { type Exchange, sendJson } from './exchange.js';

/** What every endpoint needs. */
export interface HandleOptions {
  /** Which API's errors it answers with. */
  readonly surface: Surface;
  /** Takes a well-formed `X-Request-Id` of the request for its own. */
  readonly trustRequestId: boolean;
  /** Raises events. */
  readonly emit: Emit;
}

/** Serves one method of an endpoint. Throws what the client is to be told. */
export type Handler = (exchange: Exchange) => Promise<void> | void;

/** The methods of an endpoint, and what its errors carry. `HEAD` is served by `GET`. */
export interface Methods {
  /** Serves GET, and HEAD. */
  readonly GET?: Handler;
  /** Serves POST. */
  readonly POST?: Handler;
  /** Headers of every error. */
  readonly headers?: Readonly<Record<string, string>>;
}

const REQUEST_ID = /^[A-Za-z0-9][A-Za-z0-9._-]{7,127}$/;

function requestIdOf(req: Request, trusted: boolean): string {
  const given = trusted ? req.get('x-request-id') : undefined;
  return given !== undefined && REQUEST_ID.test(given) ? given : `req_${randomHex()}`;
}

function methodNotAllowed(req: Request, res: Response, methods: Methods): ImagesError {
  const { GET, POST } = methods;
  const allowed = [...(GET === undefined ? [] : ['GET', 'HEAD']), ...(POST === undefined ? [] : ['POST'])];
  res.setHeader('Allow', allowed.join(', '));
  return new ImagesError(
    'METHOD_NOT_ALLOWED',
    `${req.method} is not served here; use ${allowed.join(' or ')}.`,
  );
}

/** Makes an Express handler of an endpoint's methods. Other methods are 405; OPTIONS is the host's. */
export function handle(options: HandleOptions, methods: Methods): RequestHandler {
  const { surface, trustRequestId, emit } = options;
  return (req, res, next) => {
    if (req.method === 'OPTIONS') {
      next();
      return;
    }
    const requestId = requestIdOf(req, trustRequestId);
    const exchange: Exchange = { req, res, surface, requestId };
    closeInLine(req, res);
    res.setHeader('X-Request-Id', requestId);
    const method = req.method === 'HEAD' ? 'GET' : req.method;
    const handler = method === 'GET' || method === 'POST' ? methods[method] : undefined;
    const serve = async () => {
      if (handler === undefined) throw methodNotAllowed(req, res, methods);
      await handler(exchange);
    };
    serve()
      .catch((thrown: unknown) => answerError(exchange, thrown, { emit, methods }))
      // An error that cannot even be told must not end the process.
      .catch(() => res.destroy());
  };
}

function answerError(
  { req, res, surface, requestId }: Exchange,
  thrown: unknown,
  { emit, methods }: { readonly emit: Emit; readonly methods: Methods },
): void {
  // Nobody is there to be told.
  if (thrown === CLIENT_LEFT) return;
  const error = toImagesError(thrown);
  const { status, headers, body } = errorAnswer(error, { surface, requestId });
  emitFailure(error, { requestId, emit });
  if (!req.complete) letBodyPass(req);
  if (res.headersSent || res.destroyed) {
    // The answer has begun; a broken connection is the only honest way left to say that it is not whole.
    res.destroy();
    return;
  }
  for (const [name, value] of Object.entries({ ...methods.headers, ...headers })) res.setHeader(name, value);
  sendJson(res, status, body);
}

/** Tells the host of a request that was answered with an error, and of the fault of ours behind it, if it is one. */
export function emitFailure(
  error: ImagesError,
  { requestId, emit }: { readonly requestId: string; readonly emit: Emit },
): void {
  const { code, reason, cause } = error;
  const level = isServerFault(error) ? 'error' : 'info';
  emit({ type: 'request.failed', level, requestId, code, reason, cause });
  if (code === 'INTERNAL_ERROR') emit({ type: 'internal.error', level: 'error', requestId, cause });
}

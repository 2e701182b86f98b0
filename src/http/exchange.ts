/** One request and its answer, as endpoints see them, and how JSON is sent. */
import type { Request, Response } from 'express';
import type { Surface } from './errors.js';

/** One request and its answer. */
export interface Exchange {
  /** The request. */
  readonly req: Request;
  /** The answer. */
  readonly res: Response;
  /** Which API the client speaks. */
  readonly surface: Surface;
  /** On every answer, and in every event. */
  readonly requestId: string;
}

/** Sends a JSON answer. Not by Express's `res.json`, which would hash every body for an ETag nobody asks for. */
export function sendJson(res: Response, status: number, body: unknown): void {
  const bytes = Buffer.from(JSON.stringify(body));
  res.statusCode = status;
  res.setHeader('Content-Type', 'application/json; charset=utf-8');
  res.setHeader('Content-Length', bytes.byteLength);
  if (!res.hasHeader('Cache-Control')) res.setHeader('Cache-Control', 'no-store');
  res.end(bytes);
}

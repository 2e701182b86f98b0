/** One request and its answer, as endpoints see them, and how they are written. */
import { ServerResponse } from 'node:http';
import type { Request, Response } from 'express';
import { isOfNode } from '../core/memory.js';
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

/** As Node has them: whoever puts others in their place later may do anything with what is written. */
const { write: nodesWrite, end: nodesEnd } = ServerResponse.prototype;

/**
 * Whether what is written goes straight to a connection, so that its memory is free again once that has been told. A
 * host's middleware may keep what it is given, and so may what a host has in place of connections.
 */
export function isWrittenStraight({ write, end, req }: Response): boolean {
  return write === nodesWrite && end === nodesEnd && isOfNode(req.socket);
}

/** Sends a JSON answer. */
export function sendJson(res: Response, status: number, body: unknown): void {
  sendText(res, status, JSON.stringify(body));
}

/** Sends a JSON answer that is text already. */
export function sendText(res: Response, status: number, text: string): void {
  const bytes = Buffer.from(text);
  res.setHeader('Content-Length', bytes.byteLength);
  beginJson(res, status);
  res.end(bytes);
}

/** Sets what every JSON answer begins with. Not by Express's `res.json`, which would hash every body for an ETag. */
export function beginJson(res: Response, status = 200): void {
  if (res.headersSent) return;
  res.statusCode = status;
  res.setHeader('Content-Type', 'application/json; charset=utf-8');
  if (!res.hasHeader('Cache-Control')) res.setHeader('Cache-Control', 'no-store');
}

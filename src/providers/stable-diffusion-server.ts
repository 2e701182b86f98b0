/** One server as one call sees it: where to send, what to say to be let in, and how its answers are read. */
import type { GenerateCall } from '../core/provider.js';
import { refusalError, shapeError } from './stable-diffusion-errors.js';
import type { DiffusionTarget } from './stable-diffusion-options.js';

/** A server to speak to. */
export interface DiffusionServer {
  /** Sends, by GET without a body, else by POST; JSON unless it is a form. Answers whatever comes. */
  send(path: string, body?: object): Promise<Response>;
  /** Sends and reads the JSON answered. Throws a `ProviderError` for a refusal and for what is not JSON. */
  ask(path: string, body?: object): Promise<unknown>;
}

/** What of a refusal is read for words that tell what it means. */
const REFUSAL_CHARACTERS = 64 * 1024;

/** Speaks to a server by the `fetch` of a call. */
export function connect(
  { url, authorization }: DiffusionTarget,
  { fetch, signal }: Pick<GenerateCall, 'fetch' | 'signal'>,
): DiffusionServer {
  async function send(path: string, body?: object): Promise<Response> {
    const headers: Record<string, string> = { accept: 'application/json' };
    if (authorization !== undefined) headers.authorization = authorization;
    if (body === undefined) return await fetch(url + path, { headers, signal });
    if (body instanceof FormData) return await fetch(url + path, { method: 'POST', headers, body, signal });
    headers['content-type'] = 'application/json';
    return await fetch(url + path, { method: 'POST', headers, body: JSON.stringify(body), signal });
  }

  return {
    send,
    async ask(path, body) {
      const response = await send(path, body);
      const { status, headers } = response;
      // Not `text()`, which swallows a byte order mark.
      const text = Buffer.from(await response.arrayBuffer()).toString('utf8');
      if (status !== 200)
        throw refusalError({ status, headers, text: text.slice(0, REFUSAL_CHARACTERS), path });
      try {
        return JSON.parse(text);
      } catch {
        throw shapeError('is not JSON');
      }
    },
  };
}

/** Whether a value is a JSON object. */
export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** One server as one call sees it: where to send, what to say to be let in, and how its answers are read. */
import type { GenerateCall } from '../core/provider.js';
import { parseJson } from './json-value.js';
import type { MultipartBody } from './multipart.js';
import { type DiffusionAnswer, refusalError, shapeError } from './stable-diffusion-errors.js';
import type { DiffusionTarget } from './stable-diffusion-options.js';

/** What to send. */
export type DiffusionBody = { readonly json: object } | { readonly form: MultipartBody };

/** A server to speak to. */
export interface DiffusionServer {
  /** Sends, by GET without a body, else by POST. Answers whatever comes. */
  send(path: string, body?: DiffusionBody): Promise<DiffusionAnswer>;
  /** Sends and reads the JSON answered. Throws a `ProviderError` for a refusal and for what is not JSON. */
  ask(path: string): Promise<unknown>;
  /** Sends, and resolves when the answer begins. Throws a `ProviderError` for a refusal. */
  draw(path: string, body: DiffusionBody): Promise<Response>;
}

/** Speaks to a server by the `fetch` of a call. */
export function connect(
  { url, authorization }: DiffusionTarget,
  { fetch, signal }: Pick<GenerateCall, 'fetch' | 'signal'>,
): DiffusionServer {
  function request(path: string, body?: DiffusionBody): Promise<Response> {
    const content = body && contentOf(body);
    return fetch(url + path, {
      method: content === undefined ? 'GET' : 'POST',
      headers: {
        accept: 'application/json',
        ...(authorization !== undefined && { authorization }),
        ...(content !== undefined && { 'content-type': content.contentType }),
      },
      ...(content !== undefined && { body: content.bytes }),
      signal,
    });
  }

  const send = async (path: string, body?: DiffusionBody) =>
    await wholeAnswer(await request(path, body), path);

  return {
    send,
    async ask(path) {
      const answer = await send(path);
      if (answer.status !== 200) throw refusalError(answer);
      const value = parseJson(answer.text);
      if (value === undefined) throw shapeError('is not JSON');
      return value;
    },
    async draw(path, body) {
      const response = await request(path, body);
      if (response.status !== 200) throw refusalError(await wholeAnswer(response, path));
      return response;
    },
  };
}

async function wholeAnswer(response: Response, path: string): Promise<DiffusionAnswer> {
  // Not `text()`, which swallows a byte order mark.
  const text = Buffer.from(await response.arrayBuffer()).toString('utf8');
  return { status: response.status, headers: response.headers, text, path };
}

interface Content extends Pick<MultipartBody, 'contentType'> {
  readonly bytes: string | MultipartBody['bytes'];
}

function contentOf(body: DiffusionBody): Content {
  if ('form' in body) return body.form;
  return { bytes: JSON.stringify(body.json), contentType: 'application/json' };
}

/** What the checks of a deployment are made from: the deployment, and ways to ask it and to look at its answers. */
import assert from 'node:assert/strict';
import type { Check, NotApplicable } from '../check.js';
import { type PictureFacts, pictureFacts } from '../provider/pictures.js';

/** A deployed router, as a client of it sees it. */
export interface ApiSubject {
  /** Where the router is mounted, without a slash at the end. */
  readonly baseUrl: string;
  /** What tells the deployment who is asking, such as `Authorization`; of a caller whose role is `user`. */
  readonly headers: Readonly<Record<string, string>>;
  /** The slug of a model this caller may use. */
  readonly model: string;
  /** A size that model draws; the smaller, the cheaper. @defaultValue `'1024x1024'` */
  readonly size?: string | undefined;
  /** Ends what was started for the check. @defaultValue nothing was */
  readonly close?: (() => Promise<void>) | undefined;
}

/** Makes the deployment to check, or answers one that runs already. Called once for every check. */
export type CreateApi = () => ApiSubject | Promise<ApiSubject>;

/** What a check is, apart from how it gets its subject. */
export interface ApiCheck extends Omit<Check<CreateApi>, 'run'> {
  /** The check itself. */
  run(subject: ApiSubject): Promise<undefined | NotApplicable>;
}

/** Turns a check on a subject into one that makes and closes it. */
export function toCheck({ id, title, level, run }: ApiCheck): Check<CreateApi> {
  return {
    id,
    title,
    level,
    async run(create) {
      const subject = await create();
      try {
        return await run(subject);
      } finally {
        await subject.close?.();
      }
    },
  };
}

/** An answer, read to its end. */
export interface Answer {
  /** HTTP status. */
  readonly status: number;
  /** Its headers. */
  readonly headers: Headers;
  /** Its body. */
  readonly bytes: Buffer;
}

/** A request apart from who asks. */
export interface Ask {
  /** @defaultValue `'GET'` */
  readonly method?: string | undefined;
  /** Additional headers. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Sent as it is. */
  readonly body?: string | undefined;
}

// The longest a deployment may take for a picture, and more.
const PATIENCE_MS = 600_000;

/** Asks for a URL as somebody nobody knows. Redirects are not followed. */
export async function askUrl(url: string, { method = 'GET', headers = {}, body }: Ask = {}): Promise<Answer> {
  const signal = AbortSignal.timeout(PATIENCE_MS);
  const init = { method, headers, signal, redirect: 'manual' } as const;
  const answer = await fetch(url, body === undefined ? init : { ...init, body });
  return {
    status: answer.status,
    headers: answer.headers,
    bytes: Buffer.from(await answer.arrayBuffer()),
  };
}

/** Asks for a path of the deployment as its caller. */
export function ask(subject: ApiSubject, path: string, request: Ask = {}): Promise<Answer> {
  return askUrl(subject.baseUrl + path, { ...request, headers: { ...subject.headers, ...request.headers } });
}

/** Posts JSON as the caller. */
export function post(subject: ApiSubject, path: string, body: unknown): Promise<Answer> {
  const headers = { 'content-type': 'application/json' };
  return ask(subject, path, { method: 'POST', headers, body: JSON.stringify(body) });
}

/** Generate endpoints by surface. */
export const GENERATE = {
  native: '/v1/inference/images/generate',
  openai: '/oai/v1/images/generations',
} as const;

/** Has one picture drawn, as a PNG of {@link sizeOf} the subject. */
export function draw(
  subject: ApiSubject,
  surface: keyof typeof GENERATE,
  fields: Readonly<Record<string, unknown>> = {},
): Promise<Answer> {
  const { width, height } = sizeOf(subject);
  const { model } = subject;
  const size = `${width}x${height}`;
  const body = { model, prompt: 'A lighthouse at dawn', size, output_format: 'png', ...fields };
  return post(subject, GENERATE[surface], body);
}

/** The pixels pictures are asked for in. */
export function sizeOf({ size = '1024x1024' }: ApiSubject): {
  readonly width: number;
  readonly height: number;
} {
  const [width = 0, height = 0] = size.split('x').map(Number);
  return { width, height };
}

/** The JSON of an answer, after its status and type were checked. */
export function jsonOf({ status, headers, bytes }: Answer, expected: number): unknown {
  const text = bytes.toString();
  assert.equal(status, expected, `answered ${status} instead of ${expected}: ${text.slice(0, 300)}`);
  assert.match(headers.get('content-type') ?? '', /^application\/json\b/, 'answers JSON');
  return JSON.parse(text);
}

/** Reads a value of JSON by its path, such as `data.items`; `undefined` where there is none. */
export function at(json: unknown, path: string): unknown {
  return path
    .split('.')
    .reduce<unknown>((value, key) => (value as Record<string, unknown> | null | undefined)?.[key], json);
}

/** A picture's link, drawn for a check. */
export async function drawnUrl(subject: ApiSubject): Promise<string> {
  const json = jsonOf(await draw(subject, 'native', { response_format: 'url' }), 200);
  const url = at(json, 'data.data.0.url');
  assert.equal(typeof url, 'string', 'answers with a URL');
  return String(url);
}

/** Fails unless the bytes are a PNG of the size that was asked for. */
export function assertDrawn(subject: ApiSubject, bytes: Buffer): void {
  const expected: PictureFacts = { format: 'png', size: sizeOf(subject) };
  assert.deepEqual(pictureFacts(bytes), expected, 'is the picture that was asked for');
}

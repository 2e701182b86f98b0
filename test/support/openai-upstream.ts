/**
 * A local server in OpenAI's place: it answers recorded shapes and keeps every request byte for byte. What it
 * answers is a handler; `answers` has the usual ones ready.
 */
import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setImmediate } from 'node:timers/promises';

/** One request as it arrived. */
export interface RecordedRequest {
  readonly method: string;
  /** Path and query. */
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  /** The body's bytes. */
  readonly body: Buffer;
  /** Resolves when the answer is out or the client has gone: `true` when it went before the end. */
  readonly left: Promise<boolean>;
}

/** Answers one request, in whatever way a server can. */
export type UpstreamHandler = (request: RecordedRequest, response: ServerResponse) => void | Promise<void>;

/** The server. */
export interface OpenAIUpstream {
  /** What to give to a client as `baseURL`, `/v1` included. */
  readonly url: string;
  /** All requests, in order of arrival. */
  readonly requests: readonly RecordedRequest[];
  /** Answers every request from now on by this handler. At first it is `answers.pictures()`. */
  respondWith(handler: UpstreamHandler): void;
  /** Ends it and every connection. */
  close(): Promise<void>;
}

/** Starts a server on a free port of 127.0.0.1. */
export async function createOpenAIUpstream(): Promise<OpenAIUpstream> {
  const requests: RecordedRequest[] = [];
  let handler: UpstreamHandler = answers.pictures();
  const server = createServer(async (incoming, response) => {
    // Before the body is read: the client may leave at any time.
    const left = once(response, 'close').then(() => !response.writableFinished);
    const request = await record(incoming, left).catch(() => undefined);
    if (request === undefined) return;
    requests.push(request);
    try {
      await handler(request, response);
    } catch (error) {
      // A fault of a test's own handler must not look like a vendor that is slow.
      console.error(error);
      response.destroy();
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/v1`,
    requests,
    respondWith(next) {
      handler = next;
    },
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

async function record(incoming: IncomingMessage, left: Promise<boolean>): Promise<RecordedRequest> {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) chunks.push(chunk);
  return {
    method: incoming.method ?? '',
    path: incoming.url ?? '',
    headers: incoming.headers,
    body: Buffer.concat(chunks),
    left,
  };
}

/** A request's body as the JSON it is. */
export function jsonBody(request: RecordedRequest | undefined): Record<string, unknown> {
  return JSON.parse(request?.body.toString('utf8') ?? 'null');
}

/** A request's body as the form it is, read by the parser Node has. */
export async function formBody(request: RecordedRequest | undefined): Promise<FormData> {
  const contentType = request?.headers['content-type'] ?? '';
  return await new Response(request?.body, { headers: { 'content-type': contentType } }).formData();
}

/** The fields of a request that are no files, whether it is JSON or a form. */
export async function fieldsOf(request: RecordedRequest): Promise<Readonly<Record<string, unknown>>> {
  if (request.headers['content-type'] === 'application/json') return jsonBody(request);
  const fields = [...(await formBody(request))].filter(([, value]) => typeof value === 'string');
  return Object.fromEntries(fields);
}

/** The smallest honest PNG: one transparent pixel. */
export const PIXEL_PNG: Buffer = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
  'base64',
);

/** What OpenAI's own answers carry. */
const REQUEST_ID = 'req_0123456789abcdef0123456789abcdef';

/** Answers JSON, with OpenAI's request id unless `headers` says otherwise. */
function json(status: number, body: unknown, headers: Record<string, string> = {}): UpstreamHandler {
  return raw(status, JSON.stringify(body), { 'content-type': 'application/json', ...headers });
}

/** Answers exactly these bytes. */
function raw(status: number, body: string | Buffer, headers: Record<string, string> = {}): UpstreamHandler {
  return (_request, response) => {
    response.writeHead(status, { 'x-request-id': REQUEST_ID, ...headers });
    response.end(body);
  };
}

/** Answers the error object of OpenAI. */
function failure(
  status: number,
  error: Record<string, unknown>,
  headers: Record<string, string> = {},
): UpstreamHandler {
  const {
    message = 'Something is wrong.',
    type = 'invalid_request_error',
    param = null,
    code = null,
  } = error;
  return json(status, { error: { ...error, message, type, param, code } }, headers);
}

/** What `answers.pictures` may vary. */
export interface PicturesAnswer {
  /** The picture, sent as often as asked for. */
  readonly image?: Buffer;
  /** How many, instead of what was asked for. */
  readonly count?: number;
  /** On each picture. */
  readonly revisedPrompt?: string;
  /** `output_format`. */
  readonly outputFormat?: string;
  /** `usage` as it is; absent when undefined. */
  readonly usage?: unknown;
}

function pictures(options: PicturesAnswer = {}): UpstreamHandler {
  return async (request, response) => {
    const picture = {
      revised_prompt: options.revisedPrompt,
      b64_json: (options.image ?? PIXEL_PNG).toString('base64'),
    };
    const count = options.count ?? Number((await fieldsOf(request)).n ?? 1);
    const data = Array.from({ length: count }, () => picture);
    const body = { created: 1_713_888_000, data, output_format: options.outputFormat, usage: options.usage };
    return json(200, body, { 'openai-processing-ms': '8123' })(request, response);
  };
}

/** The token counts of one 1024x1024 `medium` picture. */
export const GPT_IMAGE_USAGE = {
  input_tokens: 50,
  output_tokens: 1756,
  total_tokens: 1806,
  input_tokens_details: { text_tokens: 50, image_tokens: 0 },
  output_tokens_details: { text_tokens: 0, image_tokens: 1756 },
} as const;

/** One server-sent event, as OpenAI writes it: its type is its name, too. */
export function sseFrame(value: { readonly type: string; readonly [field: string]: unknown }): string {
  return `event: ${value.type}\ndata: ${JSON.stringify(value)}\n\n`;
}

/** What `streamFrames` may vary. */
export interface StreamedPicture {
  /** What asked for it. */
  readonly prefix?: 'image_generation' | 'image_edit';
  /** Previews before it. */
  readonly previews?: number;
  /** The picture, and each of its previews. */
  readonly image?: Buffer;
  /** `output_format`. */
  readonly outputFormat?: string;
  /** `usage` as it is; absent when undefined. */
  readonly usage?: unknown;
}

/** The events of one streamed picture, the picture itself last. */
export function streamFrames(options: StreamedPicture = {}): readonly string[] {
  const { prefix = 'image_generation', previews = 0, image = PIXEL_PNG, outputFormat = 'png' } = options;
  const common = {
    b64_json: image.toString('base64'),
    created_at: 1_713_888_000,
    size: '1024x1024',
    quality: 'medium',
    background: 'opaque',
    output_format: outputFormat,
  };
  const partial = (index: number) =>
    sseFrame({ type: `${prefix}.partial_image`, ...common, partial_image_index: index });
  const usage = 'usage' in options ? options.usage : GPT_IMAGE_USAGE;
  return [
    ...Array.from({ length: previews }, (_, index) => partial(index)),
    sseFrame({ type: `${prefix}.completed`, ...common, usage }),
  ];
}

/** Answers a stream of these pieces, each written by itself, and ends it. */
function stream(pieces: Iterable<string | Uint8Array>): UpstreamHandler {
  return async (_request, response) => {
    beginStream(response);
    for (const piece of pieces) {
      response.write(piece);
      await setImmediate();
    }
    response.end();
  };
}

function beginStream(response: ServerResponse): void {
  response.writeHead(200, {
    'content-type': 'text/event-stream; charset=utf-8',
    'x-request-id': REQUEST_ID,
  });
}

/** Ready-made answers, in the shapes OpenAI's own have. */
export const answers = {
  json,
  raw,
  failure,
  pictures,
  stream,
  /** Sends these pieces of a stream, and then nothing. */
  stallingStream:
    (pieces: readonly string[]): UpstreamHandler =>
    (_request, response) => {
      beginStream(response);
      for (const piece of pieces) response.write(piece);
    },
  /** Sends these pieces of a stream and cuts the connection. */
  cutStream:
    (pieces: readonly string[]): UpstreamHandler =>
    (_request, response) => {
      beginStream(response);
      response.write(pieces.join(''), () => response.destroy());
    },
  /** A DALL·E 3 success: one picture and the prompt as it was rewritten. */
  dallE3: (revisedPrompt = 'A lighthouse on a cliff at dusk, in oil.') => pictures({ revisedPrompt }),
  /** A DALL·E 2 success. */
  dallE2: () => pictures(),
  /** A GPT Image success, with usage. */
  gptImage: (usage: unknown = GPT_IMAGE_USAGE) => pictures({ outputFormat: 'png', usage }),
  /** GPT Image refuses for safety, at a stage it may or may not tell. */
  moderationBlocked: (stage?: 'input' | 'output') =>
    failure(400, {
      message: 'Your request was rejected by the safety system.',
      type: 'image_generation_user_error',
      code: 'moderation_blocked',
      ...(stage && { moderation_details: { categories: ['violence'], moderation_stage: stage } }),
    }),
  /** DALL·E refuses for safety. */
  contentPolicyViolation: () => failure(400, { code: 'content_policy_violation' }),
  /** A request OpenAI takes for wrong. */
  invalidRequest: () => failure(400, { code: 'invalid_value', param: 'size' }),
  /** Too many requests. */
  rateLimited: (headers: Record<string, string> = { 'retry-after': '20' }) =>
    failure(429, { type: 'requests', code: 'rate_limit_exceeded' }, headers),
  /** No credit. */
  insufficientQuota: () => failure(429, { type: 'insufficient_quota', code: 'insufficient_quota' }),
  /** The account's spending cap. */
  billingHardLimit: () => failure(400, { code: 'billing_hard_limit_reached' }),
  /** A wrong key. */
  invalidKey: () => failure(401, { code: 'invalid_api_key' }),
  /** A model that is gone. */
  modelNotFound: () => failure(404, { code: 'model_not_found' }),
  /** A failure on OpenAI's side. */
  serverError: () => failure(500, { type: 'server_error' }),
  /** Never answers. */
  silence: (): UpstreamHandler => () => {},
  /** Sends headers and the beginning of a body, and then nothing. */
  stall: (): UpstreamHandler => (_request, response) => {
    response.writeHead(200, { 'content-type': 'application/json' });
    response.write('{"created": 1713888000, "data": [{"b64_json": "iVBORw0KGgo');
  },
  /** Cuts the connection in the middle of a body. */
  cutOff: (): UpstreamHandler => (_request, response) => {
    response.writeHead(200, { 'content-type': 'application/json' });
    response.write('{"created": 1713888000, "data": [', () => response.destroy());
  },
  /** Sends a client elsewhere. */
  redirect: (location: string, status = 307): UpstreamHandler => raw(status, '', { location }),
} as const;

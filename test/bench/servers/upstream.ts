/**
 * In OpenAI's place: answers pictures at once. A prompt begins with a photograph's name; with `chunked` after it the
 * answer is sent in pieces of 64 KB whose sum nobody is told. A stream has a preview, which is the picture itself.
 */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { PORT, readSettings } from './arguments.js';

/** What the upstream is told. */
export interface UpstreamSettings {
  /** Where the photographs lie, as `<name>.png`. */
  readonly photographs: string;
}

const PIECE_BYTES = 64 * 1024;
const USAGE = {
  input_tokens: 50,
  output_tokens: 1756,
  total_tokens: 1806,
  input_tokens_details: { text_tokens: 50, image_tokens: 0 },
  output_tokens_details: { text_tokens: 0, image_tokens: 1756 },
};

const { photographs } = readSettings<UpstreamSettings>();
const answers = new Map<string, Buffer>();

function answerOf(name: string, n: number): Buffer {
  const key = `${name} ${n}`;
  const known = answers.get(key);
  if (known !== undefined) return known;
  const picture = { b64_json: readFileSync(`${photographs}/${name}.png`, 'base64') };
  const data = Array.from({ length: n }, () => picture);
  const answer = {
    created: 1_713_888_000,
    background: 'opaque',
    data,
    output_format: 'png',
    quality: 'high',
  };
  const body = Buffer.from(JSON.stringify({ ...answer, size: '1024x1024', usage: USAGE }));
  answers.set(key, body);
  return body;
}

/** One preview and the picture, as server-sent events. */
function eventsOf(name: string): Buffer {
  const key = `${name} events`;
  const known = answers.get(key);
  if (known !== undefined) return known;
  const base64 = readFileSync(`${photographs}/${name}.png`, 'base64');
  const drawn = { b64_json: base64, created_at: 1_713_888_000, size: '1024x1024', quality: 'high' };
  const common = { ...drawn, background: 'opaque', output_format: 'png' };
  const text = [
    { type: 'image_generation.partial_image', ...common, partial_image_index: 0 },
    { type: 'image_generation.completed', ...common, usage: USAGE },
  ]
    .map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`)
    .join('');
  const body = Buffer.from(text);
  answers.set(key, body);
  return body;
}

async function sendInPieces(response: ServerResponse, body: Buffer): Promise<void> {
  for (let at = 0; at < body.length && !response.destroyed; at += PIECE_BYTES) {
    if (!response.write(body.subarray(at, at + PIECE_BYTES)))
      await once(response, 'drain').catch(() => undefined);
  }
  response.end();
}

async function answer(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
  let text = '';
  for await (const chunk of incoming) text += chunk;
  const { prompt, n = 1, stream = false } = JSON.parse(text);
  const [name = '', framing] = String(prompt).split(' ');
  const body = stream ? eventsOf(name) : answerOf(name, n);
  response.setHeader('content-type', stream ? 'text/event-stream' : 'application/json');
  response.setHeader('x-request-id', 'req_0123456789abcdef');
  if (stream || framing === 'chunked') return await sendInPieces(response, body);
  response.setHeader('content-length', body.length);
  response.end(body);
}

const server = createServer((incoming, response) => {
  answer(incoming, response).catch(() => response.destroy());
});
// A connection closed while somebody uses it again would be a failed request, and prove nothing.
server.keepAliveTimeout = 0;
server.listen(PORT, '127.0.0.1');

/** Streams as a client of the OpenAI surface reads them: raw HTTP, frame by frame, as slowly as a test wants. */
import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { TEST_KEY, type TestApp } from './app.js';

/** One server-sent event: its name and its data, which is the fields of a frame. */
export interface Frame {
  /** The name in its `event:` line. */
  readonly event: string;
  /** Its `data:` line, parsed. */
  readonly data: FrameData;
}

/** What frames of all kinds hold. */
export interface FrameData extends Readonly<Record<string, unknown>> {
  readonly type?: string;
  readonly index?: number;
  readonly partial_image_index?: number;
  readonly b64_json?: string;
  readonly usage?: Readonly<Record<string, unknown>>;
  readonly errors?: readonly { readonly index: number; readonly code: string; readonly reason?: string }[];
  readonly error?: Readonly<Record<string, unknown>>;
}

/** An open answer. */
export interface OpenAnswer {
  /** Status, headers, and the body as it comes. */
  readonly response: IncomingMessage;
  /** Leaves: the connection is closed. */
  leave(): void;
}

/** Posts a body to the OpenAI surface and answers as soon as the headers are there. */
export async function openAnswer(app: TestApp, body: object, path = '/generations'): Promise<OpenAnswer> {
  const sent = request(`${app.url}/oai/v1/images${path}`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${TEST_KEY}`, 'Content-Type': 'application/json' },
    agent: false,
  });
  // Leaving in mid-answer is an error to this side of it too.
  sent.on('error', () => undefined);
  sent.end(JSON.stringify(body));
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  response.on('error', () => undefined);
  return { response, leave: () => void sent.destroy() };
}

/** The whole text of an answer. */
export async function textOf(response: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

/** The frames of an answer as they come; comments are passed over. */
export async function* framesOf(response: AsyncIterable<Buffer>): AsyncGenerator<Frame, void> {
  let text = '';
  const decoder = new TextDecoder();
  for await (const chunk of response) {
    text += decoder.decode(chunk, { stream: true });
    for (let end = text.indexOf('\n\n'); end !== -1; end = text.indexOf('\n\n')) {
      const block = text.slice(0, end);
      text = text.slice(end + 2);
      if (!block.startsWith(':')) yield frameOf(block);
    }
  }
  if (text !== '') throw new Error(`the stream ended in the middle of a frame: ${text.slice(0, 80)}`);
}

function frameOf(block: string): Frame {
  const [, event, data] = /^event: (\S+)\ndata: (.*)$/.exec(block) ?? [];
  if (event === undefined || data === undefined) throw new Error(`not a frame: ${block.slice(0, 80)}`);
  return { event, data: JSON.parse(data) as FrameData };
}

/** Streams a body and answers all of its frames; throws for an answer that is no stream. */
export async function streamed(app: TestApp, body: object, path?: string): Promise<readonly Frame[]> {
  const { response } = await openAnswer(app, { stream: true, ...body }, path);
  if (response.statusCode !== 200) throw new Error(`${response.statusCode}: ${await textOf(response)}`);
  const frames: Frame[] = [];
  for await (const frame of framesOf(response)) frames.push(frame);
  return frames;
}

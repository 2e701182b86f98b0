/** Streams of the OpenAI surface: the use case's events as server-sent events. */
import type { Response } from 'express';
import { CLIENT_LEFT } from '../core/deadline.js';
import type { DeliveredPicture } from '../core/delivery.js';
import type { RequestEvent } from '../core/generate.js';
import { NO_TOKENS, type RequestHead } from '../core/outcome.js';
import type { ImagesError } from '../errors.js';
import { openaiErrorObject, toImagesError } from './errors.js';
import { pictureObject, writePieces } from './pieces.js';
import { createShelf } from './shelf.js';
import { extras, openaiFacts, openaiUsage } from './wire.js';

/** What a stream takes. */
export interface StreamOptions {
  /** What happens. */
  readonly events: AsyncIterable<RequestEvent>;
  /** `image_generation` or `image_edit`: the first half of event names. */
  readonly prefix: string;
  /** The request's id. */
  readonly requestId: string;
  /** Sees events while headers can still say something about them. */
  readonly onEvent: (event: RequestEvent) => void;
  /** Hears of an error that the stream itself had to tell, since its headers were out. */
  readonly onError: (error: ImagesError) => void;
}

const HEADERS_AFTER_MS = 10_000;
const HEARTBEAT_MS = 15_000;

/** The data of an event. */
interface Frame {
  readonly bytes?: Uint8Array | undefined;
  readonly release?: (() => void) | undefined;
  readonly fields: object;
}

/** Writes server-sent events with back-pressure. Headers go out with the first of them. */
interface SseWriter {
  readonly begun: boolean;
  begin(): void;
  write(name: string, frame: Frame): Promise<void>;
  end(): void;
}

function createWriter(res: Response): SseWriter {
  let begun = false;
  let heartbeat: NodeJS.Timeout | undefined;
  const begin = () => {
    if (begun || res.destroyed) return;
    begun = true;
    res.statusCode = 200;
    res.setHeader('Content-Type', 'text/event-stream; charset=utf-8');
    // Middleware that compresses and proxies that buffer would turn a stream into one late answer.
    res.setHeader('Cache-Control', 'no-store, no-transform');
    res.setHeader('X-Accel-Buffering', 'no');
    res.flushHeaders();
    heartbeat = setInterval(() => {
      // Never within a frame: in the middle of one, somebody waits for the client to take more.
      if (!res.writableNeedDrain) res.write(':\n\n');
    }, HEARTBEAT_MS);
  };
  // A refusal that comes early keeps its HTTP status; a client that waits long enough hears that somebody is there.
  const late = setTimeout(begin, HEADERS_AFTER_MS);
  return {
    get begun() {
      return begun;
    },
    begin,
    async write(name, { fields, ...picture }) {
      begin();
      await writePieces(res, [`event: ${name}\ndata: `, ...pictureObject(picture, fields), '\n\n']);
    },
    end() {
      clearTimeout(late);
      clearInterval(heartbeat);
      if (begun && !res.destroyed) res.end();
    },
  };
}

/**
 * Streams a request. What fails before the first event is thrown, for an answer with a status of its own; what
 * fails later, with no picture completed, is told in an `error` event.
 */
export async function streamAnswer(res: Response, options: StreamOptions): Promise<void> {
  const writer = createWriter(res);
  try {
    await writeEvents(writer, options);
  } catch (thrown) {
    // Nobody is there to be told, and it is no failure.
    if (!writer.begun || thrown === CLIENT_LEFT) throw thrown;
    const error = toImagesError(thrown);
    options.onError(error);
    await writer.write('error', { fields: { error: openaiErrorObject(error, options.requestId) } });
  } finally {
    writer.end();
  }
}

async function writeEvents(writer: SseWriter, options: StreamOptions): Promise<void> {
  const { events, prefix } = options;
  // The last picture waits until all calls have ended, because only it can name the missing ones: an error event
  // after a completed picture would make client libraries throw the picture away.
  const last = createShelf();
  let head: RequestHead | undefined;

  async function writeLast(more: object = {}): Promise<void> {
    const [index] = last.indexes();
    const event = index === undefined ? undefined : await last.take(index);
    if (head === undefined || event === undefined) return;
    const { fields, ...picture } = completedFrame(prefix, head, event.picture);
    await writer.write(`${prefix}.completed`, { ...picture, fields: { ...fields, ...more } });
  }

  try {
    for await (const event of events) {
      // A request that waited long for its turn has its headers out already.
      if (!writer.begun) options.onEvent(event);
      if (event.type === 'started') head = event.head;
      if (head === undefined) continue;
      if (event.type === 'preview') {
        await writer.write(`${prefix}.partial_image`, partialFrame(prefix, head, event));
      }
      if (event.type === 'picture') {
        await writeLast();
        await last.put(event);
      }
      // What is known only at the end goes with the last picture: the sums, what did not arrive, and the warnings.
      if (event.type === 'finished') {
        await writeLast({ usage: openaiUsage(event.outcome.tokens), ...extras(event.outcome) });
      }
    }
  } finally {
    await last.clear();
  }
}

function partialFrame(
  prefix: string,
  head: RequestHead,
  event: RequestEvent & { readonly type: 'preview' },
): Frame {
  const { index, step, picture } = event;
  const fields = {
    type: `${prefix}.partial_image`,
    index,
    partial_image_index: step,
    created_at: head.created,
    ...openaiFacts(head, picture),
  };
  return { bytes: picture.bytes, release: picture.release, fields };
}

function completedFrame(prefix: string, head: RequestHead, picture: DeliveredPicture): Frame {
  const { index, bytes, release, revisedPrompt } = picture;
  const fields = {
    type: `${prefix}.completed`,
    index,
    ...(revisedPrompt !== undefined && { revised_prompt: revisedPrompt }),
    created_at: head.created,
    ...openaiFacts(head, picture),
    usage: openaiUsage(NO_TOKENS),
  };
  return { bytes, release, fields };
}

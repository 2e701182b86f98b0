/**
 * From OpenAI's stream of events to previews and a picture. A stream is asked for one picture only, because OpenAI
 * refuses to stream more; the same events come from edits, under names of their own.
 */
import type { ImageEvent, PreviewEvent, TokenUsage } from '../core/provider.js';
import { fieldsOf, isObject, type JsonObject } from './json-value.js';
import { readPicture, readUsage, shapeError, typeOf } from './openai-answer.js';
import { toStreamError } from './openai-errors.js';
import { END_OF_STREAM, readEvents, type ServerSentEvent } from './server-sent-events.js';
import { bodyOf, keepConnection } from './upstream.js';

// More than one for each step of drawing. Each takes time, however few bytes it has.
const MAX_EVENTS = 10_000;

/** What was asked, as far as reading the stream depends on it. */
export interface ExpectedStream {
  /** Previews asked for; those beyond are dropped. */
  readonly previews: number;
  /** The media type of pictures of which the stream does not tell. */
  readonly type: string;
}

/** True for an answer that is a stream. Servers that cannot stream answer in JSON as if they had not been asked. */
export function isEventStream(response: Response): boolean {
  return /^text\/event-stream\b/i.test(response.headers.get('content-type') ?? '');
}

/**
 * Reads a stream up to its picture and yields what comes; returns the tokens it reports. A preview that is
 * unreadable is left out. Throws `shape` for an unreadable event or picture, for more than 10,000 events, and for a
 * stream that ends without a picture, and what an error in the stream means.
 */
export async function* readStream(
  response: Response,
  expected: ExpectedStream,
): AsyncGenerator<PreviewEvent | ImageEvent, TokenUsage | undefined, undefined> {
  let step = 0;
  let events = 0;
  for await (const event of readEvents(bodyOf(response), { picture: 'b64_json' })) {
    events += 1;
    if (events > MAX_EVENTS) throw shapeError('has more events than any drawing takes', response);
    if (event.data === END_OF_STREAM) break;
    const { kind, value } = readEvent(event, response);
    if (kind === 'error') throw toStreamError(value, { response, drawing: step > 0 });
    if (kind !== 'partial_image' && kind !== 'completed') continue;
    const picture = readPicture(value, typeOf(value) ?? expected.type);
    if (kind === 'completed') {
      if (picture === undefined) throw shapeError('holds a picture that cannot be read', response);
      yield { type: 'image', index: 0, ...picture };
      keepConnection(response);
      return readUsage(value.usage);
    }
    if (picture === undefined || step >= expected.previews) continue;
    yield { type: 'preview', index: 0, step, image: picture.image, release: picture.release };
    step += 1;
  }
  throw shapeError('ended before its picture was complete', response);
}

/** What an event is: the last word of its type, of which the first says who asked. */
function readEvent(event: ServerSentEvent, response: Response): { kind: string; value: JsonObject } {
  const { data: value } = event;
  if (!isObject(value)) throw shapeError('holds an event that cannot be read', response);
  const { error } = value;
  if (error !== undefined && error !== null) return { kind: 'error', value: fieldsOf(error) };
  const type = typeof value.type === 'string' ? value.type : event.name;
  return { kind: type.slice(type.lastIndexOf('.') + 1), value };
}

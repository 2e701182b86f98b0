/** Reading streams of server-sent events, whose data are JSON with pictures in it, as they arrive. */
import { takeTurn } from '../core/wait.js';
import { createPictureJson, type PictureJsonOptions } from './picture-json.js';

/** What stands for the data of an event that only says that no more will come. */
export const END_OF_STREAM: unique symbol = Symbol('end of stream');

/** One event. */
export interface ServerSentEvent {
  /** Its `event` field; empty where it has none. */
  readonly name: string;
  /** Its `data`, as `createPictureJson` reads them; `undefined` where they are no JSON. */
  readonly data: unknown;
}

/**
 * Reads the events of a body, however its bytes are cut into chunks. Lines end in LF or CRLF; comments and fields
 * other than `event` and `data` are skipped. An event counts without the blank line after it, too: a server that
 * ends there has said all it had to say. Leaving early cancels the body. How much is read is bounded by `call.fetch`.
 */
export async function* readEvents(
  body: AsyncIterable<Uint8Array>,
  options: PictureJsonOptions,
): AsyncGenerator<ServerSentEvent, void, undefined> {
  const events = createEventReader(options);
  for await (const chunk of body) {
    let start = 0;
    for (let end = chunk.indexOf(LINE_FEED); end >= 0; end = chunk.indexOf(LINE_FEED, start)) {
      events.take(chunk.subarray(start, end));
      const event = events.endLine();
      if (event !== undefined) {
        yield event;
        // A chunk may have thousands.
        await takeTurn();
      }
      start = end + 1;
    }
    events.take(chunk.subarray(start));
  }
  const last = events.endLine() ?? events.endEvent();
  if (last !== undefined) yield last;
}

const LINE_FEED = 0x0a;
const LINE_END = Uint8Array.of(LINE_FEED);
const COLON = 0x3a;
// The standard has one before the first line dropped (WHATWG HTML, "Parsing an event stream"). Here as its bytes.
const BYTE_ORDER_MARK = /^\xef\xbb\xbf/;
// Of JSON: tab, line feed, carriage return, space.
const WHITE_SPACE: ReadonlySet<number> = new Set([0x09, 0x0a, 0x0d, 0x20]);
// Longer names, of fields and events, are none anybody looks for.
const MAX_WORD = 128;

interface EventReader {
  /** Takes a part of a line. */
  take(bytes: Uint8Array): void;
  /** Ends the line, and with a blank one the event. */
  endLine(): ServerSentEvent | undefined;
  /** Ends the event, if there is one. */
  endEvent(): ServerSentEvent | undefined;
}

function createEventReader(options: PictureJsonOptions): EventReader {
  /** Made by the first line of data: streams may send any number of blank lines. */
  let data: EventData | undefined;
  let name = '';
  /** The field of the line, once its colon came, and the text before it or after it. */
  let field: string | undefined;
  let word = '';
  let isFirstLine = true;

  function endEvent(): ServerSentEvent | undefined {
    const event = data === undefined || data.isEmpty() ? undefined : { name, data: data.end() };
    data = undefined;
    name = '';
    return event;
  }

  return {
    endEvent,
    take(bytes) {
      if (bytes.byteLength === 0) return;
      const colon = field === undefined ? bytes.indexOf(COLON) : -1;
      if (field === 'data') {
        data ??= createEventData(options);
        return data.write(bytes);
      }
      word = lengthened(word, colon < 0 ? bytes : bytes.subarray(0, colon));
      if (colon < 0) return;
      field = isFirstLine ? word.replace(BYTE_ORDER_MARK, '') : word;
      word = '';
      this.take(bytes.subarray(colon + 1));
    },
    endLine() {
      const isBlank = field === undefined && word.trim() === '';
      if (field === 'event') name = word.trim();
      if (field === 'data') data?.endLine();
      field = undefined;
      word = '';
      isFirstLine = false;
      return isBlank ? endEvent() : undefined;
    },
  };
}

interface EventData {
  /** Takes a part. */
  write(bytes: Uint8Array): void;
  /** Ends a line of data. To JSON that is white space, as much between two lines as between a hundred. */
  endLine(): void;
  /** Whether all of it is white space. */
  isEmpty(): boolean;
  /** What an event has for `data`. */
  end(): unknown;
}

function createEventData(options: PictureJsonOptions): EventData {
  const json = createPictureJson(options);
  let beginning = '';
  let isJson = true;
  let isAtLineStart = false;

  function parse(step: () => unknown): unknown {
    try {
      return isJson ? step() : undefined;
    } catch {
      isJson = false;
      return undefined;
    }
  }

  return {
    write(bytes) {
      const said = beginning === '' ? withoutLeadingSpace(bytes) : bytes;
      if (said.byteLength === 0) return;
      beginning = lengthened(beginning, said);
      if (isAtLineStart) parse(() => json.write(LINE_END));
      isAtLineStart = false;
      parse(() => json.write(said));
    },
    endLine() {
      isAtLineStart = beginning !== '';
    },
    isEmpty: () => beginning === '',
    end: () => (beginning.startsWith('[DONE]') ? END_OF_STREAM : parse(json.end)),
  };
}

function withoutLeadingSpace(bytes: Uint8Array): Uint8Array {
  const start = bytes.findIndex((byte) => !WHITE_SPACE.has(byte));
  return bytes.subarray(start < 0 ? bytes.byteLength : start);
}

function lengthened(word: string, bytes: Uint8Array): string {
  if (word.length >= MAX_WORD) return word;
  return word + Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1', 0, MAX_WORD);
}

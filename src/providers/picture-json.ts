/**
 * JSON with pictures in it, read as it arrives: their base64 is decoded on the way, so that no body, and no picture in
 * it, is ever held as text. The rest of the JSON is small and goes to `JSON.parse`, which judges whether it is any.
 */
import { randomUUID } from 'node:crypto';
import { type Base64Sink, type Base64SinkOptions, createBase64Sink } from './base64-sink.js';
import { createJsonPosition, JSON_BYTES } from './json-position.js';
import { createJsonText, type JsonText } from './json-text.js';

/** What to look for. */
export interface PictureJsonOptions extends Base64SinkOptions {
  /** The property whose text, or whose list of texts, is pictures: `b64_json`. */
  readonly picture: string;
  /**
   * The property of the outermost object whose list is handed over element by element: `data`. Should the same name
   * come again, what it has then is left in the value.
   */
  readonly list?: string | undefined;
}

/**
 * Takes one JSON text piece by piece. Both methods throw a `SyntaxError` for what is no JSON, and for more than any
 * answer has: 100 pictures, or elements to hand over; beside the pictures 8 MiB, or about 10,000 values.
 */
export interface PictureJson {
  /** Takes bytes, cut anywhere. Answers the elements of the list that became whole with them. */
  write(bytes: Uint8Array): readonly unknown[];
  /** The value; a list whose elements were handed over is empty in it. */
  end(): unknown;
}

const { quote, comma, openList, openObject, closeList } = JSON_BYTES;

// Of JSON's own white space, of which there is less than others have.
const BLANK = /^[\t\n\r ]*$/;

// Each takes memory from its first byte on.
const MAX_PICTURES = 100;
// Each takes time, however few bytes it has.
const MAX_ELEMENTS = 100;

// Whatever parses what is left does nothing else meanwhile, and takes a hundred bytes of memory for a value of two.
const MAX_VALUES = 10_000;
// Gemini signs its thoughts with megabytes.
const MAX_OTHER_BYTES = 8 * 1024 * 1024;

// Stands for pictures in the JSON that is left; nobody upstream can guess it.
const MARK = `${randomUUID()}:`;

/**
 * Makes a reader of one text. In the values it answers, a picture is a `Buffer`, or `null` where its base64 cannot be
 * read; all else is as `JSON.parse` has it.
 */
export function createPictureJson({ picture, list, ...base64 }: PictureJsonOptions): PictureJson {
  const position = createJsonPosition();
  /** By their marks, until they are back in their places. */
  const pictures = new Map<string, Buffer | null>();
  let marks = 0;
  const whole = createJsonText();
  /** The element being read, while inside the list. */
  let element: JsonText | undefined;
  let isFirst = true;
  let elementsEnded = 0;
  let values = 0;
  let otherBytes = 0;
  let hadList = false;
  let isInText = false;
  let sink: Base64Sink | undefined;

  function keep(bytes: Uint8Array): void {
    otherBytes += bytes.byteLength;
    if (otherBytes > MAX_OTHER_BYTES) throw new SyntaxError('more than any answer has beside its pictures');
    (element ?? whole).append(bytes);
  }

  /** Begins or ends a text at its quote. Answers up to where the chunk is dealt with. */
  function takeQuote(chunk: Buffer, start: number, at: number): number {
    isInText = !isInText;
    if (isInText && position.property() === picture) {
      if (marks === MAX_PICTURES) throw new SyntaxError('more pictures than any answer has');
      keep(chunk.subarray(start, at + 1));
      sink = createBase64Sink(base64);
      return at + 1;
    }
    if (isInText || sink === undefined) return start;
    const mark = `${MARK}${marks}`;
    marks += 1;
    pictures.set(mark, sink.end() ?? null);
    sink = undefined;
    keep(Buffer.from(mark));
    return at;
  }

  /** Before each value but the first one of all there is one of these. */
  function countValue(byte: number | undefined): void {
    if (byte !== comma && byte !== openList && byte !== openObject) return;
    values += 1;
    if (values > MAX_VALUES) throw new SyntaxError('more values than any answer has');
  }

  /** True for the brackets of the list and the commas between its elements. */
  function isOfList(byte: number | undefined): boolean {
    if (element !== undefined) return position.depth() === 2 && (byte === comma || byte === closeList);
    return byte === openList && !hadList && position.depth() === 1 && position.property() === list;
  }

  /** Begins or ends elements. Answers up to where the chunk is dealt with, and the element that ended. */
  function takeListByte(chunk: Buffer, start: number, at: number): { start: number; ended: unknown[] } {
    const isOpening = element === undefined;
    const isClosing = chunk[at] === closeList;
    keep(chunk.subarray(start, isOpening ? at + 1 : at));
    // Before an element is believed: what is around it may be no JSON from its first byte on.
    if (isOpening) JSON.parse(`${whole.toString()}]}`);
    hadList = true;
    const text = element?.toString() ?? '';
    const hasElement = !isOpening && !(isClosing && isFirst && BLANK.test(text));
    if (hasElement) elementsEnded += 1;
    if (elementsEnded > MAX_ELEMENTS) throw new SyntaxError('more elements than any answer has');
    isFirst = isOpening;
    element = isClosing ? undefined : createJsonText();
    return { start: isClosing ? at : at + 1, ended: hasElement ? [parse(text, pictures)] : [] };
  }

  return {
    write(bytes) {
      const chunk = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      const elements: unknown[] = [];
      let start = 0;
      for (let at = 0; at < chunk.length; at += 1) {
        if (isInText) {
          const end = position.stepText(chunk, at);
          if (sink !== undefined) sink.write(chunk.subarray(at, end));
          if (sink !== undefined) start = end;
          at = end;
        }
        const byte = chunk[at];
        if (byte === quote) start = takeQuote(chunk, start, at);
        if (isOfList(byte)) {
          const taken = takeListByte(chunk, start, at);
          start = taken.start;
          elements.push(...taken.ended);
        }
        countValue(byte);
        position.step(byte);
      }
      keep(chunk.subarray(start));
      return elements;
    },
    end: () => parse(whole.toString(), pictures),
  };
}

/** Parses what is left of the JSON and puts the pictures where they were; they are let go here. */
function parse(text: string, pictures: Map<string, Buffer | null>): unknown {
  // Asking for each value takes several times as long as all of them without.
  if (pictures.size === 0) return JSON.parse(text);
  return JSON.parse(text, (_name, value: unknown) => {
    const picture = typeof value === 'string' ? pictures.get(value) : undefined;
    if (picture === undefined) return value;
    pictures.delete(String(value));
    return picture;
  });
}

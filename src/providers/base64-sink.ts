/** Base64 decoded as it arrives, strictly. */
import { giveBack, roomFor } from '../core/memory.js';

/** Takes the base64 of one picture, piece by piece. */
export interface Base64Sink {
  /** Takes text as it stands in JSON, cut anywhere. */
  write(text: Buffer): void;
  /** The bytes, or `undefined` when the text was empty or not canonical base64, unless it is that of ProtoJSON. */
  end(): Buffer | undefined;
}

// What may stand before the base64: some servers answer data URLs.
const HEAD = /^data:[\w/+.-]{0,64};base64,/;
// Each of its characters may be an escape of six.
const MAX_HEAD = 6 * 77;

// Four characters are three bytes.
const GROUP = 4;
// Short texts live and die where V8 keeps what is new.
const SLICE = 16 * 1024;

const FIRST_BYTES = 48 * 1024;
const USUAL_BYTES = 256 * 1024;
const MAX_EXPECTED_BYTES = 16 * 1024 * 1024;

// An escape whose end has not come.
const CUT_ESCAPE = /\\(?:u[0-9a-f]{0,3})?$/i;
const ESCAPED_ASCII = /\\u00([0-7][0-9a-f])/gi;

/**
 * Text without the escapes that writers of JSON put into base64: PHP's of slashes, and .NET's and Gson's of plus and
 * equals signs. Others stay, and are no base64.
 */
function unescaped(text: string): string {
  if (!text.includes('\\')) return text;
  return text
    .replaceAll('\\/', '/')
    .replace(ESCAPED_ASCII, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}

/** What is known of a text. */
export interface Base64SinkOptions {
  /**
   * About how many bytes there will be.
   * @defaultValue not known
   */
  readonly expectedBytes?: number | undefined;
  /**
   * Whether it is written as ProtoJSON has bytes: in either alphabet, with padding or without, and possibly empty
   * (protobuf.dev/programming-guides/json).
   * @defaultValue `false`
   */
  readonly isProtoJson?: boolean | undefined;
}

/**
 * Makes a sink. Like `decodeBase64` it finds what Node would skip by comparing lengths. Where it is known about how
 * many bytes there will be, no more than the first are moved as they grow; room that stays empty takes no memory.
 */
export function createBase64Sink({
  expectedBytes = USUAL_BYTES,
  isProtoJson = false,
}: Base64SinkOptions = {}): Base64Sink {
  const usualBytes = Math.min(expectedBytes, MAX_EXPECTED_BYTES);
  let bytes = Buffer.alloc(0);
  let length = 0;
  let waiting = '';
  let hasHead = true;
  let isPadded = false;
  let isBroken = false;

  function reserve(more: number): void {
    if (length + more <= bytes.length) return;
    // The first bytes of a picture come with the last ones of the picture before it, which may have long to wait.
    const least = bytes.length === 0 ? Math.min(usualBytes, FIRST_BYTES) : usualBytes;
    const larger = roomFor(Math.max(least, 2 * bytes.length, length + more));
    bytes.copy(larger, 0, 0, length);
    giveBack(bytes);
    bytes = larger;
  }

  function decode(text: string): void {
    const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0;
    const expected = Math.floor((text.length * 3) / 4) - padding;
    reserve(expected);
    const isWhole = bytes.write(text, length, 'base64') === expected;
    // Node takes the alphabet of URLs as well.
    const isOfUrls = text.includes('-') || text.includes('_');
    if (isPadded || !isWhole || (isOfUrls && !isProtoJson)) isBroken = true;
    isPadded = padding > 0;
    length += expected;
  }

  /** Decodes what is whole of the text that waits. */
  function flush(): void {
    const cut = waiting.includes('\\') ? waiting.search(CUT_ESCAPE) : -1;
    const end = cut < 0 ? waiting.length : cut;
    let text = unescaped(waiting.slice(0, end));
    if (hasHead) text = text.replace(HEAD, '');
    hasHead = false;
    const whole = text.length - (text.length % GROUP);
    if (whole > 0) decode(text.slice(0, whole));
    waiting = text.slice(whole) + waiting.slice(end);
  }

  /** Decodes a long text without escapes where it lies: a string of all of it would be copied again and again. */
  function decodeInPlace(text: Buffer): void {
    const first = (GROUP - (waiting.length % GROUP)) % GROUP;
    const whole = first + GROUP * Math.floor((text.length - first) / GROUP);
    waiting += text.toString('latin1', 0, first);
    flush();
    for (let at = first; at < whole; at += SLICE)
      decode(text.toString('latin1', at, Math.min(at + SLICE, whole)));
    waiting += text.toString('latin1', whole);
  }

  return {
    write(text) {
      if (isBroken) return;
      if (!hasHead && text.length >= GROUP && !waiting.includes('\\') && !text.includes('\\')) {
        decodeInPlace(text);
        return;
      }
      waiting += text.toString('latin1');
      if (!hasHead || waiting.length >= MAX_HEAD) flush();
    },
    end() {
      flush();
      // What is left of a text without padding.
      if (isProtoJson && /^[\w+/-]{2,3}$/.test(waiting)) {
        decode(waiting);
        waiting = '';
      }
      const isEmpty = length === 0 && !isProtoJson;
      return isBroken || waiting !== '' || isEmpty ? undefined : bytes.subarray(0, length);
    },
  };
}

/** Base64 decoded as it arrives, strictly. */

/** Takes the base64 of one picture, piece by piece. */
export interface Base64Sink {
  /** Takes text as it stands in JSON, one Latin-1 character for each of its bytes, cut anywhere. */
  write(text: string): void;
  /** The bytes, or `undefined` when the text was empty or not canonical base64. */
  end(): Buffer | undefined;
}

// What may stand before the base64: some servers answer data URLs.
const HEAD = /^data:[\w/+.-]{0,64};base64,/;
const MAX_HEAD = 100;

/** Makes a sink. Like `decodeBase64` it finds what Node would skip by comparing lengths. */
export function createBase64Sink(): Base64Sink {
  const pieces: Buffer[] = [];
  let waiting = '';
  let hasHead = true;
  let isPadded = false;
  let isBroken = false;

  function decode(text: string): void {
    const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0;
    const bytes = Buffer.from(text, 'base64');
    const isWhole = bytes.length === (text.length / 4) * 3 - padding;
    // Node takes the alphabet of URLs as well.
    if (isPadded || !isWhole || text.includes('-') || text.includes('_')) isBroken = true;
    isPadded = padding > 0;
    pieces.push(bytes);
  }

  function flush(): void {
    // The one escape that writers of JSON put into base64.
    if (waiting.includes('\\')) waiting = waiting.replaceAll('\\/', '/');
    if (hasHead) waiting = waiting.replace(HEAD, '');
    hasHead = false;
    const length = waiting.length - (waiting.length % 4) - (waiting.endsWith('\\') ? 4 : 0);
    if (length > 0) decode(waiting.slice(0, length));
    waiting = waiting.slice(Math.max(length, 0));
  }

  return {
    write(text) {
      if (isBroken) return;
      waiting += text;
      if (!hasHead || waiting.length >= MAX_HEAD) flush();
    },
    end() {
      flush();
      return isBroken || waiting !== '' || pieces.length === 0 ? undefined : Buffer.concat(pieces);
    },
  };
}

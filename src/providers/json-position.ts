/** Knowing where one is in a JSON text that arrives in pieces, without parsing it. */

/** The bytes that give JSON its shape. */
export const JSON_BYTES = {
  quote: 0x22,
  comma: 0x2c,
  openList: 0x5b,
  openObject: 0x7b,
  closeList: 0x5d,
} as const;

const { quote, comma, openList, openObject, closeList } = JSON_BYTES;
const [colon, backslash, closeObject] = [0x3a, 0x5c, 0x7d];

// No provider's answer is as deep; one of nothing but brackets would fill memory.
const MAX_DEPTH = 64;
// A longer name is none anybody looks for.
const MAX_NAME = 64;

/** A place in a JSON text. It only moves forward, and has to be led over every byte. */
export interface JsonPosition {
  /** How many lists and objects are open. */
  depth(): number;
  /**
   * The property whose value, or whose list's element, is next; `undefined` where a property's own name is. Names
   * written with escapes are taken as they are written.
   */
  property(): string | undefined;
  /** Steps over a byte outside of texts. Throws a `SyntaxError` for brackets that do not match or are too deep. */
  step(byte: number | undefined): void;
  /** Steps through the inside of a text, up to its last quote or the end of the chunk, and answers that place. */
  stepText(chunk: Buffer, start: number): number;
}

interface Container {
  readonly closer: number;
  /** The property it is the value of. */
  readonly name: string;
}

/** Makes a position at the beginning of a text. */
export function createJsonPosition(): JsonPosition {
  const containers: Container[] = [];
  /** The last name in the innermost object, as far as it was read. */
  let name = '';
  let isNameNext = false;
  let isEscaped = false;

  /** A list within a list is the same property's. */
  function property(): string | undefined {
    if (isNameNext) return undefined;
    const around = containers.at(-1);
    return around?.closer === closeList ? around.name : name;
  }

  function open(closer: number): void {
    if (containers.length === MAX_DEPTH) throw new SyntaxError('deeper than any answer');
    containers.push({ closer, name: property() ?? '' });
    isNameNext = closer === closeObject;
    name = '';
  }

  function close(closer: number): void {
    if (containers.pop()?.closer !== closer) throw new SyntaxError('closes what is not open');
    isNameNext = false;
  }

  /** Where the quote is that ends the text: quotes after a backslash do not. */
  function lastQuote(chunk: Buffer, start: number): number {
    let from = start;
    let end = -1;
    for (;;) {
      if (isEscaped) from += 1;
      isEscaped = false;
      // Only when it lies behind: looking again after each of many backslashes would take the square of their time.
      if (end < from) end = placeOf(chunk, quote, from);
      const place = chunk.subarray(from, end).indexOf(backslash);
      if (place < 0) return end;
      isEscaped = true;
      from += place + 1;
      if (from === chunk.length) return from;
    }
  }

  return {
    depth: () => containers.length,
    property,
    step(byte) {
      if (byte === openObject) open(closeObject);
      else if (byte === openList) open(closeList);
      else if (byte === closeObject || byte === closeList) close(byte);
      else if (byte === colon) isNameNext = false;
      else if (byte === comma && containers.at(-1)?.closer === closeObject) {
        isNameNext = true;
        name = '';
      }
    },
    stepText(chunk, start) {
      const end = lastQuote(chunk, start);
      if (isNameNext && name.length < MAX_NAME) name += chunk.toString('latin1', start, end);
      return end;
    },
  };
}

/** Where a byte is next, or the length where it is not. */
function placeOf(chunk: Buffer, byte: number, from: number): number {
  const place = chunk.indexOf(byte, from);
  return place < 0 ? chunk.length : place;
}

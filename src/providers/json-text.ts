/** JSON without its pictures, as it gathers. */

/** A text that grows. */
export interface JsonText {
  /** Puts bytes behind what is there, as a copy: a view would keep the whole chunk it lies in. */
  append(bytes: Uint8Array): void;
  /** All of it, read as UTF-8. */
  toString(): string;
}

const FIRST_BYTES = 1024;

/** Makes an empty text. One buffer holds it, because each piece of many small ones would take far more than its bytes. */
export function createJsonText(): JsonText {
  let room = Buffer.alloc(0);
  let length = 0;
  return {
    append(bytes) {
      if (length + bytes.byteLength > room.byteLength) {
        const larger = Buffer.alloc(Math.max(FIRST_BYTES, 2 * room.byteLength, length + bytes.byteLength));
        room.copy(larger, 0, 0, length);
        room = larger;
      }
      room.set(bytes, length);
      length += bytes.byteLength;
    },
    toString: () => room.toString('utf8', 0, length),
  };
}

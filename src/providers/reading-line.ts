/** Whose answer is read on while more arrives than there is time for: the one that began first. */
import { takeTurn } from '../core/wait.js';

/** A line of answers being read. Nobody in it waits for another one to end, only for time. */
export interface ReadingLine {
  /** Joins it. What comes back is to be awaited after each piece of so many bytes, and always resolves. */
  join(): (byteLength: number) => Promise<void>;
}

interface Waiting {
  readonly place: number;
  readonly go: () => void;
}

// Answers without large pictures have no more, and do not wait.
const FIRST_BYTES = 128 * 1024;
// What takes about a millisecond where there is little to do with it, and several rounds of the event loop where there
// is more.
const TURN_BYTES = 512 * 1024;
// So often it is the turn of whoever has waited longest: an older answer may never end.
const FAIR_TURN = 8;

/**
 * Makes a line. A crowd of pictures read side by side takes the memory of all of them until, at about the same time,
 * they are complete. Read in the order in which they began, the first is sent on while the others still lie with the
 * kernel, which slows their senders down.
 */
export function createReadingLine(): ReadingLine {
  const waiting: Waiting[] = [];
  /** Places of answers that went on in this round, or would with more time: `true` while they wait for that. */
  const reading = new Map<number, boolean>();
  let joined = 0;
  let turns = 0;

  /**
   * Lets one go on in a round of the event loop, unless one before it is at it. Where that has ended, or waits for its
   * provider or for whoever reads it, a round passes without it: nobody has to say so.
   */
  function serve(): void {
    const isFair = (turns + 1) % FAIR_TURN === 0;
    const oldest = waiting.reduce((one, other) => (other.place < one.place ? other : one));
    const index = isFair ? 0 : waiting.indexOf(oldest);
    const { place, go } = waiting[index] ?? oldest;
    const isFirst = [...reading.keys()].every((other) => other >= place);
    for (const [other, isLate] of reading) if (!isLate) reading.delete(other);
    if (isFirst) {
      turns += 1;
      waiting.splice(index, 1);
      go();
    }
    if (waiting.length > 0) setImmediate(serve);
  }

  function wait(place: number): Promise<void> {
    reading.delete(place);
    return new Promise((go) => {
      waiting.push({ place, go });
      if (waiting.length === 1) setImmediate(serve);
    });
  }

  return {
    join() {
      const place = joined;
      joined += 1;
      let bytesLeft = FIRST_BYTES;
      return async (byteLength) => {
        bytesLeft -= byteLength;
        if (bytesLeft < 0) {
          await wait(place);
          bytesLeft = TURN_BYTES;
        }
        reading.set(place, true);
        await takeTurn();
        // Without a crowd nobody asks.
        if (waiting.length > 0) reading.set(place, false);
        else reading.delete(place);
      };
    },
  };
}

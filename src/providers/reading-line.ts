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
// What takes about a millisecond.
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
  let joined = 0;
  let turns = 0;

  /** Lets one go on in each round of the event loop, whatever became of the one before. */
  function serve(): void {
    turns += 1;
    const isFair = turns % FAIR_TURN === 0;
    const oldest = waiting.reduce((one, other) => (other.place < one.place ? other : one));
    const [next] = waiting.splice(isFair ? 0 : waiting.indexOf(oldest), 1);
    if (waiting.length > 0) setImmediate(serve);
    next?.go();
  }

  function wait(place: number): Promise<void> {
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
        await takeTurn();
      };
    },
  };
}

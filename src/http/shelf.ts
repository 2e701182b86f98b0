/** Pictures that wait for their turn in an answer: the first few megabytes in memory, the others in files. */
import type { RequestEvent } from '../core/generate.js';
import { createSpoolFolder, readWhole, removeFile } from '../core/spool-folder.js';

/** A picture that came. */
export type PictureEvent = RequestEvent & { readonly type: 'picture' };

/** Where pictures of one request wait, by index. */
export interface Shelf {
  /** Puts a picture there. After `clear` it is forgotten as well. */
  put(event: PictureEvent): Promise<void>;
  /** Takes one away, or answers `undefined` when there is none. */
  take(index: number): Promise<PictureEvent | undefined>;
  /** The indexes of those that wait, in order. */
  indexes(): readonly number[];
  /** Forgets all of them. */
  clear(): Promise<void>;
}

// One large picture, or a few of the usual size.
const MAX_BYTES_IN_MEMORY = 4 * 1024 * 1024;

// Whoever takes nothing for two minutes is let go of, so that even the slowest has the largest answer in half a day.
const NO_ANSWER_TAKES_MS = 7 * 24 * 3_600_000;

interface Waiting {
  readonly event: PictureEvent;
  /** The file with its bytes, where they are in one. */
  readonly path: string | undefined;
}

/** Makes a shelf. Touches no disk before memory is full. */
export function createShelf(maxBytesInMemory: number = MAX_BYTES_IN_MEMORY): Shelf {
  const waiting = new Map<number, Waiting>();
  const folder = createSpoolFolder();
  let bytesInMemory = 0;
  let isCleared = false;

  const sizeOf = ({ picture }: PictureEvent) => picture.bytes?.byteLength ?? 0;

  /** Where disk has no room either, memory has to do: the picture is paid for. */
  async function file({ picture: { bytes } }: PictureEvent): Promise<string | undefined> {
    return bytes && folder.write(bytes, Date.now() + NO_ANSWER_TAKES_MS).catch(() => undefined);
  }

  return {
    async put(event) {
      const { release, ...picture } = event.picture;
      if (isCleared) return release?.();
      const path = bytesInMemory + sizeOf(event) > maxBytesInMemory ? await file(event) : undefined;
      const kept = path === undefined ? event : { ...event, picture: { ...picture, bytes: undefined } };
      if (path !== undefined) release?.();
      bytesInMemory += sizeOf(kept);
      if (isCleared && path !== undefined) await folder.remove();
      else waiting.set(picture.index, { event: kept, path });
    },
    async take(index) {
      const found = waiting.get(index);
      waiting.delete(index);
      if (found === undefined) return undefined;
      const { event, path } = found;
      bytesInMemory -= sizeOf(event);
      if (path === undefined) return event;
      const bytes = await readWhole(path);
      await removeFile(path);
      return { ...event, picture: { ...event.picture, bytes } };
    },
    indexes: () => [...waiting.keys()].sort((one, other) => one - other),
    async clear() {
      isCleared = true;
      waiting.clear();
      await folder.remove();
    },
  };
}

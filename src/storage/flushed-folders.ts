/** Which folders of a filesystem storage are known to survive a power cut. */
import { dirname } from 'node:path';
import { syncDirectory } from './folders.js';

const MAX_FOLDERS = 1_000;

/**
 * Makes the function that makes the entries of a folder and of all those above it survive a power cut. It ends at the
 * first of at most 1,000 folders it has done so for before; who made a folder, and whether they flushed it, does not
 * matter. One that was removed and made again is another folder. Above `root` it does what it can.
 */
export function createFlush(root: string): (directory: string) => Promise<void> {
  const flushed = new Map<string, string>();

  function remember(folder: string, identity: string): void {
    flushed.delete(folder);
    if (flushed.size >= MAX_FOLDERS) flushed.delete(flushed.keys().next().value ?? '');
    flushed.set(folder, identity);
  }

  async function sync(folder: string): Promise<string | undefined> {
    if (folder.length >= root.length) return syncDirectory(folder);
    // Those above the root may be nobody's to read. Whoever made them had the power to flush them.
    return syncDirectory(folder).catch(() => undefined);
  }

  return async (directory) => {
    const done: [string, string][] = [];
    for (let at = directory; ; at = dirname(at)) {
      const identity = await sync(at);
      if (identity !== undefined) done.push([at, identity]);
      const isKnown = identity !== undefined && flushed.get(at) === identity;
      if (isKnown || at === dirname(at)) break;
    }
    // Not before all of them are: a folder is known only with those above it. The higher come later, to stay longer.
    for (const [folder, identity] of done) remember(folder, identity);
  };
}

/** Which folders of a filesystem storage are known to survive a power cut. */
import { dirname } from 'node:path';
import { syncAndIdentify, syncDirectory } from './folders.js';
import { createGroupCommit } from './group-commit.js';

const MAX_FOLDERS = 1_000;

/**
 * Makes the function that makes the entries of a folder and of all those above it survive a power cut. Above that
 * folder it ends at the first of at most 1,000 it has done so for before; who made a folder, and whether they flushed
 * it, does not matter. One that was removed and made again is another folder. Above `root` it does what it can.
 */
export function createFlush(root: string): (directory: string) => Promise<void> {
  const flushed = new Map<string, string>();
  const syncOnce = createGroupCommit(sync);

  function remember(folder: string, identity: string): void {
    flushed.delete(folder);
    if (flushed.size >= MAX_FOLDERS) flushed.delete(flushed.keys().next().value ?? '');
    flushed.set(folder, identity);
  }

  async function sync(folder: string): Promise<string | undefined> {
    if (folder.length >= root.length) return syncAndIdentify(folder);
    // Those above the root may be nobody's to read. Whoever made them had the power to flush them.
    return syncAndIdentify(folder).catch(() => undefined);
  }

  return async (directory) => {
    await syncDirectory(directory);
    const done: [string, string][] = [];
    for (let below = directory, at = dirname(below); at !== below; below = at, at = dirname(at)) {
      const identity = await syncOnce(at);
      if (identity === undefined) continue;
      done.push([at, identity]);
      if (flushed.get(at) === identity) break;
    }
    // Not before all of them are: a folder is known only with those above it. The higher come later, to stay longer.
    for (const [folder, identity] of done) remember(folder, identity);
  };
}

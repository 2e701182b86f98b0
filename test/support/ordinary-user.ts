import { execFileSync } from 'node:child_process';

const NOBODY = 65_534;

/**
 * Runs work that looks at the files below a folder without the rights of root, to whom no file is unreadable. Where
 * the tests run as an ordinary user it just runs it.
 */
export async function asOrdinaryUser<T>(folder: string, work: () => Promise<T>): Promise<T> {
  if (process.geteuid?.() !== 0) return work();
  execFileSync('chown', ['-R', String(NOBODY), folder]);
  process.seteuid?.(NOBODY);
  try {
    return await work();
  } finally {
    process.seteuid?.(0);
  }
}

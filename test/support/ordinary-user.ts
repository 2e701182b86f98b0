import { execFileSync } from 'node:child_process';

const NOBODY = 65_534;

/**
 * Runs work that meets files and folders below `folder` that nobody may read or change: without the rights of root, who
 * may. Afterwards whoever runs the tests can read and remove them again.
 */
export async function asOrdinaryUser<T>(folder: string, work: () => Promise<T>): Promise<T> {
  const isRoot = process.geteuid?.() === 0;
  if (isRoot) execFileSync('chown', ['-R', String(NOBODY), folder]);
  if (isRoot) process.seteuid?.(NOBODY);
  try {
    return await work();
  } finally {
    if (isRoot) process.seteuid?.(0);
    execFileSync('chmod', ['-R', 'u+rwX', folder]);
  }
}

/** What errors of the file system mean. */
import { ImagesError } from '../errors.js';

const FULL = 'The disk of the media storage is full.';
const READ_ONLY = 'The media storage cannot be written.';
const SENTENCES: Readonly<Record<string, string>> = {
  ENOSPC: FULL,
  EDQUOT: FULL,
  EROFS: READ_ONLY,
  EACCES: READ_ONLY,
  EPERM: READ_ONLY,
};

function systemCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('syscall' in error) || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

/** True when an error says that a file or a folder on its way is not there. */
export function isMissing(error: unknown): boolean {
  const code = systemCode(error);
  return code === 'ENOENT' || code === 'ENOTDIR';
}

/**
 * True when an error says that the file system has no such operation for folders, as on Windows and some network
 * volumes.
 */
export function isUnsupported(error: unknown): boolean {
  const code = systemCode(error);
  return code === 'EINVAL' || code === 'ENOTSUP' || code === 'EPERM' || code === 'EISDIR';
}

/** True when an error says that something of that name is there already. */
export function isTaken(error: unknown): boolean {
  return systemCode(error) === 'EEXIST';
}

/** True when an error says that a folder cannot be removed because something is in it. */
export function isOccupied(error: unknown): boolean {
  return systemCode(error) === 'ENOTEMPTY' || isTaken(error);
}

/**
 * Runs `work`; an error of the file system becomes a `STORAGE_ERROR` with a sentence that names no path, and the
 * error itself as its cause. Everything else, a signal's reason above all, travels untouched.
 */
export async function withFaults<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const code = systemCode(error);
    if (code === undefined) throw error;
    throw new ImagesError('STORAGE_ERROR', SENTENCES[code] ?? 'The media storage failed.', { cause: error });
  }
}

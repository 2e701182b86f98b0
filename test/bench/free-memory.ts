/**
 * Free memory that costs nothing but to be used. A virtual machine may have handed what nobody used back to its host,
 * and gets it again page by page: a picture written there costs ten times what it costs elsewhere, and whether it does
 * changes from run to run.
 */
import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';

const MEGABYTE = Buffer.alloc(2 ** 20, 1);
/** More than any server takes for its heap, or writes to files, in a second. */
const MEGABYTES_A_SECOND = 500;

/** Has the machine hold as much as a server may take in some seconds, and leaves it free: by a file that goes again. */
export async function holdFreeMemory(scratch: string, seconds: number): Promise<void> {
  const path = join(scratch, 'free-memory');
  const file = await open(path, 'w');
  try {
    for (let count = 0; count < seconds * MEGABYTES_A_SECOND; count += 1) await file.write(MEGABYTE);
  } finally {
    await file.close();
    await rm(path);
  }
}

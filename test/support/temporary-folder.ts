import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** What can run something when it ends, such as a test. */
interface Scope {
  after(clean: () => Promise<void>): void;
}

/** Makes an empty folder that is removed when the test ends. */
export async function temporaryFolder(scope: Scope): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'images-router-'));
  scope.after(() => rm(folder, { recursive: true, force: true, maxRetries: 3 }));
  return folder;
}

import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import type { MediaStorage } from '../../src/core/storage.js';
import { storageChecks } from '../../src/testing/storage-checks.js';
import { failingChecks } from '../support/run-checks.js';
import { temporaryFolder } from '../support/temporary-folder.js';

test('the smallest storage of the README passes every check', async (t) => {
  const readme = await readFile(new URL('../../src/storage/README.md', import.meta.url), 'utf8');
  const snippet = /```ts\n([\s\S]*?mapStorage[\s\S]*?)```/.exec(readme)?.[1];
  assert.ok(snippet);
  const file = join(await temporaryFolder(t), 'map-storage.mts');
  await writeFile(file, snippet);
  const { mapStorage } = (await import(pathToFileURL(file).href)) as { mapStorage: () => MediaStorage };
  const storage = mapStorage();
  assert.deepEqual(await failingChecks(storageChecks, () => storage), []);
});

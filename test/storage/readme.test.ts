import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import type { MediaStorage } from '../../src/core/storage.js';
import { checkKey } from '../../src/storage/keys.js';
import { ODD_KEYS } from '../../src/testing/storage/subject.js';
import { storageChecks } from '../../src/testing/storage-checks.js';
import { createTestApp } from '../support/app.js';
import { failingChecks } from '../support/run-checks.js';
import { readDocument, snippetsOf } from '../support/snippets.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const README = readDocument('src/storage/README.md');

async function smallestStorage(t: TestContext): Promise<MediaStorage> {
  const snippet = snippetsOf(README).find(({ code }) => code.includes('mapStorage'));
  assert.ok(snippet);
  const file = join(await temporaryFolder(t), 'map-storage.mts');
  await writeFile(file, snippet.code);
  const { mapStorage } = (await import(pathToFileURL(file).href)) as { mapStorage: () => MediaStorage };
  return mapStorage();
}

test('the smallest storage of the README passes every check', async (t) => {
  const storage = await smallestStorage(t);
  assert.deepEqual(await failingChecks(storageChecks, () => storage), []);
});

test('a sweep of a storage that cannot sweep answers what the README says', async (t) => {
  const storage = await smallestStorage(t);
  const app = await createTestApp(t, { storage });
  const removed = { removed: 0, orphans: 0 };
  assert.ok(README.includes('answers `{ removed: 0, orphans: 0, … }`'));
  assert.deepEqual(await app.router.sweep(), { ...removed, checked: 0, damaged: 0, unread: 0 });
});

test('the grammar of keys in the README is the one that is checked', () => {
  const [, source = ''] = /`\/(\^.*\$)\/`/.exec(README) ?? [];
  const grammar = new RegExp(source);
  assert.ok(README.includes(`const KEY = /${source}/;`), 'the smallest storage has the same');
  const more = ['/a', '.x', 'a/.x', 'a', 'a.b', 'a-/_b/0', 'A', 'a\n', 'x'.repeat(200), 'x'.repeat(201)];
  for (const key of [...ODD_KEYS, ...more]) {
    const isKey = grammar.test(key);
    if (isKey) assert.doesNotThrow(() => checkKey(key), key);
    else assert.throws(() => checkKey(key), TypeError, JSON.stringify(key));
  }
  assert.deepEqual(
    more.filter((key) => grammar.test(key)),
    ['a', 'a.b', 'a-/_b/0', 'x'.repeat(200)],
  );
});

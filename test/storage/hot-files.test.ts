/** The memory of files that are asked for again and again. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { filesystem } from '../../src/storage/filesystem.js';
import { createHotFiles } from '../../src/storage/hot-files.js';
import { FACTS_ONLY, openObject } from '../../src/storage/object-file.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import { factsOf, keyOf } from './samples.js';

// After which a file counts as settled.
const SETTLED_MS = 2_100;

/** A file that is asked for again and open, and what loads it. */
async function askedAgain(t: TestContext) {
  const root = await temporaryFolder(t);
  const bytes = Buffer.alloc(1_600_000, 'a picture ');
  await filesystem({ root }).put(keyOf('a'), bytes, factsOf(bytes));
  await sleep(SETTLED_MS);
  const path = `${root}/${keyOf('a')}@object`;
  const files = createHotFiles();
  files.noteAsked(path);
  const load = files.noteAsked(path);
  const object = await openObject(path, FACTS_ONLY);
  assert.ok(load !== undefined && object !== undefined);
  t.after(() => object.file.close());
  return { files, path, load: () => load(object) };
}

test('a file that is asked for again is remembered once it is loaded', async (t) => {
  const { files, path, load } = await askedAgain(t);
  const loaded = await load();
  assert.notEqual(loaded, undefined);
  assert.equal(await files.recall(path), loaded);
});

test('a file is not remembered when it is removed after it was opened and before it is loaded', async (t) => {
  const { files, path, load } = await askedAgain(t);
  files.forget((removed) => removed === path);
  assert.equal(await load(), undefined);
  assert.equal(await files.recall(path), undefined);
});

test('a file is not remembered when it is removed while it is loaded', async (t) => {
  const { files, path, load } = await askedAgain(t);
  const loading = load();
  files.forget((removed) => removed === path);
  assert.equal(await loading, undefined);
  assert.equal(await files.recall(path), undefined);
});

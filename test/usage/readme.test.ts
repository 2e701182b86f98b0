import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after } from 'node:test';
import { pathToFileURL } from 'node:url';
import type { UsageRow, UsageStore } from '../../src/core/usage.js';
import { usageChecks } from '../../src/testing/usage-checks.js';
import { testChecks } from '../support/run-checks.js';
import { readDocument, snippetsOf } from '../support/snippets.js';
import { temporaryFolder } from '../support/temporary-folder.js';

type Update = <T>(change: (rows: UsageRow[]) => T) => Promise<T>;

/** The README's store, written out and loaded as it stands. */
async function fromReadme(): Promise<(update: Update) => UsageStore> {
  const snippets = snippetsOf(readDocument('src/usage/README.md'));
  const snippet = snippets.find(({ code }) => code.includes('export function documentUsage('));
  assert.ok(snippet, 'the README has a snippet that exports documentUsage');
  const file = join(await temporaryFolder({ after }), 'snippet.mts');
  await writeFile(file, snippet.code);
  const module: { readonly documentUsage: (update: Update) => UsageStore } = await import(
    pathToFileURL(file).href
  );
  return module.documentUsage;
}

const documentUsage = await fromReadme();
const rows: UsageRow[] = [];

for (const check of usageChecks) {
  testChecks("the README's store", [check], () => documentUsage(async (change) => change(rows)));
}

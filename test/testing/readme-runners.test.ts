import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { budgetChecks } from '../../src/testing/budget-checks.js';
import { providerChecks } from '../../src/testing/provider-checks.js';
import { storageChecks } from '../../src/testing/storage-checks.js';
import { usageChecks } from '../../src/testing/usage-checks.js';
import { readDocument, snippetsOf } from '../support/snippets.js';
import { ROOT } from '../support/source-imports.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const KITS = [
  { document: 'src/providers/README.md', kit: 'providerChecks', subject: 'easel', checks: providerChecks },
  { document: 'src/storage/README.md', kit: 'storageChecks', subject: 'mapStorage', checks: storageChecks },
  { document: 'src/budgets/README.md', kit: 'budgetChecks', subject: 'documentBudget', checks: budgetChecks },
  { document: 'src/usage/README.md', kit: 'usageChecks', subject: 'documentUsage', checks: usageChecks },
];

/** Where a specifier of a snippet leads from a folder of its own. */
function resolve(specifier: string): string {
  if (specifier === 'express-images-router/testing') return pathToFileURL(`${ROOT}src/testing/index.ts`).href;
  if (specifier === 'express-images-router') return pathToFileURL(`${ROOT}src/index.ts`).href;
  const [, inside] = /^express-images-router\/(.+)$/.exec(specifier) ?? [];
  if (inside !== undefined) return pathToFileURL(`${ROOT}src/${inside}.ts`).href;
  if (specifier.startsWith('.')) return './subject.mts';
  return specifier.startsWith('node:') ? specifier : import.meta.resolve(specifier);
}

/** Runs a document's test file as it stands there, with the snippet it tests beside it, and answers what it printed. */
async function run(
  document: string,
  { kit, subject }: (typeof KITS)[number],
  folder: string,
): Promise<string> {
  const snippets = snippetsOf(document).map(({ code }) =>
    code.replace(/(?<= from ')[^']+(?=';)/g, (specifier) => resolve(specifier)),
  );
  const runner = snippets.find((code) => code.includes(`of ${kit})`));
  const tested = snippets.find((code) => code.includes(`export function ${subject}(`));
  assert.ok(runner && tested, `there is a test file with ${kit}, and ${subject}`);
  await writeFile(join(folder, 'subject.mts'), tested);
  await writeFile(join(folder, 'checks.mts'), runner);
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const flags = ['--import', import.meta.resolve('tsx'), '--test-reporter=tap'];
  const file = join(folder, 'checks.mts');
  const ran = promisify(execFile)(process.execPath, [...flags, file], { env, maxBuffer: 2 ** 24 });
  return await ran.then(
    ({ stdout }) => stdout,
    (error: { readonly stdout: string; readonly stderr: string }) => error.stdout + error.stderr,
  );
}

/** The names of the checks that went so, without those that were skipped. */
function outcomes(output: string, word: 'ok' | 'not ok'): string[] {
  const lines = output.matchAll(/^(ok|not ok) \d+ - .* \(([\w.-]+), (?:MUST|SHOULD|MAY)\)( # SKIP.*)?$/gm);
  return [...lines].flatMap(([, found, id = '']) => (found === word ? [id] : []));
}

for (const kit of KITS) {
  test(`the test file of ${kit.document} runs every check, prints its level and passes`, async (t) => {
    const output = await run(readDocument(kit.document), kit, await temporaryFolder(t));
    assert.deepEqual(outcomes(output, 'not ok'), [], output.slice(0, 5_000));
    assert.deepEqual(
      outcomes(output, 'ok'),
      kit.checks.map(({ id }) => id),
    );
  });
}

test('the test file of src/providers/README.md goes red with a provider that fails', async (t) => {
  const [kit] = KITS;
  assert.ok(kit);
  const document = readDocument(kit.document).replace('index: 0, image', 'index: 1, image');
  const output = await run(document, kit, await temporaryFolder(t));
  assert.ok(outcomes(output, 'not ok').includes('events.index'), output.slice(0, 5_000));
});

import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after } from 'node:test';
import { pathToFileURL } from 'node:url';
import type { BudgetStore } from '../../src/core/budget.js';
import { budgetChecks } from '../../src/testing/budget-checks.js';
import { testChecks } from '../support/run-checks.js';
import { temporaryFolder } from '../support/temporary-folder.js';

type Update = <T>(change: (ledger: unknown[]) => T) => Promise<T>;

/** The README's module with the function of this name, written out and loaded as it stands. */
async function fromReadme(name: string): Promise<(update: Update) => BudgetStore> {
  const readme = await readFile(new URL('../../src/budgets/README.md', import.meta.url), 'utf8');
  const snippets = [...readme.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, code]) => code ?? '');
  const snippet = snippets.find((code) => code.includes(`export function ${name}(`));
  assert.ok(snippet, `the README has a snippet that exports ${name}`);
  const file = join(await temporaryFolder({ after }), 'snippet.mts');
  await writeFile(file, snippet);
  const module: Record<string, (update: Update) => BudgetStore> = await import(pathToFileURL(file).href);
  return module[name] as (update: Update) => BudgetStore;
}

const documentBudget = await fromReadme('documentBudget');

/** A document as the README says a host would keep it: as text, replaced after a change that did not throw. */
function documents(): () => BudgetStore {
  let stored = '[]';
  return () =>
    documentBudget(async (change) => {
      const ledger: unknown[] = JSON.parse(stored);
      const answer = change(ledger);
      stored = JSON.stringify(ledger);
      return answer;
    });
}

for (const check of budgetChecks) testChecks("the README's store", [check], documents());

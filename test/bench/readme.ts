/** Writes the last full run into the README, between its two marks. */
import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import type { Suite } from './bench.js';
import { ROOT } from './processes.js';
import { tableOf } from './report.js';
import { readReport } from './results.js';

const MARKED = /(<!-- bench -->\n).*(<!-- \/bench -->)/s;

/** Writes it. Throws when there was no full run, when it left suites out, or when the README has lost its marks. */
export async function updateReadme(suites: readonly Suite[]): Promise<void> {
  const report = await readReport();
  const tables = suites.map((suite) => {
    const rounds = report.suites[suite.name];
    assert.ok(rounds, `the last full run left out ${suite.name}`);
    return `**${suite.title}**\n\n${tableOf(suite, rounds)}\n`;
  });
  const where = `Measured on ${report.day}: ${report.machine}${report.pinned ? '' : ', without a core for each'}.`;
  const text = `${where}\n\n${tables.join('\n')}`;
  const path = `${ROOT}README.md`;
  const before = await readFile(path, 'utf8');
  assert.match(before, MARKED, 'the README has the marks <!-- bench --> and <!-- /bench -->');
  await writeFile(
    path,
    before.replace(MARKED, (_, begin: string, end: string) => `${begin}${text}${end}`),
  );
}

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { test } from 'node:test';
import { ROOT } from '../support/source-imports.js';

/** How many jobs a process may have at once whose pool has so many threads. */
function limitWith(threads: string | undefined): number {
  const program = `const { imageJobs } = await import(${JSON.stringify(`${ROOT}src/pipeline/gate.ts`)});
    console.log(imageJobs.limit);`;
  const args = ['--import', 'tsx', '--input-type=module', '--eval', program];
  const env = { ...process.env, UV_THREADPOOL_SIZE: threads };
  return Number(execFileSync(process.execPath, args, { cwd: ROOT, env, encoding: 'utf8' }));
}

for (const [threads, limit] of [
  [undefined, Math.min(availableParallelism(), 3)],
  ['1', 1],
  ['2', 1],
  ['64', availableParallelism()],
] as const) {
  test(`of a pool of ${threads ?? 'the usual four'}, image jobs leave a thread to files, and take a core each`, () => {
    assert.equal(limitWith(threads), limit);
  });
}

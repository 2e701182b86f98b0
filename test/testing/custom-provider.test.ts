import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { ROOT } from '../support/source-imports.js';

const PROGRAM = ['--import', 'tsx', 'examples/custom-provider.ts'];

test('the example of a custom provider draws by its service, is paid for and is refused by its filter', async () => {
  const env = { ...process.env, TSX_TSCONFIG_PATH: 'test/tsconfig.json' };
  const { stdout } = await promisify(execFile)(process.execPath, PROGRAM, {
    cwd: ROOT,
    env,
    timeout: 60_000,
  });
  assert.match(stdout, /"status": "ok"/);
  assert.match(stdout, /"reason": "content_filtered"/);
});

/**
 * The suites that drive vendors, and those of what newer Nodes do otherwise, once more with the next majors of the SDKs,
 * which need a newer Node than this one: in a copy of the tree whose packages are those of this one but for the SDKs.
 * Needs the registry, so it is no part of `npm test`.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { ROOT } from '../support/source-imports.js';

const run = promisify(execFile);
const NODE = `node-${process.platform === 'win32' ? 'win' : process.platform}-${process.arch}`;

// google-gax comes along: the suites make servers and errors of the one their SDK uses.
const NEWER = ['openai', '@google-cloud', 'google-gax'];
// Those of SQLite come along for node:sqlite.
const SUITES = [
  /^providers\/(openai|imagen)[-.\w]*\.test\.ts$/,
  /^clients\/openai[-\w]*\.test\.ts$/,
  /^(budgets|usage)\/sqlite\.test\.ts$/,
  // Memory is freed at once.
  /^(core\/memory|providers\/(base64-sink|body-chunks|reading-line|upstream)|pipeline\/png-rows|http\/(other-connections|picture-memory|reading-line|written-pieces))\.test\.ts$/,
];

/** Makes the copy in a folder. Answers the newer Node. */
async function copyTree(folder: string): Promise<string> {
  for (const name of ['src', 'test', 'package.json', 'tsconfig.json']) {
    const isOurs = (path: string) => !path.includes('node_modules');
    await cp(join(ROOT, name), join(folder, name), { recursive: true, filter: isOurs });
  }
  const newer = join(folder, 'newer');
  await mkdir(newer);
  await writeFile(join(newer, 'package.json'), '{"private":true}');
  const packages = ['openai@7', '@google-cloud/aiplatform@7', `${NODE}@24`];
  await run('npm', ['install', '--no-audit', '--no-fund', '--prefer-offline', ...packages], { cwd: newer });
  await mkdir(join(folder, 'node_modules'));
  for (const name of await readdir(join(ROOT, 'node_modules'))) {
    const from = NEWER.includes(name) ? newer : ROOT;
    await symlink(join(from, 'node_modules', name), join(folder, 'node_modules', name));
  }
  for (const name of ['openai', '@google-cloud/aiplatform']) {
    const manifest = await readFile(join(folder, 'node_modules', name, 'package.json'), 'utf8');
    assert.match(JSON.parse(manifest).version, /^7\./, name);
  }
  return join(newer, 'node_modules', NODE, 'bin/node');
}

test('the suites that drive vendors hold with openai 7 and aiplatform 7, on Node 24', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'images-router-majors-'));
  try {
    const node = await copyTree(folder);
    const files = (await readdir(join(ROOT, 'test'), { recursive: true })).map((file) =>
      file.replaceAll('\\', '/'),
    );
    const suites = files.filter((file) => SUITES.some((suite) => suite.test(file)));
    const loader = pathToFileURL(join(ROOT, 'node_modules/tsx/dist/loader.mjs')).href;
    const options = ['--import', loader, '--test', '--test-reporter=tap', '--test-concurrency=2'];
    const { NODE_TEST_CONTEXT: _, ...rest } = process.env;
    const env = { ...rest, TSX_TSCONFIG_PATH: join(folder, 'test/tsconfig.json') };
    const program = [...options, ...suites.map((suite) => join('test', suite))];
    const { stdout } = await run(node, program, { cwd: folder, env, maxBuffer: 2 ** 26 }).catch(
      ({ stdout: failed }) => assert.fail(failed),
    );
    const passed = Number(/^# pass (\d+)$/m.exec(stdout)?.[1]);
    assert.ok(passed > 300, `only ${passed} tests of ${suites.length} suites ran`);
  } finally {
    await rm(folder, { recursive: true });
  }
});

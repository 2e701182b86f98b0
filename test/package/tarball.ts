/**
 * The packed package as its users get it: installed from its tarball into empty projects, compiled there with the
 * declarations of all packages checked, and run. Needs the registry, so it is no part of `npm test`.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { cp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { loadedPackages } from '../support/loaded-packages.js';
import { ROOT } from '../support/source-imports.js';

const run = promisify(execFile);
const folder = mkdtempSync(join(tmpdir(), 'images-router-package-'));
const NEWER_NODE = `node-${process.platform === 'win32' ? 'win' : process.platform}-${process.arch}`;

let tarball: string;
let packedFiles: string[];

before(async () => {
  const { stdout } = await run('npm', ['pack', '--json', '--silent', '--pack-destination', folder], {
    cwd: ROOT,
  });
  const [packed] = JSON.parse(stdout.slice(stdout.indexOf('[')));
  tarball = join(folder, packed.filename);
  packedFiles = packed.files.map(({ path }: { path: string }) => path);
});

after(async () => {
  await rm(folder, { recursive: true });
});

interface Project {
  /** File in `consumers/`. */
  readonly program: string;
  /** What the project installs beside the package. */
  readonly packages: readonly string[];
}

const COMPILER_OPTIONS = {
  target: 'ES2023',
  module: 'nodenext',
  types: ['node'],
  strict: true,
  exactOptionalPropertyTypes: true,
  skipLibCheck: false,
  resolveJsonModule: true,
  allowJs: true,
  checkJs: true,
  outDir: 'built',
};

/** Makes an empty project, installs the tarball and compiles the program. Answers the project's folder. */
async function createProject({ program, packages }: Project): Promise<string> {
  const project = mkdtempSync(join(folder, 'project-'));
  await writeFile(join(project, 'package.json'), JSON.stringify({ private: true, type: 'module' }));
  await writeFile(
    join(project, 'tsconfig.json'),
    JSON.stringify({ compilerOptions: COMPILER_OPTIONS, files: [program] }),
  );
  await cp(join(ROOT, 'test/package/consumers', program), join(project, program));
  await run(
    'npm',
    ['install', '--no-audit', '--no-fund', '--prefer-offline', tarball, '@types/node@20', ...packages],
    {
      cwd: project,
    },
  );
  await run(process.execPath, [join(ROOT, 'node_modules/typescript/bin/tsc'), '--project', project]).catch(
    ({ stdout }: { stdout: string }) => assert.fail(stdout),
  );
  return project;
}

async function runProgram(project: string, program: string, node: string = process.execPath): Promise<void> {
  await run(node, [join(project, 'built', program.replace(/ts$/, 'js'))], { cwd: project, timeout: 60_000 });
}

test('the tarball holds the build, its sources and the documents, and nothing else', () => {
  const strangers = packedFiles.filter(
    (file) =>
      !/^(dist\/.+\.(js|d\.ts)(\.map)?|src\/.+\.(ts|md)|README\.md|CHANGELOG\.md|LICENSE|package\.json)$/.test(
        file,
      ),
  );
  assert.deepEqual(strangers, []);
  for (const file of [
    'dist/index.js',
    'dist/index.d.ts',
    'src/index.ts',
    'README.md',
    'LICENSE',
    'CHANGELOG.md',
  ]) {
    assert.ok(packedFiles.includes(file), file);
  }
});

test('an app of ES modules and TypeScript uses it', async () => {
  const program = 'esm.ts';
  const project = await createProject({ program, packages: ['express@5', '@types/express@5'] });
  await runProgram(project, program);
});

test('an app of CommonJS requires it', async () => {
  const program = 'commonjs.cjs';
  const project = await createProject({ program, packages: ['express@5', '@types/express@5'] });
  await runProgram(project, program);
});

test('an app whose Express is 4 uses it', async () => {
  const program = 'express4.ts';
  const project = await createProject({ program, packages: ['express@4', '@types/express@4'] });
  await runProgram(project, program);
});

test('the openai SDK 7 on a newer Node is its client and its way to the vendor', async () => {
  const program = 'openai7.ts';
  const packages = ['express@5', '@types/express@5', 'openai@7', `${NEWER_NODE}@24`];
  const project = await createProject({ program, packages });
  await runProgram(project, program, join(project, 'node_modules', NEWER_NODE, 'bin/node'));
  const loaded = await loadedPackages({ program: "await import('express-images-router');", cwd: project });
  assert.ok(loaded.includes('express-images-router'));
  assert.ok(!loaded.includes('openai'), 'the root leaves the installed SDK alone');
});

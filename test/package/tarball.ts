/**
 * The packed package as its users get it: installed from its tarball into empty projects, compiled there with the
 * declarations of all packages checked, and run. Needs the registry, so it is no part of `npm test`.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { cp, mkdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import sharp from 'sharp';
import { startClientServer } from '../clients/server.js';
import { createGrpcUpstream } from '../support/google-grpc.js';
import { failures, pictures, promptOf } from '../support/google-upstream.js';
import { loadedPackages } from '../support/loaded-packages.js';
import { RGW_KEYS, startRgw, withoutRgw } from '../support/rgw.js';
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
  /** Files of the test folder; the first one is the program. */
  readonly files: readonly [string, ...string[]];
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
  rootDir: '.',
  outDir: 'built',
};

const TSC = join(ROOT, 'node_modules/typescript/bin/tsc');
const INSTALL = ['install', '--no-audit', '--no-fund', '--prefer-offline'];

/** Makes an empty project, installs the tarball and compiles the files. Answers the project's folder. */
async function createProject({ files, packages }: Project): Promise<string> {
  const project = mkdtempSync(join(folder, 'project-'));
  const write = (name: string, json: object) => writeFile(join(project, name), JSON.stringify(json));
  await write('package.json', { private: true, type: 'module' });
  await write('tsconfig.json', { compilerOptions: COMPILER_OPTIONS, files });
  for (const file of files) {
    await mkdir(dirname(join(project, file)), { recursive: true });
    await cp(join(ROOT, 'test', file), join(project, file));
  }
  await run('npm', [...INSTALL, tarball, '@types/node@20', ...packages], { cwd: project });
  await run(process.execPath, [TSC, '--project', project]).catch(({ stdout }) => assert.fail(stdout));
  return project;
}

/** Makes a project and runs its program; it fails by an exit code other than 0. */
async function runProject(project: Project): Promise<void> {
  const cwd = await createProject(project);
  await run(process.execPath, [built(project)], { cwd, timeout: 60_000 });
}

function built({ files: [program] }: Project): string {
  return join('built', program.replace(/ts$/, 'js'));
}

const CONTENTS =
  /^(dist\/.+\.(js|d\.ts)(\.map)?|src\/.+\.(ts|md)|(README|CHANGELOG)\.md|LICENSE|package\.json)$/;

test('the tarball holds the build, its sources and the documents, and nothing else', () => {
  assert.deepEqual(
    packedFiles.filter((file) => !CONTENTS.test(file)),
    [],
  );
  const needed = ['dist/index.js', 'dist/index.d.ts', 'src/index.ts', 'README.md', 'LICENSE', 'CHANGELOG.md'];
  assert.deepEqual(
    needed.filter((file) => !packedFiles.includes(file)),
    [],
  );
});

test('the build puts modules together: an app that starts pays for every file', () => {
  const files = (of: RegExp) => packedFiles.filter((file) => of.test(file)).length;
  const scripts = files(/^dist\/.+\.js$/);
  assert.ok(scripts * 8 < files(/^src\/.+\.ts$/), `${scripts} scripts`);
});

test('an app of ES modules and TypeScript uses it', () =>
  runProject({ files: ['package/consumers/esm.ts'], packages: ['express@5', '@types/express@5'] }));

test('an app of CommonJS requires it', () =>
  runProject({ files: ['package/consumers/commonjs.cjs'], packages: ['express@5', '@types/express@5'] }));

test('an app whose Express is 4 uses it', () =>
  runProject({ files: ['package/consumers/express4.ts'], packages: ['express@4', '@types/express@4'] }));

test('an app with a bucket uses it, and only that app loads the AWS SDK', { skip: withoutRgw }, async (t) => {
  const project: Project = {
    files: ['package/consumers/s3.ts'],
    packages: ['express@5', '@types/express@5', '@aws-sdk/client-s3@3', '@aws-sdk/s3-request-presigner@3'],
  };
  const cwd = await createProject(project);
  const cleaners: (() => Promise<void>)[] = [];
  t.after(async () => {
    for (const clean of cleaners) await clean();
  });
  const { endpoint } = await startRgw({ after: (clean) => cleaners.push(clean) });
  const { accessKeyId, secretAccessKey } = RGW_KEYS;
  const args = [built(project), endpoint, accessKeyId, secretAccessKey];
  await run(process.execPath, args, { cwd, timeout: 60_000 });
  const program =
    "await import('express-images-router'); await import('express-images-router/storage/filesystem');";
  const loaded = await loadedPackages({ program, cwd });
  assert.deepEqual(
    loaded.filter((name) => name.startsWith('@aws-sdk')),
    [],
  );
});

test('the openai SDK 7 on a newer Node is its client and its way to the vendor', async () => {
  const project: Project = {
    files: ['package/consumers/openai7.ts', 'clients/openai-program.ts'],
    packages: ['express@5', '@types/express@5', 'openai@7', `${NEWER_NODE}@24`],
  };
  const cwd = await createProject(project);
  const server = await startClientServer();
  try {
    const node = join(cwd, 'node_modules', NEWER_NODE, 'bin/node');
    await run(node, [built(project), server.url], { cwd, timeout: 60_000 });
  } finally {
    await server.close();
  }
  const loaded = await loadedPackages({ program: "await import('express-images-router');", cwd });
  assert.ok(loaded.includes('express-images-router'));
  assert.ok(!loaded.includes('openai'), 'the root leaves the installed SDK alone');
});

test("Google's SDK 7 on a newer Node draws over gRPC, and stops when the client leaves", async () => {
  const picture = await sharp({ create: { width: 1024, height: 1024, channels: 3, background: 'teal' } })
    .png()
    .toBuffer();
  const drawn = pictures(picture.toString('base64'));
  const upstream = await createGrpcUpstream();
  upstream.respondWith((request) => {
    const prompt = promptOf(request);
    if (prompt === 'a prompt beyond the quota') return failures.quota(30);
    return prompt === 'a prompt nobody answers' ? { silence: true } : drawn(request);
  });
  try {
    const project: Project = {
      files: ['package/consumers/google7.ts'],
      packages: ['express@5', '@types/express@5', '@google-cloud/aiplatform@7', `${NEWER_NODE}@24`],
    };
    const cwd = await createProject(project);
    const node = join(cwd, 'node_modules', NEWER_NODE, 'bin/node');
    await run(node, [built(project), String(upstream.port)], { cwd, timeout: 60_000 });
    assert.deepEqual([...new Set(upstream.requests.map(({ rpc }) => rpc))], ['predict', 'generateContent']);
    assert.equal(await upstream.requests.at(-1)?.left, true, 'the vendor heard that nobody waits any more');
  } finally {
    await upstream.close();
  }
});

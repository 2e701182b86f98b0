import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { loadedPackages } from '../support/loaded-packages.js';
import { ROOT } from '../support/source-imports.js';

const manifest = JSON.parse(readFileSync(`${ROOT}package.json`, 'utf8'));

/** Optional, so that nobody pays for a vendor they do not use. */
const VENDORS = Object.keys(manifest.peerDependenciesMeta);

async function packagesLoadedBy(module: string): Promise<readonly string[]> {
  const program = `await import(${JSON.stringify(`${ROOT}src/${module}.ts`)});`;
  const packages = await loadedPackages({ program, cwd: ROOT, nodeArguments: ['--import', 'tsx'] });
  assert.ok(packages.includes('tsx'), 'what is loaded has been seen');
  return packages;
}

async function vendorsLoadedBy(module: string): Promise<string[]> {
  return (await packagesLoadedBy(module)).filter((name) => VENDORS.includes(name));
}

for (const module of [
  'index',
  'providers/placeholder',
  'providers/stable-diffusion',
  'storage/filesystem',
  'storage/memory',
  'budgets/memory',
  'budgets/redis',
  'usage/memory',
  'testing/index',
]) {
  test(`importing ${module} loads no vendor SDK`, async () => {
    assert.deepEqual(await vendorsLoadedBy(module), []);
  });
}

test('importing providers/imagen loads the SDK of Google Cloud', async () => {
  assert.deepEqual(await vendorsLoadedBy('providers/imagen'), ['@google-cloud/aiplatform']);
});

test('importing providers/openai loads the SDK of OpenAI', async () => {
  assert.deepEqual(await vendorsLoadedBy('providers/openai'), ['openai']);
});

test('importing storage/s3 loads the SDK of AWS', async () => {
  const aws = ['@aws-sdk/client-s3', '@aws-sdk/s3-request-presigner'];
  assert.deepEqual(await vendorsLoadedBy('storage/s3'), aws);
});

test('the parser of forms is loaded with the first form', async () => {
  const packages = await packagesLoadedBy('index');
  assert.ok(packages.includes('express'), 'other packages are loaded at once');
  assert.ok(!packages.includes('@fastify/busboy'), 'no form has come');
});

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { ROOT, readSource, type SourceImport, sourceFiles } from '../support/source-imports.js';

/** What a file may import: folders of src with a slash, single modules, packages, or `node:`. */
interface Layer {
  /** At run time, and as types. */
  readonly may?: readonly string[];
  /** As types only. */
  readonly types?: readonly string[];
}

/** Helpers of core that know nothing of it; everyone may use them at run time. */
const PURE = ['core/base64', 'core/gate', 'core/memory', 'core/wait'];

/** Who may import whom, by folder or file below src. A file's own row wins over its folder's. */
const LAYERS: Readonly<Record<string, Layer>> = {
  errors: {},
  core: { may: ['core/', 'errors', 'node:'] },
  pipeline: { may: ['pipeline/', ...PURE, 'errors', 'sharp', 'node:'], types: ['core/'] },
  media: { may: ['media/', ...PURE, 'errors', 'node:crypto', 'node:timers/promises'], types: ['core/'] },
  http: { may: ['http/', 'core/', 'media/', 'errors', 'express', 'ajv', 'node:'] },
  'http/multipart': { may: ['http/', 'core/', 'errors', 'express', '@fastify/busboy', 'node:'] },
  providers: { may: ['providers/', ...PURE, 'errors', 'node:'], types: ['core/'] },
  'providers/imagen': {
    may: ['providers/', ...PURE, 'errors', '@google-cloud/aiplatform', 'node:'],
    types: ['core/'],
  },
  'providers/openai': { may: ['providers/', ...PURE, 'errors', 'openai', 'node:'], types: ['core/'] },
  // Masks and inputs become what diffusion servers can read.
  'providers/stable-diffusion-pictures': {
    may: ['providers/', ...PURE, 'errors', 'sharp', 'pipeline/gate', 'node:'],
    types: ['core/'],
  },
  'providers/placeholder': {
    may: ['providers/', ...PURE, 'errors', 'sharp', 'pipeline/gate', 'node:'],
    types: ['core/'],
  },
  storage: { may: ['storage/', ...PURE, 'errors', 'node:'], types: ['core/'] },
  'storage/s3-bucket': {
    may: ['storage/', ...PURE, 'errors', '@aws-sdk/client-s3', '@aws-sdk/s3-request-presigner', 'node:'],
    types: ['core/'],
  },
  'storage/s3-lifecycle': { may: ['storage/', 'errors'], types: ['@aws-sdk/client-s3'] },
  'storage/s3-options': { may: ['storage/', 'errors'], types: ['@aws-sdk/client-s3'] },
  // What stores of both kinds need of a database. Adapters may not import each other, so it has a room of its own.
  database: { may: ['database/', 'errors', 'node:'] },
  budgets: { may: ['budgets/', 'database/', ...PURE, 'errors', 'node:'], types: ['core/'] },
  usage: { may: ['usage/', 'database/', ...PURE, 'errors', 'node:'], types: ['core/'] },
  testing: { may: ['testing/', 'errors', 'node:'], types: ['core/'] },
  'option-checks': { may: ['errors', 'leven'] },
  'model-options': { may: ['core/', 'errors', 'option-checks'] },
  'transform-options': { may: ['errors', 'option-checks'], types: ['core/'] },
  options: {
    may: ['core/', 'errors', 'model-options', 'option-checks', 'transform-options'],
    types: ['http/identify'],
  },
  controls: {
    may: ['errors', 'media/picture-id', 'media/verify', 'node:'],
    types: ['core/', 'http/openapi', 'options', 'providers/upstream-request'],
  },
  router: {
    may: [
      'controls',
      'core/',
      'pipeline/',
      'media/',
      'http/',
      'options',
      'errors',
      'providers/upstream',
      'providers/upstream-request',
      'providers/reading-line',
      'express',
      'node:',
    ],
  },
  index: {
    may: ['router', 'options', 'core/', 'errors', 'http/identify'],
    types: ['controls', 'http/openapi', 'transform-options'],
  },
};

/** The only files that gather exports of others. */
const BARRELS = ['index', 'testing/index'];

/** The modules a host imports by a subpath of their own. None of them imports another. */
const ADAPTERS: readonly string[] = Object.keys(
  JSON.parse(readFileSync(`${ROOT}package.json`, 'utf8')).exports as Record<string, unknown>,
)
  .map((subpath) => subpath.slice('./'.length))
  .filter((module) => module.includes('/'));

function layerOf(module: string): Layer {
  const layer = LAYERS[module] ?? LAYERS[module.split('/')[0] ?? ''];
  assert.ok(layer, `${module} has no row in the table of layers`);
  return layer;
}

function matches(target: string, allowed: readonly string[] = []): boolean {
  return allowed.some((entry) => (/[/:]$/.test(entry) ? target.startsWith(entry) : target === entry));
}

function isAllowed(module: string, { target, typeOnly }: SourceImport): boolean {
  if (ADAPTERS.includes(target)) return false;
  const { may, types } = layerOf(module);
  return matches(target, may) || (typeOnly && matches(target, types));
}

/** Every breach in a file, as `file:line what`. */
function breaches(file: string, text: string): string[] {
  const module = file.replace(/\.ts$/, '');
  const { imports, exportStars, defaultExports } = readSource(file, text);
  const isBarrel = module.endsWith('index') && !BARRELS.includes(module);
  return [
    ...imports
      .filter((each) => !isAllowed(module, each))
      .map(({ line, target, typeOnly }) => `${file}:${line} imports ${target}${typeOnly ? ' (types)' : ''}`),
    ...exportStars.map((line) => `${file}:${line} has export *`),
    ...defaultExports.map((line) => `${file}:${line} has a default export`),
    ...(isBarrel ? [`${file}:1 is a barrel`] : []),
  ];
}

test('every import of src keeps to the table of layers', () => {
  const found = sourceFiles().flatMap((file) => breaches(file, readFileSync(`${ROOT}src/${file}`, 'utf8')));
  assert.deepEqual(found, []);
});

const PLANTED = [
  ['core/rules.ts', "import type { Request } from 'express';", 'core/rules.ts:1 imports express (types)'],
  ['core/rules.ts', "import { x } from '../http/wire.js';", 'core/rules.ts:1 imports http/wire'],
  ['core/rules.ts', "const x = 1;\nawait import('sharp');", 'core/rules.ts:2 imports sharp'],
  ['core/rules.ts', "type X = import('sharp').Sharp;", 'core/rules.ts:1 imports sharp (types)'],
  ['core/rules.ts', "import '../providers/openai.js';", 'core/rules.ts:1 imports providers/openai'],
  ['http/wire.ts', "import { x } from '../testing/check.js';", 'http/wire.ts:1 imports testing/check'],
  ['media/link.ts', "import { usd } from '../core/windows.js';", 'media/link.ts:1 imports core/windows'],
  [
    'pipeline/finish.ts',
    "import { usd } from '../core/windows.js';",
    'pipeline/finish.ts:1 imports core/windows',
  ],
  [
    'storage/s3.ts',
    "import { S3Client } from '@aws-sdk/client-s3';",
    'storage/s3.ts:1 imports @aws-sdk/client-s3',
  ],
  ['storage/keys.ts', "import OpenAI from 'openai';", 'storage/keys.ts:1 imports openai'],
  [
    'providers/openai-errors.ts',
    "import OpenAI from 'openai';",
    'providers/openai-errors.ts:1 imports openai',
  ],
  [
    'providers/openai.ts',
    "import { placeholder } from './placeholder.js';",
    'providers/openai.ts:1 imports providers/placeholder',
  ],
  [
    'budgets/memory.ts',
    "export { x } from '../storage/keys.js';",
    'budgets/memory.ts:1 imports storage/keys',
  ],
  ['router.ts', "import { openai } from './providers/openai.js';", 'router.ts:1 imports providers/openai'],
  ['index.ts', "export { openai } from './providers/openai.js';", 'index.ts:1 imports providers/openai'],
  ['index.ts', "export { handle } from './http/handle.js';", 'index.ts:1 imports http/handle'],
  ['errors.ts', "import { inspect } from 'node:util';", 'errors.ts:1 imports node:util'],
  ['testing/check.ts', "import { test } from 'vitest';", 'testing/check.ts:1 imports vitest'],
  ['core/rules.ts', "export * from './image.js';", 'core/rules.ts:1 has export *'],
  ['core/rules.ts', "export * as all from './image.js';", 'core/rules.ts:1 has export *'],
  ['core/rules.ts', 'export default 1;', 'core/rules.ts:1 has a default export'],
  ['core/rules.ts', 'export default function run() {}', 'core/rules.ts:1 has a default export'],
  ['core/index.ts', "export { x } from './image.js';", 'core/index.ts:1 is a barrel'],
] as const;

for (const [file, text, breach] of PLANTED) {
  test(`a planted breach is caught: ${breach}`, () => {
    assert.deepEqual(breaches(file, text), [breach]);
  });
}

test('what the table allows is not a breach', () => {
  assert.deepEqual(breaches('media/link.ts', "import type { Size } from '../core/image.js';"), []);
  assert.deepEqual(breaches('media/link.ts', "import { type Size } from '../core/image.js';"), []);
  assert.deepEqual(breaches('providers/openai.ts', "import OpenAI from 'openai';"), []);
  assert.deepEqual(breaches('router.ts', "import { x } from './providers/upstream.js';"), []);
});

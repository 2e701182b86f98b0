import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { ROOT, readSource, sourceFiles } from '../support/source-imports.js';

const manifest = JSON.parse(readFileSync(`${ROOT}package.json`, 'utf8'));
const { './package.json': itself, ...entries } = manifest.exports as Record<string, unknown>;

/** What each subpath gives out: nothing else, and nothing is lost unnoticed. */
const PUBLIC_NAMES: Readonly<Record<string, { readonly values: string; readonly types: string }>> = {
  '.': {
    values: `ConfigError ImagesError ProviderError anyone bearerKeys createImagesRouter daily hashKey hourly imageCount
      isImagesError isProviderError monthly perMinute total usd`,
    types: `BackendSettings Balance Billed BlockedEvent Budget BudgetAmount BudgetOptions BudgetScope BudgetSoftLimit
      BudgetStore BudgetWindow ByteRange Caller CommitLine DirectUrlOptions EncodedImage EndEvent ErrorCode
      ErrorDetail EventBase GenerateCall GenerateEvent GetOptions Hold HoldLost HoldSettled HoldSkipped HoldUnsettled
      Identify ImageContentType ImageCount ImageEvent ImageFormat ImagesErrorOptions ImagesEvent ImagesRouter
      ImagesRouterControls ImagesRouterOptions InternalError KeyTable Lifecycle LimitOptions MediaOptions
      MediaStorage Metadata MicroUsd Model ModelAlias ModelFeature ModelLimits ModelSettings Once
      OpenApiDocument Operation PictureOptions PreviewEvent Price PriceCeilingExceeded PriceTable Provider ProviderErrorKind
      ProviderErrorOptions PutOptions RequestCompleted RequestFailed ReserveLine ReserveRequest ReserveResult
      Role Seen Size SizeList SizeRange SizeRule Source SpendOptions StorageDamaged StorageFailed StorageLanded StorageLost StorageSpooled StorageUndeleted StoredInfo StoredObject
      Successor SweepControls SweepOptions SweepReport SweepResult TokenPrice TokenRates TokenUsage TransformOptions UpstreamCall UsageFilter UsageGrouping
      UsageImplausible UsageLost UsagePage UsagePlace UsageRow UsageStore UsageSum UsageUnwritten UsageWritten VerifyResult`,
  },
  './providers/imagen': {
    values: `imagen`,
    types: `ClientOptions ImagenOptions ModelAddition PersonGeneration SafetySetting`,
  },
  './providers/openai': {
    values: `openai`,
    types: `AllowedSettings AzureOptions InputFidelity ModelAddition Moderation OpenAIOptions`,
  },
  './providers/placeholder': {
    values: `placeholder`,
    types: `PlaceholderModel PlaceholderOptions`,
  },
  './providers/stable-diffusion': {
    values: `stableDiffusion`,
    types: `AllowedSettings DiffusionProtocol ModelOffer SettingRange StableDiffusionOptions`,
  },
  './storage/filesystem': {
    values: `filesystem`,
    types: `FilesystemOptions`,
  },
  './storage/memory': {
    values: `memoryStorage`,
    types: `MemoryStorageOptions`,
  },
  './storage/s3': {
    values: `s3 s3Lifecycle`,
    types: `S3LifecycleOptions S3Options`,
  },
  './budgets/memory': {
    values: `memoryBudget`,
    types: ``,
  },
  './budgets/postgres': {
    values: `postgresBudget postgresBudgetSchema`,
    types: `PostgresAnswer PostgresBudgetOptions PostgresQuery`,
  },
  './budgets/sqlite': {
    values: `sqliteBudget`,
    types: `SqliteBudgetOptions SqliteDatabase SqliteStatement SqliteValue`,
  },
  './budgets/redis': {
    values: `redisBudget`,
    types: `RedisBudgetOptions SendCommand`,
  },
  './usage/memory': {
    values: `memoryUsage`,
    types: `MemoryUsageOptions`,
  },
  './usage/postgres': {
    values: `postgresUsage postgresUsageSchema`,
    types: `PostgresAnswer PostgresQuery PostgresUsageOptions`,
  },
  './usage/sqlite': {
    values: `sqliteUsage`,
    types: `SqliteDatabase SqliteStatement SqliteUsageOptions SqliteValue`,
  },
  './testing': {
    values: `apiChecks budgetChecks providerChecks storageChecks usageChecks`,
    types: `ApiSubject Check CheckLevel CreateApi CreateBudget CreateProvider CreateStorage CreateUsage NotApplicable
      ProviderSubject`,
  },
};

function expectedNames(subpath: string): string[] {
  const { values, types } = PUBLIC_NAMES[subpath] ?? { values: '', types: '' };
  const words = (text: string) => text.match(/\w+/g) ?? [];
  return [...words(values), ...words(types).map((name) => `type ${name}`)].sort();
}

/** `providers/openai` of `{ types: './dist/providers/openai.d.ts', default: './dist/providers/openai.js' }`. */
function moduleOf(entry: unknown): string {
  const { default: target } = entry as { readonly default: string };
  const module = target.replace(/^\.\/dist\/(.*)\.js$/, '$1');
  assert.deepEqual(entry, { types: `./dist/${module}.d.ts`, default: `./dist/${module}.js` });
  return module;
}

function read(module: string) {
  return readSource(`${module}.ts`, readFileSync(`${ROOT}src/${module}.ts`, 'utf8'));
}

test('every subpath is a module of src under the same path', () => {
  for (const [subpath, entry] of Object.entries(entries)) {
    const expected = subpath === '.' ? ['index'] : [subpath.slice(2), `${subpath.slice(2)}/index`];
    assert.ok(expected.includes(moduleOf(entry)), subpath);
  }
  assert.equal(itself, './package.json');
});

test('every module that no other one imports has a subpath', () => {
  const modules = sourceFiles().map((file) => file.replace(/\.ts$/, ''));
  const imported = new Set(modules.flatMap((module) => read(module).imports.map(({ target }) => target)));
  const entrances = modules.filter((module) => !imported.has(module));
  assert.deepEqual(entrances.sort(), Object.values(entries).map(moduleOf).sort());
});

test('the build makes a file of every subpath', () => {
  const sources = Object.values(entries).map((entry) => `src/${moduleOf(entry)}.ts`);
  assert.deepEqual(manifest.scripts.bundle.match(/src\/\S+/g).sort(), sources.sort());
});

for (const [subpath, entry] of Object.entries(entries)) {
  test(`the public names of ${subpath} are the expected ones`, () => {
    assert.deepEqual(read(moduleOf(entry)).exportedNames, expectedNames(subpath));
  });
}

test('the package is of ES modules without side effects', () => {
  assert.equal(manifest.type, 'module');
  assert.equal(manifest.sideEffects, false);
});

test('every test file lies where npm test looks', () => {
  const files = readdirSync(`${ROOT}test`, { recursive: true, encoding: 'utf8' });
  const elsewhere = files.filter(
    (file) =>
      /\.test\.\w+$/.test(file) &&
      !/^[^/\\]+[/\\][^/\\]+\.test\.ts$/.test(file) &&
      // What the benchmark installs brings tests of its own.
      !file.includes('node_modules'),
  );
  assert.deepEqual(elsewhere, []);
  assert.ok(manifest.scripts.test.endsWith(' test/*/*.test.ts'));
});

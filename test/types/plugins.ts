/** What authors of plugins may and may not write. Compiled by `npm run types`, never run. */
import {
  type BudgetStore,
  ConfigError,
  type ErrorCode,
  type GenerateCall,
  type GenerateEvent,
  type ImagesEvent,
  isImagesError,
  type MediaStorage,
  type Provider,
  ProviderError,
  type UsageStore,
} from 'express-images-router';
import { memoryBudget } from 'express-images-router/budgets/memory';
import { openai } from 'express-images-router/providers/openai';
import { filesystem } from 'express-images-router/storage/filesystem';
import { memoryStorage } from 'express-images-router/storage/memory';
import { s3 } from 'express-images-router/storage/s3';
import {
  apiChecks,
  budgetChecks,
  type Check,
  type CreateApi,
  type CreateBudget,
  type CreateProvider,
  type CreateStorage,
  type CreateUsage,
  providerChecks,
  storageChecks,
  usageChecks,
} from 'express-images-router/testing';
import { memoryUsage } from 'express-images-router/usage/memory';

// Factories answer the contracts, not classes of their own.
export const storages: readonly MediaStorage[] = [
  memoryStorage(),
  filesystem({ root: './media' }),
  s3({ bucket: 'pictures' }),
];
export const budgets: readonly BudgetStore[] = [memoryBudget()];
export const usages: readonly UsageStore[] = [memoryUsage(), memoryUsage({ maxRows: 10 })];

export const provider: Provider = {
  name: 'own',
  models: [],
  async *generate(call: GenerateCall): AsyncIterable<GenerateEvent> {
    const seed: number | undefined = call.seed;
    yield { type: 'image', index: 0, image: { bytes: new Uint8Array(), type: 'image/png' }, seed };
    yield { type: 'end' };
  },
};

// @ts-expect-error a call is read, never written
export const change = (call: GenerateCall) => (call.prompt = 'other');
// @ts-expect-error nobody knows whether this was paid for
export const unbilled = new ProviderError('unavailable', 'It failed.', {});
// @ts-expect-error a kind nobody knows
export const unkind = new ProviderError('broken', 'It failed.', { billed: 'no' });
// @ts-expect-error a wrong option has a path
export const nameless = new ConfigError('is wrong');
// @ts-expect-error a key is not read from the environment, but it is no number either
openai({ apiKey: 1 });
// @ts-expect-error a folder has to be named
filesystem({});
// @ts-expect-error so has a bucket
s3({ region: 'eu-central-1' });

export const codeOf = (thrown: unknown): ErrorCode | undefined =>
  isImagesError(thrown) ? thrown.code : undefined;

/** Events are told apart by their type alone. */
export function costOf(event: ImagesEvent): string | number {
  return event.type === 'upstream.call' ? event.provider : event.at;
}

export const kits: {
  readonly deployments: readonly Check<CreateApi>[];
  readonly providers: readonly Check<CreateProvider>[];
  readonly storages: readonly Check<CreateStorage>[];
  readonly budgets: readonly Check<CreateBudget>[];
  readonly usages: readonly Check<CreateUsage>[];
} = {
  deployments: apiChecks,
  providers: providerChecks,
  storages: storageChecks,
  budgets: budgetChecks,
  usages: usageChecks,
};

storageChecks.map((check) => check.run(() => memoryStorage()));
// @ts-expect-error a kit takes what it is a kit of
budgetChecks.map((check) => check.run(() => memoryStorage()));

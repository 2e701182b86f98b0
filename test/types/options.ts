/** What the public types accept and refuse. Compiled by `npm run types`, never run. */

import express from 'express';
import {
  anyone,
  type BudgetStore,
  bearerKeys,
  type Caller,
  createImagesRouter,
  daily,
  hashKey,
  type ImagesRouterOptions,
  imageCount,
  monthly,
  type Provider,
  perMinute,
  total,
  usd,
} from 'express-images-router';
import { openai } from 'express-images-router/providers/openai';
import { placeholder } from 'express-images-router/providers/placeholder';
import { filesystem } from 'express-images-router/storage/filesystem';

declare global {
  namespace Express {
    interface Request {
      user?: { readonly org: string; readonly id: string };
    }
  }
}

declare const apiKey: string;
declare const mediaSecret: string;
declare const ownProvider: (options: { readonly url: string }) => Provider;
declare const ownBudget: BudgetStore;

const options: ImagesRouterOptions = {
  providers: [openai({ apiKey }), placeholder(), ownProvider({ url: 'http://sd:7860' })],
  storage: filesystem({ root: './media' }),
  media: { secrets: mediaSecret, publicUrl: 'https://api.example.com' },
  identify: (req) =>
    req.user && {
      tenant: req.user.org,
      user: req.user.id,
      models: ['openai/*'],
      budgets: [monthly(usd(50)), daily(usd(5), { per: 'user' }), perMinute(imageCount(30))],
    },
  budget: ownBudget,
};

const images = createImagesRouter(options);
express().use(images);
express().use('/ai', images);
export const closed: Promise<void> = images.close();

// Whoever has no value for an option may say so.
createImagesRouter({ ...options, models: undefined, spend: undefined, limits: { jsonBytes: undefined } });

// @ts-expect-error a plain number is neither money nor pictures
monthly(50);
// @ts-expect-error nor is it where a budget is given options
daily(5, { per: 'user' });
// @ts-expect-error pictures are counted, not priced
usd(imageCount(30));
// @ts-expect-error a price is money too
createImagesRouter({ ...options, models: { 'openai/dall-e-3': { price: 0.04 } } });
createImagesRouter({
  ...options,
  models: { 'openai/dall-e-3': { price: usd(0.04) }, 'own/model': { price: 0 } },
});

const { identify, ...open } = options;
// @ts-expect-error there is no default for who is asking
createImagesRouter(open);
createImagesRouter({ ...open, identify });

const { budget, ...unpaid } = options;
// @ts-expect-error nor for where money is kept
createImagesRouter(unpaid);
createImagesRouter({ ...unpaid, budget });

// @ts-expect-error an option nobody knows
createImagesRouter({ ...options, retries: 3 });
// @ts-expect-error a limit nobody knows
createImagesRouter({ ...options, limits: { jsonByte: 1024 } });
// @ts-expect-error links are signed
createImagesRouter({ ...options, media: { publicUrl: 'https://api.example.com' } });
// @ts-expect-error a factory of providers is not a provider
createImagesRouter({ ...options, providers: [openai] });
// @ts-expect-error a window is chosen by its function
total(usd(5), { window: 'day' });
// @ts-expect-error budgets are per tenant, user or everyone
daily(usd(5), { per: 'model' });

const caller: Caller = { tenant: 'acme', models: 'all', budgets: 'unlimited' };
anyone(caller);
bearerKeys({ [hashKey('key')]: caller });
bearerKeys(async () => undefined);
// @ts-expect-error no budget at all is written out
anyone({ tenant: 'acme', models: 'all', budgets: [] });
// @ts-expect-error so is every model
anyone({ tenant: 'acme', budgets: 'unlimited' });
// @ts-expect-error a role nobody knows
anyone({ ...caller, role: 'owner' });

/** Ours: the router of the built package in an app, with all its parts. */
import express from 'express';
import {
  bearerKeys,
  createImagesRouter,
  hashKey,
  imageCount,
  monthly,
  perMinute,
  usd,
} from 'express-images-router';
import { memoryBudget } from 'express-images-router/budgets/memory';
import { openai } from 'express-images-router/providers/openai';
import { filesystem } from 'express-images-router/storage/filesystem';
import sharp from 'sharp';
import { PORT, readSettings } from './arguments.js';
import { API_KEY, type OurSettings } from './settings.js';

const { upstream, folder, verify, providers = 1 } = readSettings<OurSettings>();

// As the README recommends.
sharp.concurrency(1);
sharp.cache(false);

const options = { apiKey: API_KEY, baseURL: `${upstream}/v1` };

const images = createImagesRouter({
  providers: [
    openai(options),
    // What all of them offer has that many backends, and the list is longer by one model of each.
    ...Array.from({ length: providers - 1 }, (_, index) =>
      openai({ ...options, name: `openai-${index}`, models: [{ like: 'gpt-image-2', id: `own-${index}` }] }),
    ),
  ],
  storage: filesystem({ root: folder }),
  media: { secrets: 'a secret of the benchmark, and of nobody else', publicUrl: `http://127.0.0.1:${PORT}` },
  identify: bearerKeys({
    [hashKey(API_KEY)]: {
      tenant: 'acme',
      user: 'ann',
      models: 'all',
      budgets: [monthly(usd(1_000_000)), perMinute(imageCount(1_000_000), { per: 'user' })],
    },
  }),
  budget: memoryBudget(),
  pictures: { verify },
  onEvent: (event) => {
    if (event.level === 'error') console.error(event);
  },
});

express().use(images).listen(PORT, '127.0.0.1');

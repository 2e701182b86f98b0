/** An app of ES modules and TypeScript that has nothing but Express and the package: it mounts, draws and looks. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import express from 'express';
import {
  bearerKeys,
  createImagesRouter,
  daily,
  hashKey,
  type ImagesEvent,
  imageCount,
  perMinute,
  usd,
} from 'express-images-router';
import { memoryBudget } from 'express-images-router/budgets/memory';
import { placeholder } from 'express-images-router/providers/placeholder';
import { filesystem } from 'express-images-router/storage/filesystem';
import { memoryStorage } from 'express-images-router/storage/memory';
import { budgetChecks, providerChecks, storageChecks } from 'express-images-router/testing';

const events: ImagesEvent[] = [];
const images = createImagesRouter({
  providers: [placeholder()],
  storage: memoryStorage(),
  media: { secrets: 'a secret for tests of at least 32 bytes' },
  identify: bearerKeys({
    [hashKey('a-key')]: {
      tenant: 'acme',
      models: ['placeholder/*'],
      budgets: [daily(usd(5)), perMinute(imageCount(30))],
    },
  }),
  budget: memoryBudget(),
  onEvent: (event) => events.push(event),
});
const server = express().use('/ai', images).listen(0, '127.0.0.1');
await once(server, 'listening');
const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}/ai`;

const answer = await fetch(`${base}/v1/inference/images/generate`, {
  method: 'POST',
  headers: { authorization: 'Bearer a-key', 'content-type': 'application/json' },
  body: JSON.stringify({ model: 'placeholder/sketch', prompt: 'a lighthouse', size: '64x32' }),
});
assert.equal(answer.status, 200);
const { data } = (await answer.json()) as { data: { data: { url: string; width: number }[] } };
const [picture] = data.data;
assert.ok(picture);
assert.equal(picture.width, 64);
const media = await fetch(picture.url);
assert.equal(media.status, 200);
assert.equal(media.headers.get('content-type'), 'image/png');
assert.deepEqual([...new Uint8Array(await media.arrayBuffer()).subarray(1, 4)], [...Buffer.from('PNG')]);
assert.ok(events.length > 0);

assert.equal(filesystem({ root: './media' }).sweep instanceof Function, true);
assert.ok(storageChecks.length > 0 && budgetChecks.length > 0 && providerChecks.length > 0);

server.close();
await images.close();

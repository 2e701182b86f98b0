/**
 * The newest `openai` SDK on both sides of the router: as a client of the server whose URL is given, and as the
 * packed provider's way to its vendor. That vendor is a second router, which draws placeholders for OpenAI's model.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import express from 'express';
import {
  anyone,
  createImagesRouter,
  type ImagesRouter,
  type Provider,
  total,
  usd,
} from 'express-images-router';
import { memoryBudget } from 'express-images-router/budgets/memory';
import { openai } from 'express-images-router/providers/openai';
import { placeholder } from 'express-images-router/providers/placeholder';
import { memoryStorage } from 'express-images-router/storage/memory';
import OpenAI from 'openai';
import { VERSION } from 'openai/version';
import { openaiProgram } from '../../clients/openai-program.js';

assert.match(VERSION, /^7\./);
assert.match(process.version, /^v24\./);

const url = process.argv[2] ?? '';
for (const { run } of openaiProgram) await run({ OpenAI, url });

interface Host {
  readonly images: ImagesRouter;
  readonly server: Server;
  readonly baseURL: string;
}

async function host(provider: Provider): Promise<Host> {
  const images = createImagesRouter({
    providers: [provider],
    storage: memoryStorage(),
    media: { secrets: 'a secret for tests of at least 32 bytes' },
    identify: anyone({ tenant: 'acme', models: 'all', budgets: [total(usd(0.1))] }),
    budget: memoryBudget(),
  });
  const server = express().use(images).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { images, server, baseURL: `http://127.0.0.1:${(server.address() as AddressInfo).port}/oai/v1` };
}

let calls = 0;
const vendor = await host(
  placeholder({
    models: [{ slug: 'placeholder/dall-e-3', maxImages: 1 }],
    onCall: () => {
      calls += 1;
    },
  }),
);
const ours = await host(openai({ apiKey: 'sk-upstream', baseURL: vendor.baseURL }));
const client = new OpenAI({ apiKey: 'a-key', baseURL: ours.baseURL });
const request = { model: 'openai/dall-e-3', prompt: 'a lighthouse', size: '1024x1024' } as const;

const slugs: string[] = [];
for await (const { id } of client.models.list()) slugs.push(id);
assert.ok(slugs.includes('openai/dall-e-3'));

const { data: two } = await client.images.generate({ ...request, n: 2, response_format: 'b64_json' });
assert.equal(two?.length, 2);
for (const picture of two ?? []) assert.match(picture.b64_json ?? '', /^iVBORw0KGgo/);
assert.equal(calls, 2);

// Two pictures of $0.04 are booked, and a third does not fit into what is left of $0.10.
await assert.rejects(client.images.generate(request), { status: 402, code: 'insufficient_quota' });
await assert.rejects(client.images.generate({ ...request, size: '512x512' }), { status: 400, param: 'size' });
assert.equal(calls, 2);

for (const { server, images } of [ours, vendor]) {
  server.close();
  await images.close();
}

/**
 * A provider of your own: one for a service that draws in jobs, with a key, a price and a safety filter, shown against
 * a local stand-in for that service. Run it with: npx tsx --tsconfig test/tsconfig.json examples/custom-provider.ts
 */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import express from 'express';
import {
  anyone,
  createImagesRouter,
  type GenerateCall,
  type GenerateEvent,
  type Model,
  type Provider,
  ProviderError,
  usd,
} from 'express-images-router';
import { memoryBudget } from 'express-images-router/budgets/memory';
import { memoryStorage } from 'express-images-router/storage/memory';
import sharp from 'sharp';

const SQUARE = { width: 512, height: 512 };

const MURAL: Model = {
  slug: 'studio/mural',
  upstreamId: 'mural-1',
  displayName: 'Studio Mural',
  operations: ['generate'],
  sizes: { kind: 'list', values: [SQUARE, { width: 1024, height: 512 }], default: SQUARE },
  formats: ['png'],
  qualities: ['draft', 'final'],
  styles: [],
  backgrounds: [],
  maxImages: 1,
  maxPromptLength: 2_000,
  maxInputs: 0,
  maxPreviews: 0,
  features: ['seed'],
  metadataKeys: [],
  defaultResponseFormat: 'url',
  price: { '*': { draft: usd(0.01), final: usd(0.04) } },
};

interface Job {
  readonly id: string;
  readonly status: 'drawing' | 'done' | 'refused';
  readonly png?: string;
}

/** A provider for the studio's job API. */
function studio({ url, apiKey }: { readonly url: string; readonly apiKey: string }): Provider {
  /** Asks the studio. `billed` says what a failure at this step can have cost. */
  async function ask(
    call: GenerateCall,
    path: string,
    init: RequestInit,
    billed: 'no' | 'unknown',
  ): Promise<Job> {
    const headers = { Authorization: `Bearer ${apiKey}`, 'Content-Type': 'application/json' };
    try {
      const answer = await call.fetch(`${url}${path}`, { ...init, headers, signal: call.signal });
      if (answer.status === 401)
        throw new ProviderError('account', 'The studio does not know our key.', { billed: 'no' });
      if (!answer.ok)
        throw new ProviderError('unavailable', 'The studio failed.', { billed, status: answer.status });
      return (await answer.json()) as Job;
    } catch (error) {
      call.signal.throwIfAborted();
      if (error instanceof ProviderError) throw error;
      throw new ProviderError('unavailable', 'The studio could not be reached.', { billed, cause: error });
    }
  }

  async function* generate(call: GenerateCall): AsyncGenerator<GenerateEvent> {
    const { model, prompt, size, quality, seed } = call;
    const body = JSON.stringify({ model: model.upstreamId, prompt, size, quality, seed });
    // The studio charges for jobs it accepted: a failure before that is free, one after it may not be.
    let job = await ask(call, '/jobs', { method: 'POST', body }, 'no');
    while (job.status === 'drawing') {
      await sleep(50, undefined, { signal: call.signal }).catch(() => call.signal.throwIfAborted());
      job = await ask(call, `/jobs/${job.id}`, {}, 'unknown');
    }
    if (job.status === 'refused') yield { type: 'blocked', index: 0, reason: 'policy', stage: 'input' };
    if (job.png !== undefined) {
      const bytes = Buffer.from(job.png, 'base64');
      yield { type: 'image', index: 0, image: { bytes, type: 'image/png' }, seed };
    }
    yield { type: 'end', upstreamId: job.id };
  }

  return { name: 'studio', models: [MURAL], generate };
}

/** Stands in for the studio: accepts a job, draws for a moment, refuses what it finds forbidden. */
const jobs = new Map<string, { readonly size: typeof SQUARE; readonly prompt: string; looks: number }>();
const service = createServer(async (req, res) => {
  const reply = (job: Job) => res.setHeader('Content-Type', 'application/json').end(JSON.stringify(job));
  if (req.method === 'POST') {
    const chunks: Buffer[] = [];
    for await (const chunk of req) chunks.push(chunk as Buffer);
    const id = `job-${jobs.size + 1}`;
    jobs.set(id, { ...JSON.parse(Buffer.concat(chunks).toString()), looks: 0 });
    return reply({ id, status: 'drawing' });
  }
  const id = (req.url ?? '').split('/').at(-1) ?? '';
  const job = jobs.get(id);
  if (job === undefined) return res.writeHead(404).end();
  job.looks += 1;
  if (job.prompt.includes('forbidden')) return reply({ id, status: 'refused' });
  if (job.looks < 3) return reply({ id, status: 'drawing' });
  const picture = sharp({ create: { ...job.size, channels: 3, background: 'teal' } });
  return reply({ id, status: 'done', png: (await picture.png().toBuffer()).toString('base64') });
});
service.listen(0, '127.0.0.1');
await once(service, 'listening');

const images = createImagesRouter({
  providers: [
    studio({ url: `http://127.0.0.1:${(service.address() as AddressInfo).port}`, apiKey: 'studio-key' }),
  ],
  storage: memoryStorage(),
  media: { secrets: 'a secret of at least thirty-two bytes' },
  identify: anyone({ tenant: 'demo', models: 'all', budgets: 'unlimited' }),
  budget: memoryBudget(),
});
const server = express().use(images).listen(0, '127.0.0.1');
await once(server, 'listening');

for (const prompt of ['a mural of the sea', 'something forbidden']) {
  const answer = await fetch(
    `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/inference/images/generate`,
    {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ model: 'studio/mural', prompt, n: 2, quality: 'final', seed: 7 }),
    },
  );
  console.log(answer.status, JSON.stringify(await answer.json(), null, 2));
}

server.close();
service.close();
await images.close();

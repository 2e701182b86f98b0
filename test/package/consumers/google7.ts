/**
 * The newest `@google-cloud/aiplatform` as the packed provider's way to its vendor: a PredictionService on the port
 * given, over gRPC, without TLS.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import express from 'express';
import { anyone, createImagesRouter, total, usd } from 'express-images-router';
import { memoryBudget } from 'express-images-router/budgets/memory';
import { imagen } from 'express-images-router/providers/imagen';
import { memoryStorage } from 'express-images-router/storage/memory';
import { grpc } from 'google-gax';

const manifest = readFileSync('node_modules/@google-cloud/aiplatform/package.json', 'utf8');
assert.match(JSON.parse(manifest).version, /^7\./);
assert.match(process.version, /^v24\./);

const provider = imagen({
  project: 'easel',
  apiEndpoint: `127.0.0.1:${process.argv[2]}`,
  clientOptions: { sslCreds: grpc.credentials.createInsecure(), apiKey: 'key-of-nothing' },
});
const images = createImagesRouter({
  providers: [provider],
  storage: memoryStorage(),
  media: { secrets: 'a secret for tests of at least 32 bytes' },
  identify: anyone({ tenant: 'acme', models: 'all', budgets: [total(usd(5))] }),
  budget: memoryBudget(),
  limits: { requestMs: 20_000 },
});
await images.warmup();
const server = express().use(images).listen(0, '127.0.0.1');
await once(server, 'listening');
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/inference/images/generate`;

async function generate(model: string, prompt: string, n = 1) {
  const body = JSON.stringify({ model, prompt, n, response_format: 'b64_json' });
  const answer = await fetch(url, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body });
  const { data, error } = (await answer.json()) as {
    readonly data?: { readonly data: readonly { readonly b64_json: string }[] };
    readonly error?: { readonly code: string; readonly retry_after?: number };
  };
  return { status: answer.status, pictures: data?.data.map(({ b64_json }) => b64_json), error };
}

for (const [model, n] of [
  ['google/imagen-4', 2],
  ['google/nano-banana-2.1', 1],
] as const) {
  const { status, pictures = [] } = await generate(model, 'a lighthouse', n);
  assert.deepEqual([status, pictures.length], [200, n], model);
  for (const picture of pictures) assert.match(picture, /^iVBORw0KGgo/);
}

const limited = await generate('google/imagen-4', 'a prompt beyond the quota');
assert.deepEqual([limited.status, limited.error?.code], [429, 'BACKEND_RATE_LIMITED']);
assert.equal(limited.error?.retry_after, 30);

const silent = fetch(url, {
  method: 'POST',
  headers: { 'Content-Type': 'application/json' },
  body: JSON.stringify({ model: 'google/imagen-4', prompt: 'a prompt nobody answers' }),
  signal: AbortSignal.timeout(500),
});
await assert.rejects(silent, { name: 'TimeoutError' });

server.close();
await images.close();

/** An app of CommonJS: `require()` gives the same modules. */
const assert = require('node:assert/strict');
const { once } = require('node:events');
const express = require('express');
const { anyone, createImagesRouter, monthly, usd } = require('express-images-router');
const { memoryBudget } = require('express-images-router/budgets/memory');
const { placeholder } = require('express-images-router/providers/placeholder');
const { filesystem } = require('express-images-router/storage/filesystem');
const { memoryStorage } = require('express-images-router/storage/memory');
const { storageChecks } = require('express-images-router/testing');

async function main() {
  const images = createImagesRouter({
    providers: [placeholder()],
    storage: memoryStorage(),
    media: { secrets: 'a secret for tests of at least 32 bytes' },
    identify: anyone({ tenant: 'acme', models: 'all', budgets: [monthly(usd(50))] }),
    budget: memoryBudget(),
  });
  const server = express().use(images).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  const answer = await fetch(`http://127.0.0.1:${port}/oai/v1/images/generations`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      model: 'sketch',
      prompt: 'a lighthouse',
      size: '64x32',
      response_format: 'b64_json',
    }),
  });
  assert.equal(answer.status, 200);
  const { data } = await answer.json();
  assert.match(data[0].b64_json, /^iVBORw0KGgo/);
  server.close();
  await images.close();

  assert.equal(typeof filesystem, 'function');
  assert.ok(storageChecks.length > 0);
  assert.equal(require('express-images-router/package.json').name, 'express-images-router');
}

void main();

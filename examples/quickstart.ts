/**
 * A small app with the images router mounted. Run it with: npm start
 *
 * Without any keys it draws placeholders. With OPENAI_API_KEY (and optionally OPENAI_BASE_URL) in the environment
 * the OpenAI models are there too. PORT chooses the port, 3000 by default. Pictures and budgets are kept in ./data.
 */
import { randomBytes } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import express from 'express';
import {
  bearerKeys,
  createImagesRouter,
  daily,
  hashKey,
  imageCount,
  perMinute,
  usd,
} from 'express-images-router';
import { sqliteBudget } from 'express-images-router/budgets/sqlite';
import { openai } from 'express-images-router/providers/openai';
import { placeholder } from 'express-images-router/providers/placeholder';
import { filesystem } from 'express-images-router/storage/filesystem';
import Database from 'libsql';
import sharp from 'sharp';

const { OPENAI_API_KEY: apiKey, OPENAI_BASE_URL: baseURL, PORT = '3000' } = process.env;

// The router runs several picture jobs side by side and sees each picture once.
sharp.concurrency(1);
sharp.cache(false);

mkdirSync('./data', { recursive: true });
const demoKey = `demo-${randomBytes(16).toString('hex')}`;

const images = createImagesRouter({
  providers: [placeholder(), ...(apiKey ? [openai({ apiKey, baseURL })] : [])],
  storage: filesystem({ root: './data/media' }),
  media: { secrets: randomBytes(32).toString('hex') },
  identify: bearerKeys({
    [hashKey(demoKey)]: {
      tenant: 'demo',
      models: 'all',
      budgets: [daily(usd(5)), perMinute(imageCount(30))],
    },
  }),
  budget: sqliteBudget({ database: new Database('./data/budget.db') }),
  onEvent: (event) => {
    if (event.level !== 'info') console.error(event);
  },
});

const app = express();
app.use(images);

const server = app.listen(Number(PORT), (error) => {
  if (error) {
    console.error(
      `Port ${PORT} cannot be listened on: ${error.message}\nChoose another one: PORT=3001 npm start`,
    );
    process.exitCode = 1;
    return void stop();
  }
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : PORT;
  const url = `http://localhost:${port}`;
  const model = apiKey ? 'openai/gpt-image-2' : 'placeholder/sketch';
  console.log(`Images router on ${url}

Authorization: Bearer ${demoKey}

With curl:

curl ${url}/v1/inference/images/generate \\
  -H 'Authorization: Bearer ${demoKey}' -H 'Content-Type: application/json' \\
  -d '{"model":"${model}","prompt":"A lighthouse at dawn","size":"1024x1024"}'

With Node and the openai package:

import OpenAI from 'openai';
const client = new OpenAI({ baseURL: '${url}/oai/v1', apiKey: '${demoKey}' });
console.log((await client.images.generate({ model: '${model}', prompt: 'A lighthouse at dawn', response_format: 'url' })).data[0].url);
`);
});

async function stop(): Promise<void> {
  server.close();
  await images.close();
}

process.once('SIGINT', stop);
process.once('SIGTERM', stop);

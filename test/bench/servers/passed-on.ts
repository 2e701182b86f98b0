/** The least that an Express handler around the `openai` SDK can do: pass on what comes back, and look at nothing. */
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import express from 'express';
import OpenAI from 'openai';
import { PORT, readSettings } from './arguments.js';
import { API_KEY, type GatewaySettings } from './settings.js';

const { upstream } = readSettings<GatewaySettings>();
const client = new OpenAI({ apiKey: API_KEY, baseURL: `${upstream}/v1` });

express()
  .use(express.json())
  .post('/v1/images/generations', async (req, res) => {
    const { body } = await client.images.generate(req.body).asResponse();
    res.setHeader('Content-Type', 'application/json');
    await pipeline(body === null ? Readable.from([]) : Readable.fromWeb(body), res);
  })
  .listen(PORT, '127.0.0.1');

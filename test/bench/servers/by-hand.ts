/**
 * What people write themselves: an Express handler around the `openai` SDK. Where a URL is asked for it re-encodes the
 * picture with sharp, writes it to a file and answers with its name.
 */
import { randomUUID } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import express from 'express';
import OpenAI from 'openai';
import sharp from 'sharp';
import { PORT, readSettings } from './arguments.js';
import { API_KEY, type GatewaySettings } from './settings.js';

const { upstream, folder } = readSettings<GatewaySettings>();
const client = new OpenAI({ apiKey: API_KEY, baseURL: `${upstream}/v1` });

async function store(base64: string): Promise<string> {
  const name = `${randomUUID()}.png`;
  await writeFile(join(folder, name), await sharp(Buffer.from(base64, 'base64')).png().toBuffer());
  return name;
}

express()
  .use(express.json())
  .post('/v1/images/generations', async (req, res) => {
    const { response_format: format, ...body } = req.body;
    const answer = await client.images.generate(body);
    if (format !== 'url') return res.json(answer);
    const names = await Promise.all((answer.data ?? []).map(({ b64_json: base64 = '' }) => store(base64)));
    return res.json({ created: answer.created, data: names.map((name) => ({ url: `/media/${name}` })) });
  })
  .listen(PORT, '127.0.0.1');

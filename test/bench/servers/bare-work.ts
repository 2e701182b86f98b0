/**
 * The floor of whatever checks pictures: a bare `node:http` server that decodes one, sums it up as a check of its
 * container does, and hands it on in base64 or stores it as a file that survives a crash. It knows no user, budget,
 * format or fault, reads no JSON, and holds all of every answer.
 */
import { hash, randomUUID } from 'node:crypto';
import { open, rename } from 'node:fs/promises';
import { Agent, createServer, type IncomingMessage, request } from 'node:http';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { PORT, readSettings } from './arguments.js';
import type { GatewaySettings } from './settings.js';

const { upstream, folder } = readSettings<GatewaySettings>();
const agent = new Agent({ keepAlive: true });
const BEFORE_PICTURE = '"b64_json":"';

async function bytesOf(message: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of message) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function ask({ method, headers, url = '/' }: IncomingMessage, body: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const call = request(new URL(url, upstream), { method, headers, agent }, (answer) => {
      bytesOf(answer).then(resolve, reject);
    });
    call.on('error', reject);
    call.end(body);
  });
}

function pictureOf(answer: Buffer): Buffer {
  const start = answer.indexOf(BEFORE_PICTURE) + BEFORE_PICTURE.length;
  return Buffer.from(answer.toString('latin1', start, answer.indexOf('"', start)), 'base64');
}

/** Stores a picture under a name that nobody guesses, beside its digest. */
async function store(picture: Buffer): Promise<string> {
  const name = `${randomUUID()}.png`;
  const path = join(folder, name);
  const file = await open(`${path}.part`, 'wx');
  await file.writev([Buffer.from(hash('sha256', picture)), picture]);
  await file.datasync();
  await file.close();
  await rename(`${path}.part`, path);
  return name;
}

createServer(async (incoming, outgoing) => {
  const body = await bytesOf(incoming);
  const picture = pictureOf(await ask(incoming, body));
  const [name, value] = body.includes('"url"')
    ? ['url', `http://127.0.0.1:${PORT}/${await store(picture)}`]
    : ['b64_json', picture.toString('base64')];
  outgoing.setHeader('x-crc', crc32(picture));
  // Nothing in it needs an escape: `JSON.stringify` would look at every character.
  outgoing.end(Buffer.from(`{"data":[{"${name}":"${value}"}]}`, 'latin1'));
}).listen(PORT, '127.0.0.1');

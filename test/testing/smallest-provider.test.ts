import assert from 'node:assert/strict';
import { mkdtempSync } from 'node:fs';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import sharp from 'sharp';
import type { Provider } from '../../src/core/provider.js';
import { providerChecks } from '../../src/testing/provider-checks.js';
import { failingChecks } from '../support/run-checks.js';

const FAILING_PROMPT = 'make the server fail';
const folder = mkdtempSync(join(tmpdir(), 'images-router-'));
let server: Server;

before(async () => {
  const picture = await sharp({ create: { width: 512, height: 512, channels: 3, background: '#469' } })
    .png()
    .toBuffer();
  server = createServer(async (request, response) => {
    const prompt = await text(request);
    response.statusCode = prompt === FAILING_PROMPT ? 500 : 200;
    response.end(picture);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});

after(async () => {
  server.closeAllConnections();
  server.close();
  await rm(folder, { recursive: true });
});

/** The snippet of the README that is a provider, as it stands there. */
async function easelFromReadme(): Promise<(options: { url: string }) => Provider> {
  const readme = await readFile(new URL('../../src/providers/README.md', import.meta.url), 'utf8');
  const snippets = [...readme.matchAll(/```ts\n(.*?)```/gs)].map(([, code = '']) => code);
  const snippet = snippets.find((code) => code.includes('function easel('));
  assert.ok(snippet, 'the README has the smallest provider');
  const errors = new URL('../../src/errors.ts', import.meta.url).href;
  const file = join(folder, 'easel.mts');
  await writeFile(file, snippet.replace("from 'express-images-router'", `from '${errors}'`));
  return (await import(pathToFileURL(file).href)).easel;
}

test('the smallest provider of the README keeps every promise', async () => {
  const easel = await easelFromReadme();
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  const create = () => ({ provider: easel({ url }), failingPrompt: FAILING_PROMPT });
  assert.deepEqual(await failingChecks(providerChecks, create), []);
});

test('it fails where its vendor cannot be reached', async () => {
  const easel = await easelFromReadme();
  const unreachable = () => ({
    provider: easel({ url: 'http://127.0.0.1:1/' }),
    failingPrompt: FAILING_PROMPT,
  });
  const failed = await failingChecks(providerChecks, unreachable);
  assert.ok(failed.includes('events.all-pictures'), failed.join());
  assert.ok(!failed.includes('failures.provider-error'), failed.join());
});

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { MediaStorage } from '../../src/core/storage.js';
import { createTestApp } from '../support/app.js';
import { startDirectStorage } from '../support/direct-storage.js';
import { draw, LINK_SECRET, linkSigner } from '../support/media.js';

const manual = { redirect: 'manual' } as const;

async function start(t: TestContext, changes: (sound: MediaStorage) => Partial<MediaStorage> = () => ({})) {
  const sound = await startDirectStorage(t);
  const storage = { ...sound, ...changes(sound) };
  return createTestApp(t, { storage, media: { secrets: LINK_SECRET, delivery: 'redirect' } });
}

function maxAgeOf(response: Response): number {
  return Number(/^private, max-age=(\d+)$/.exec(response.headers.get('cache-control') ?? '')?.[1]);
}

test('a client is sent to where storage serves the picture, which has its type and its name', async (t) => {
  const app = await start(t);
  const { url, file, bytes } = await draw(app);
  const response = await fetch(url, manual);
  assert.equal(response.status, 302);
  assert.equal(await response.text(), '');
  assert.equal(response.headers.get('referrer-policy'), 'no-referrer');
  assert.equal(
    response.headers.get('etag'),
    null,
    'what a redirect leads to is not what its validators are of',
  );
  const picture = await fetch(response.headers.get('location') ?? '');
  assert.equal(picture.headers.get('content-type'), 'image/png');
  assert.equal(picture.headers.get('content-disposition'), `inline; filename="${file}"`);
  assert.equal((await picture.arrayBuffer()).byteLength, bytes);
  const saved = await fetch(`${url}&download=1`);
  assert.equal(saved.headers.get('content-disposition'), `attachment; filename="${file}"`);
});

test('neither the place nor what caches remember of it outlives the link', async (t) => {
  const asked: number[] = [];
  const app = await start(t, (sound) => ({
    directUrl: async (key, options) => {
      asked.push(options.expiresAt);
      return sound.directUrl?.(key, options);
    },
  }));
  const { file, url, expires_at: expiresAt } = await draw(app);
  const response = await fetch(url, manual);
  assert.equal(asked[0], expiresAt * 1000);
  assert.equal(maxAgeOf(response), 300, 'a place is remembered for minutes only');

  const soon = Date.now() + 20_000;
  const short = await fetch(`${app.url}/v1/media/${file}?token=${linkSigner.sign(file, soon)}`, manual);
  assert.equal(asked[1], soon);
  const maxAge = maxAgeOf(short);
  assert.ok(maxAge > 0 && maxAge <= 20, `it is remembered for ${maxAge} s`);
});

test('HEAD, conditions that hold and ranges that cannot be are answered here', async (t) => {
  const { url, bytes } = await draw(await start(t));
  const head = await fetch(url, { method: 'HEAD', ...manual });
  assert.deepEqual([head.status, head.headers.get('content-length')], [200, String(bytes)]);
  const known = { 'if-none-match': head.headers.get('etag') ?? '' };
  assert.equal((await fetch(url, { headers: known, ...manual })).status, 304);
  assert.equal((await fetch(url, { headers: { range: `bytes=${bytes}-` }, ...manual })).status, 416);
  assert.equal((await fetch(url, { headers: { range: 'bytes=0-9' }, ...manual })).status, 302);
});

test('the token comes first, and what is gone is told here', async (t) => {
  const app = await start(t);
  const { id, file, url, token } = await draw(app);
  const path = `${app.url}/v1/media/${file}?token=`;
  assert.equal((await fetch(path + token.replace(/.$/, '!'), manual)).status, 403);
  assert.equal((await fetch(path + linkSigner.sign(file, Date.now() - 1), manual)).status, 410);
  await app.router.deletePicture(id);
  assert.equal((await fetch(url, manual)).status, 404);
});

test('a picture that storage has no URL for goes through the router', async (t) => {
  const { url, bytes } = await draw(await start(t, () => ({ directUrl: async () => undefined })));
  const response = await fetch(url, manual);
  assert.deepEqual([response.status, (await response.arrayBuffer()).byteLength], [200, bytes]);
});

test('a storage that fails to make a URL is STORAGE_ERROR', async (t) => {
  const cause = new Error('no keys');
  const app = await start(t, () => ({ directUrl: () => Promise.reject(cause) }));
  const { url } = await draw(app);
  assert.equal((await fetch(url, manual)).status, 503);
  assert.equal(app.eventsOf('storage.failed')[0]?.cause, cause);
});

test('smaller versions and other formats go through the router', async (t) => {
  const { url } = await draw(await start(t));
  for (const query of ['&format=webp', '&format=auto']) {
    assert.equal((await fetch(url + query, manual)).status, 200);
    assert.equal((await fetch(url + query, manual)).status, 200, 'also once it is stored');
  }
});

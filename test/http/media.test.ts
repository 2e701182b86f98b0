import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { createTestApp, type TestApp } from '../support/app.js';
import { ask, type DrawnPicture, draw, LINK_SECRET, linkSigner, type RawAnswer } from '../support/media.js';

interface Served {
  readonly app: TestApp;
  readonly picture: DrawnPicture;
  readonly bytes: Buffer;
  /** Asks for the picture, whatever its status. */
  get(headers?: Record<string, string>, method?: string): Promise<RawAnswer>;
}

async function serve(t: Parameters<typeof createTestApp>[0], body: object = {}): Promise<Served> {
  const app = await createTestApp(t, { media: { secrets: LINK_SECRET } });
  const picture = await draw(app, body);
  const { pathname, search } = new URL(picture.url);
  const get: Served['get'] = (headers = {}, method = 'GET') =>
    ask({ port: app.port, path: pathname + search, method }, headers);
  return { app, picture, get, bytes: (await get()).body };
}

for (const [format, extension] of Object.entries({ png: 'png', jpeg: 'jpg', webp: 'webp', avif: 'avif' })) {
  test(`a ${format} is served as what it is`, async (t) => {
    const { picture, get, bytes } = await serve(t, { output_format: format });
    const { status, headers } = await get();
    assert.equal(status, 200);
    assert.equal(headers['content-type'], `image/${format}`);
    assert.equal(headers['content-length'], String(bytes.length));
    assert.equal(bytes.length, picture.bytes);
    assert.equal(headers['content-disposition'], `inline; filename="${picture.id}.${extension}"`);
  });
}

test('a picture comes with the headers that keep it safe', async (t) => {
  const { get, bytes } = await serve(t);
  const { headers } = await get();
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  assert.equal(headers.etag, `"${sha256}"`);
  assert.equal(headers['accept-ranges'], 'bytes');
  assert.equal(headers['x-content-type-options'], 'nosniff');
  assert.equal(headers['content-security-policy'], "default-src 'none'; sandbox");
  assert.equal(headers['cross-origin-resource-policy'], 'cross-origin');
  assert.equal(headers['referrer-policy'], 'no-referrer');
  assert.match(String(headers['x-request-id']), /^req_/);
  assert.ok(Math.abs(Date.parse(String(headers['last-modified'])) - Date.now()) < 60_000);
});

test('headers the host sets for its own pages do not lock pictures out', async (t) => {
  const app = await createTestApp(t, {
    before: (host) => {
      host.use((_req, res, next) => {
        res.set({ 'Cross-Origin-Resource-Policy': 'same-origin', 'Cache-Control': 'public, max-age=1e9' });
        next();
      });
    },
  });
  const { url } = await draw(app);
  const { headers } = await fetch(url);
  assert.equal(headers.get('cross-origin-resource-policy'), 'cross-origin');
  assert.match(headers.get('cache-control') ?? '', /^private/);
});

test('nobody may keep a picture longer than its link lives', async (t) => {
  const { app, picture } = await serve(t);
  for (const leftMs of [1_000, 61_500, 3_600_000]) {
    const token = linkSigner.sign(picture.file, Date.now() + leftMs);
    const { headers } = await ask({ port: app.port, path: `/v1/media/${picture.file}?token=${token}` });
    const age = Number(/^private, max-age=(\d+)$/.exec(String(headers['cache-control']))?.[1]);
    assert.ok(age <= leftMs / 1000 && age >= leftMs / 1000 - 20, `${headers['cache-control']}`);
  }
});

test('HEAD answers what GET would, without the body', async (t) => {
  const { get } = await serve(t);
  const [{ headers: full }, head] = await Promise.all([get(), get({}, 'HEAD')]);
  const comparable = ({ 'x-request-id': _, date: __, 'cache-control': ___, ...rest }: RawAnswer['headers']) =>
    rest;
  assert.equal(head.status, 200);
  assert.equal(head.body.length, 0);
  assert.deepEqual(comparable(head.headers), comparable(full));
});

test('HEAD of a link that opens nothing answers its status without a body', async (t) => {
  const { app, picture } = await serve(t);
  const path = `/v1/media/${picture.file}`;
  const { status, body } = await ask({ port: app.port, path, method: 'HEAD' });
  assert.equal(status, 403);
  assert.equal(body.length, 0);
});

test('HEAD takes no notice of ranges', async (t) => {
  const { get, bytes } = await serve(t);
  const { status, headers } = await get({ range: 'bytes=0-9' }, 'HEAD');
  assert.equal(status, 200);
  assert.equal(headers['content-length'], String(bytes.length));
});

test('other methods are 405, before the token is looked at', async (t) => {
  const { app, picture } = await serve(t);
  for (const method of ['POST', 'PUT', 'DELETE', 'PATCH']) {
    const { status, headers } = await ask({ port: app.port, path: `/v1/media/${picture.file}`, method });
    assert.equal(status, 405, method);
    assert.equal(headers.allow, 'GET, HEAD');
  }
});

const RANGES: Readonly<Record<string, (size: number) => readonly [first: number, last: number]>> = {
  'bytes=0-0': () => [0, 0],
  'bytes=0-99': () => [0, 99],
  'bytes=10-': (size) => [10, size - 1],
  'bytes=-10': (size) => [size - 10, size - 1],
  'bytes=5-999999999': (size) => [5, size - 1],
  'bytes=-999999999999999999999': (size) => [0, size - 1],
};

for (const [range, expected] of Object.entries(RANGES)) {
  test(`Range: ${range} answers that part`, async (t) => {
    const { get, bytes } = await serve(t);
    const { status, headers, body } = await get({ range });
    const [first, last] = expected(bytes.length);
    assert.equal(status, 206);
    assert.equal(headers['content-range'], `bytes ${first}-${last}/${bytes.length}`);
    assert.equal(headers['content-length'], String(last - first + 1));
    assert.ok(body.equals(bytes.subarray(first, last + 1)));
  });
}

for (const range of ['bytes=0-1,3-4', 'bytes=9-1', 'pages=1-2', 'bytes=a-b', 'bytes=', 'bytes=-']) {
  test(`Range: ${range} is answered with all of it`, async (t) => {
    const { get, bytes } = await serve(t);
    const { status, headers, body } = await get({ range });
    assert.equal(status, 200);
    assert.equal(headers['content-range'], undefined);
    assert.ok(body.equals(bytes));
  });
}

for (const range of ['bytes=999999999-', 'bytes=-0', 'bytes=99999999999999999999-99999999999999999999']) {
  test(`Range: ${range} is 416, with the size and no body`, async (t) => {
    const { get, bytes } = await serve(t);
    const { status, headers, body } = await get({ range });
    assert.equal(status, 416);
    assert.equal(headers['content-range'], `bytes */${bytes.length}`);
    assert.equal(headers['cache-control'], 'no-store');
    assert.equal(body.length, 0);
  });
}

test('If-Range gives the part of the same picture and all of any other', async (t) => {
  const { get } = await serve(t);
  const { headers } = await get();
  const statusFor = async (validator: string) =>
    (await get({ range: 'bytes=0-9', 'if-range': validator })).status;
  assert.equal(await statusFor(String(headers.etag)), 206);
  assert.equal(await statusFor(String(headers['last-modified'])), 206);
  assert.equal(await statusFor('"of another"'), 200);
  assert.equal(await statusFor(`W/${headers.etag}`), 200);
  assert.equal(await statusFor('Thu, 01 Jan 1970 00:00:00 GMT'), 200);
});

test('a client that has the picture already is told so, without a body', async (t) => {
  const { get } = await serve(t);
  const { headers } = await get();
  const etag = String(headers.etag);
  const conditions: readonly Record<string, string>[] = [
    { 'if-none-match': etag },
    { 'if-none-match': `W/${etag}` },
    { 'if-none-match': `"x", ${etag}` },
    { 'if-none-match': '*' },
    { 'if-modified-since': String(headers['last-modified']) },
    { 'if-none-match': etag, range: 'bytes=0-9' },
  ];
  for (const condition of conditions) {
    for (const method of ['GET', 'HEAD']) {
      const answer = await get(condition, method);
      assert.equal(answer.status, 304, JSON.stringify(condition));
      assert.equal(answer.body.length, 0);
      assert.equal(answer.headers.etag, etag);
      assert.match(String(answer.headers['cache-control']), /^private, max-age=\d+$/);
      assert.equal(answer.headers['content-type'], undefined);
    }
  }
});

test('a client that has another picture gets this one', async (t) => {
  const { get, bytes } = await serve(t);
  const { headers } = await get();
  const conditions: readonly Record<string, string>[] = [
    { 'if-none-match': '"x"' },
    { 'if-modified-since': 'Thu, 01 Jan 1970 00:00:00 GMT' },
    { 'if-modified-since': 'yesterday' },
    { 'if-none-match': '"x"', 'if-modified-since': String(headers['last-modified']) },
  ];
  for (const condition of conditions) {
    const answer = await get(condition);
    assert.equal(answer.status, 200, JSON.stringify(condition));
    assert.ok(answer.body.equals(bytes));
  }
});

test('a picture outlives no condition: a bad token is refused before If-None-Match counts', async (t) => {
  const { app, picture, get } = await serve(t);
  const { headers } = await get();
  const path = `/v1/media/${picture.file}?token=${'A'.repeat(59)}`;
  const { status } = await ask({ port: app.port, path }, { 'if-none-match': String(headers.etag) });
  assert.equal(status, 403);
});

test('download=1 saves the picture under its name, and anything else shows it', async (t) => {
  const { picture } = await serve(t);
  const dispositionOf = async (query: string) =>
    (await fetch(picture.url + query, { method: 'HEAD' })).headers.get('content-disposition');
  assert.equal(await dispositionOf('&download=1'), `attachment; filename="${picture.file}"`);
  assert.equal(await dispositionOf('&download=0'), `inline; filename="${picture.file}"`);
  assert.equal(await dispositionOf('&download='), `inline; filename="${picture.file}"`);
});

test('a good link with the extension of another type leads nowhere', async (t) => {
  const { app, picture } = await serve(t);
  const file = picture.file.replace(/png$/, 'webp');
  const path = `/v1/media/${file}?token=${linkSigner.sign(file, Date.now() + 60_000)}`;
  const { status, body } = await ask({ port: app.port, path });
  assert.equal(status, 404);
  assert.equal(JSON.parse(body.toString()).error.code, 'MEDIA_NOT_FOUND');
});

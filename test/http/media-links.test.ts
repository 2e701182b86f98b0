import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { createLinkSigner } from '../../src/media/link.js';
import { createPictureId } from '../../src/media/picture-id.js';
import { memoryStorage } from '../../src/storage/memory.js';
import { createTestApp, type TestAppOptions } from '../support/app.js';
import { ask, assertSameAnswer, draw, LINK_SECRET, linkSigner } from '../support/media.js';

const OTHER_SECRET = 'another secret of at least thirty-two bytes';
const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';

const withLinks: TestAppOptions = { media: { secrets: LINK_SECRET } };

function codeOf(answer: { json(): Promise<unknown> }): Promise<string> {
  return answer.json().then((body) => (body as { error: { code: string } }).error.code);
}

test('whoever has the link gets the picture, without an API key', async (t) => {
  const app = await createTestApp(t);
  const picture = await draw(app);
  const answer = await fetch(picture.url);
  assert.equal(answer.status, 200);
  assert.equal((await answer.arrayBuffer()).byteLength, picture.bytes);
});

test('an Authorization header beside the link is ignored, whatever it says', async (t) => {
  const app = await createTestApp(t);
  const { url } = await draw(app);
  for (const authorization of ['Bearer nobody', 'Basic eDp5', 'nonsense']) {
    const answer = await fetch(url, { headers: { authorization } });
    assert.equal(answer.status, 200, authorization);
    await answer.arrayBuffer();
  }
});

test('a key instead of a token opens nothing', async (t) => {
  const app = await createTestApp(t);
  const { file } = await draw(app);
  await app.get(`/v1/media/${file}`).expect(403);
});

test('all that is no token of ours is refused in the same way, whether or not the picture exists', async (t) => {
  const app = await createTestApp(t, withLinks);
  const picture = await draw(app);
  const other = await draw(app);
  const absent = `${createPictureId('acme', Date.now())}.png`;
  const inAnHour = Date.now() + 3_600_000;
  const foreign = createLinkSigner({ secrets: [OTHER_SECRET] });
  const bad = {
    none: '',
    empty: '?token=',
    malformed: '?token=abc',
    'of another picture': `?token=${other.token}`,
    'of another key': `?token=${foreign.sign(picture.file, inAnHour)}`,
    'expired and of another key': `?token=${foreign.sign(picture.file, 1)}`,
    padded: `?token=${picture.token}%3D`,
    'with a space': `?token=${picture.token}%20`,
    'with a character more': `?token=${picture.token}A`,
    'with a character less': `?token=${picture.token.slice(0, -1)}`,
    'in the other alphabet': `?token=${encodeURIComponent(`+/${picture.token.slice(2)}`)}`,
    'outside of ASCII': `?token=${encodeURIComponent('é'.repeat(59))}`,
    'with a malformed escape': `?token=%zz${picture.token.slice(3)}`,
    huge: `?token=${'A'.repeat(10_000)}`,
    twice: `?token=${picture.token}&token=${picture.token}`,
    'in a list': `?token[]=${picture.token}`,
    'in an object': `?token[token]=${picture.token}`,
  };
  const expected = await fetch(`${app.url}/v1/media/${absent}`);
  assert.equal(expected.status, 403);
  for (const [name, query] of Object.entries(bad)) {
    for (const file of [picture.file, absent]) {
      await t.test(`${name}, ${file === absent ? 'absent' : 'there'}`, async () => {
        const answer = await fetch(`${app.url}/v1/media/${file}${query}`);
        await assertSameAnswer(answer, expected.clone());
      });
    }
  }
  assert.equal(await codeOf(expected), 'MEDIA_TOKEN_INVALID');
});

test('a token with any bit flipped opens nothing', async (t) => {
  const app = await createTestApp(t);
  const { file, token } = await draw(app);
  for (let position = 0; position < token.length; position += 1) {
    const flips = [0, 1, 2, 3, 4, 5].map(async (bit) => {
      const flipped = ALPHABET[ALPHABET.indexOf(token[position] ?? '') ^ (1 << bit)];
      const changed = token.slice(0, position) + flipped + token.slice(position + 1);
      const answer = await fetch(`${app.url}/v1/media/${file}?token=${changed}`);
      assert.equal(answer.status, 403, `position ${position}, bit ${bit}`);
      await answer.arrayBuffer();
    });
    await Promise.all(flips);
  }
});

test('a link that was good once is expired, whether or not the picture is still there', async (t) => {
  const app = await createTestApp(t, withLinks);
  const { file } = await draw(app);
  const absent = `${createPictureId('acme', Date.now())}.png`;
  for (const name of [file, absent]) {
    const answer = await fetch(`${app.url}/v1/media/${name}?token=${linkSigner.sign(name, Date.now() - 1)}`);
    assert.equal(answer.status, 410);
    assert.equal(await codeOf(answer), 'MEDIA_TOKEN_EXPIRED');
  }
});

test('a good link to a picture that is gone answers 404', async (t) => {
  const app = await createTestApp(t);
  const { id, url } = await draw(app);
  await app.router.deletePicture(id);
  const answer = await fetch(url);
  assert.equal(answer.status, 404);
  assert.equal(await codeOf(answer), 'MEDIA_NOT_FOUND');
  assert.equal(answer.headers.get('cache-control'), 'no-store');
});

test('a name that is none of ours is looked for nowhere, even with a good token', async (t) => {
  const asked: string[] = [];
  const memory = memoryStorage();
  const storage = {
    ...memory,
    get: (key: string) => {
      asked.push(key);
      return memory.get(key);
    },
  };
  const app = await createTestApp(t, { ...withLinks, storage });
  const names = [
    '%2e%2e%2fsecret.png',
    '..%5C..%5Csecret',
    'a%00.png',
    `${'a'.repeat(300)}.png`,
    'img_20261122.png',
    `${createPictureId('acme', Date.now())}.svg`,
    `${createPictureId('acme', Date.now())}.png.png`,
    `${createPictureId('acme', Date.now()).toUpperCase()}.png`,
  ];
  for (const name of names) {
    const token = linkSigner.sign(name, Date.now() + 60_000);
    const good = await ask({ port: app.port, path: `/v1/media/${name}?token=${token}` });
    assert.equal(good.status, 404, name);
    const bad = await ask({ port: app.port, path: `/v1/media/${name}?token=${token.slice(1)}A` });
    assert.equal(bad.status, 403, name);
  }
  assert.deepEqual(asked, []);
});

test('links made under an old secret stay good while it is listed', async (t) => {
  const storage = memoryStorage();
  const old = await createTestApp(t, { storage, media: { secrets: OTHER_SECRET } });
  const { file, token } = await draw(old);
  const rotated = await createTestApp(t, { storage, media: { secrets: [LINK_SECRET, OTHER_SECRET] } });
  const dropped = await createTestApp(t, { storage, media: { secrets: [LINK_SECRET] } });
  const statusAt = async (url: string) => (await fetch(`${url}/v1/media/${file}?token=${token}`)).status;
  assert.equal(await statusAt(rotated.url), 200);
  assert.equal(await statusAt(dropped.url), 403);
  const { file: next, token: signed } = await draw(rotated);
  assert.equal((await fetch(`${dropped.url}/v1/media/${next}?token=${signed}`)).status, 200);
});

test('each step of a rotation takes the links of the steps beside it', async (t) => {
  const storage = memoryStorage();
  const steps = [[OTHER_SECRET], [OTHER_SECRET, LINK_SECRET], [LINK_SECRET, OTHER_SECRET], [LINK_SECRET]];
  const apps = await Promise.all(
    steps.map((secrets) =>
      createTestApp(t, { storage, media: { secrets, ttlSeconds: 60, maxTtlSeconds: 60 } }),
    ),
  );
  for (const [from, to] of [
    [0, 1],
    [1, 0],
    [1, 2],
    [2, 1],
    [2, 3],
    [3, 2],
  ] as const) {
    const [signing, reading] = [apps[from], apps[to]];
    assert.ok(signing !== undefined && reading !== undefined, 'there is a step on both sides');
    const { file, token, expires_at: expiresAt } = await draw(signing);
    const { status } = await fetch(`${reading.url}/v1/media/${file}?token=${token}`);
    assert.equal(status, 200, `a link of step ${from} at step ${to}`);
    assert.ok(expiresAt * 1000 <= Date.now() + 120_000, 'it lives a minute longer than asked at most');
  }
});

test('links expire at whole minutes, so that the link to a picture stays the same for a minute', async (t) => {
  const app = await createTestApp(t, { media: { secrets: LINK_SECRET, ttlSeconds: 90 } });
  const before = Date.now() / 1000;
  const { expires_at: expiresAt, file, token } = await draw(app);
  const after = Date.now() / 1000;
  assert.equal(expiresAt % 60, 0);
  assert.ok(expiresAt >= before + 90 && expiresAt <= after + 150);
  assert.equal(token, linkSigner.sign(file, expiresAt * 1000));
});

test('URLs begin with publicUrl, whatever the request says and wherever the router is mounted', async (t) => {
  for (const publicUrl of ['https://cdn.example.com/ai', 'https://cdn.example.com/ai/']) {
    const app = await createTestApp(t, { mount: '/mounted', media: { secrets: LINK_SECRET, publicUrl } });
    const { url, file } = await draw(app);
    assert.ok(url.startsWith(`https://cdn.example.com/ai/v1/media/${file}?token=`), url);
  }
});

/** The base of the URL a request with these headers is answered with. */
async function baseOf(t: Parameters<typeof createTestApp>[0], options: TestAppOptions, headers: object) {
  const app = await createTestApp(t, options);
  const sent = app.native({ model: 'placeholder/sketch', prompt: 'a hill' });
  for (const [name, value] of Object.entries(headers)) sent.set(name, value);
  const { status, body } = await sent;
  const base = status === 200 ? body.data.data[0].url.split('/v1/media/')[0] : body.error.code;
  return { app, base };
}

const FORWARDED = { 'X-Forwarded-Proto': 'https', 'X-Forwarded-Host': 'api.example.com:8443, inner.example' };
const trusting: TestAppOptions = { before: (app) => app.set('trust proxy', true) };

test('URLs begin with what the request asked for, mount path included', async (t) => {
  const { app, base } = await baseOf(t, { mount: '/ai/images' }, {});
  assert.equal(base, `http://127.0.0.1:${app.port}/ai/images`);
});

test('URLs begin with what a trusted proxy was asked for, port included', async (t) => {
  const { base } = await baseOf(t, { ...trusting, mount: '/ai' }, FORWARDED);
  assert.equal(base, 'https://api.example.com:8443/ai');
});

test('forwarding headers count for nothing unless the host trusts the proxy', async (t) => {
  const { app, base } = await baseOf(t, {}, FORWARDED);
  assert.equal(base, `http://127.0.0.1:${app.port}`);
});

for (const [name, headers] of Object.entries({
  'a host that is none': { Host: 'a b' },
  'a host of nothing': { 'X-Forwarded-Host': ':' },
  'a scheme that runs': { 'X-Forwarded-Proto': 'javascript' },
  'a scheme of no web page': { 'X-Forwarded-Proto': 'ftp' },
})) {
  test(`a request with ${name} is refused before anything is drawn`, async (t) => {
    const { app, base } = await baseOf(t, trusting, headers);
    assert.equal(base, 'VALIDATION_ERROR');
    assert.equal(app.calls.length, 0);
  });
}

test('a path in the Host header does not get into URLs', async (t) => {
  const { base } = await baseOf(t, {}, { Host: 'user@api.example.com/evil?x=' });
  assert.equal(base, 'http://api.example.com');
});

test('tokens are found however the host parses queries', async (t) => {
  for (const parser of ['simple', 'extended', false, () => ({})]) {
    const app = await createTestApp(t, { before: (host) => host.set('query parser', parser) });
    const { url } = await draw(app);
    const answer = await fetch(`${url}&download=1&x=${randomBytes(4).toString('hex')}`);
    assert.equal(answer.status, 200, String(parser));
    assert.match(answer.headers.get('content-disposition') ?? '', /^attachment/);
    await answer.arrayBuffer();
  }
});

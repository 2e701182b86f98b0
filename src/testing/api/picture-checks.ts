/** Checks of generating pictures and of the media proxy. Each draws one picture, unless it says otherwise. */
import assert from 'node:assert/strict';
import type { Check } from '../check.js';
import {
  type ApiCheck,
  askUrl,
  assertDrawn,
  at,
  type CreateApi,
  draw,
  drawnUrl,
  jsonOf,
  sizeOf,
  toCheck,
} from './subject.js';

/** A token with its last character changed: as long, in the same alphabet, and of nobody's making. */
function tampered(url: string): string {
  return url.slice(0, -1) + (url.endsWith('A') ? 'B' : 'A');
}

const GENERATING: readonly ApiCheck[] = [
  {
    id: 'generate.url',
    title: 'a picture comes as a URL that opens without a key, and is what was asked for',
    level: 'MUST',
    async run(subject) {
      const json = jsonOf(await draw(subject, 'native', { response_format: 'url' }), 200);
      assert.equal(at(json, 'status'), 'ok');
      assert.equal(at(json, 'data.model'), subject.model);
      const item = at(json, 'data.data.0');
      const { width, height } = sizeOf(subject);
      assert.deepEqual([at(item, 'width'), at(item, 'height')], [width, height]);
      assert.match(String(at(item, 'id')), /^img_/);
      assert.ok(Number(at(item, 'expires_at')) > Date.now() / 1000, 'expires_at is to come');
      const picture = await askUrl(String(at(item, 'url')));
      assert.equal(picture.status, 200);
      assert.equal(picture.headers.get('content-type'), 'image/png');
      assert.equal(picture.bytes.length, at(item, 'bytes'));
      assertDrawn(subject, picture.bytes);
      return undefined;
    },
  },
  {
    id: 'generate.b64-json',
    title: 'a picture comes as base64 and is what was asked for',
    level: 'MUST',
    async run(subject) {
      const json = jsonOf(await draw(subject, 'native', { response_format: 'b64_json' }), 200);
      assert.equal(at(json, 'data.data.0.url'), undefined);
      assertDrawn(subject, Buffer.from(String(at(json, 'data.data.0.b64_json')), 'base64'));
      return undefined;
    },
  },
  {
    id: 'generate.several',
    title: 'two pictures of one request are two pictures, and are counted (draws two)',
    level: 'MUST',
    async run(subject) {
      const json = jsonOf(await draw(subject, 'native', { n: 2 }), 200);
      const items = at(json, 'data.data');
      assert.ok(Array.isArray(items));
      assert.deepEqual(
        items.map((item) => at(item, 'index')),
        [0, 1],
      );
      assert.notEqual(at(items[0], 'url'), at(items[1], 'url'));
      assert.equal(at(json, 'data.usage.images'), 2);
      assert.match(String(at(json, 'data.usage.cost')), /^\d+\.\d{6}$/, 'cost is a decimal string');
      return undefined;
    },
  },
  {
    id: 'generate.warnings',
    title: 'a field nobody knows is ignored and named in the warnings',
    level: 'MUST',
    async run(subject) {
      const json = jsonOf(await draw(subject, 'native', { no_such_field: 1 }), 200);
      const warnings = at(json, 'data.warnings');
      assert.ok(Array.isArray(warnings), 'there are warnings');
      assert.ok(warnings.some((warning) => at(warning, 'field') === 'no_such_field'));
      return undefined;
    },
  },
  {
    id: 'openai.url',
    title: "the OpenAI surface answers a URL in OpenAI's shape",
    level: 'MUST',
    async run(subject) {
      const json = jsonOf(await draw(subject, 'openai', { response_format: 'url' }), 200);
      assert.equal(typeof at(json, 'created'), 'number');
      assert.equal(typeof at(json, 'usage.total_tokens'), 'number', 'usage has OpenAI’s token fields');
      const picture = await askUrl(String(at(json, 'data.0.url')));
      assertDrawn(subject, picture.bytes);
      return undefined;
    },
  },
  {
    id: 'openai.b64-json',
    title: "the OpenAI surface answers base64 in OpenAI's shape",
    level: 'MUST',
    async run(subject) {
      const json = jsonOf(await draw(subject, 'openai', { response_format: 'b64_json' }), 200);
      assert.equal(at(json, 'output_format'), 'png');
      assertDrawn(subject, Buffer.from(String(at(json, 'data.0.b64_json')), 'base64'));
      return undefined;
    },
  },
];

const SERVING: readonly ApiCheck[] = [
  {
    id: 'media.token',
    title: 'a link opens nothing without its token or with another, whether or not the picture exists',
    level: 'MUST',
    async run(subject) {
      const url = await drawnUrl(subject);
      const bare = url.split('?')[0] ?? '';
      for (const forged of [tampered(url), bare, `${bare}?token=x`, bare.replace(/[^/]+$/, 'no-such.png')]) {
        const json = jsonOf(await askUrl(forged), 403);
        assert.equal(at(json, 'error.code'), 'MEDIA_TOKEN_INVALID');
      }
      return undefined;
    },
  },
  {
    id: 'media.stray-authorization',
    title: 'an Authorization header beside a good link is ignored',
    level: 'MUST',
    async run(subject) {
      const headers = { authorization: 'Bearer somebody-else' };
      const { status } = await askUrl(await drawnUrl(subject), { headers });
      assert.equal(status, 200);
      return undefined;
    },
  },
  {
    id: 'media.headers',
    title: 'a picture can be cached privately as long as its link lives, is never sniffed, and runs nothing',
    level: 'MUST',
    async run(subject) {
      const json = jsonOf(await draw(subject, 'native'), 200);
      const { headers } = await askUrl(String(at(json, 'data.data.0.url')));
      const left = Number(at(json, 'data.data.0.expires_at')) - Date.now() / 1000;
      const age = /^private, max-age=(\d+)$/.exec(headers.get('cache-control') ?? '')?.[1];
      assert.ok(
        age !== undefined && Number(age) <= left + 60,
        `Cache-Control is ${headers.get('cache-control')}`,
      );
      assert.equal(headers.get('x-content-type-options'), 'nosniff');
      assert.equal(headers.get('referrer-policy'), 'no-referrer');
      assert.equal(headers.get('cross-origin-resource-policy'), 'cross-origin');
      assert.match(headers.get('content-security-policy') ?? '', /default-src 'none'/);
      return undefined;
    },
  },
  {
    id: 'media.head',
    title: 'HEAD answers what GET would, without the body',
    level: 'MUST',
    async run(subject) {
      const url = await drawnUrl(subject);
      const [full, head] = [await askUrl(url), await askUrl(url, { method: 'HEAD' })];
      assert.equal(head.status, 200);
      for (const name of ['content-type', 'content-length', 'etag', 'accept-ranges']) {
        assert.equal(head.headers.get(name), full.headers.get(name), name);
      }
      return undefined;
    },
  },
  {
    id: 'media.conditional',
    title: 'a client that has the picture already is answered 304 without a body',
    level: 'MUST',
    async run(subject) {
      const url = await drawnUrl(subject);
      const { headers } = await askUrl(url);
      const etag = headers.get('etag') ?? '';
      assert.match(etag, /^"[^"]+"$/, 'a strong ETag is there');
      const same = await askUrl(url, { headers: { 'if-none-match': etag } });
      assert.deepEqual([same.status, same.bytes.length], [304, 0]);
      const other = await askUrl(url, { headers: { 'if-none-match': '"another"' } });
      assert.equal(other.status, 200);
      return undefined;
    },
  },
  {
    id: 'media.range',
    title: 'one range of a picture is answered 206, one outside of it 416',
    level: 'MUST',
    async run(subject) {
      const url = await drawnUrl(subject);
      const { bytes } = await askUrl(url);
      const part = await askUrl(url, { headers: { range: 'bytes=1-4' } });
      assert.equal(part.status, 206);
      assert.equal(part.headers.get('content-range'), `bytes 1-4/${bytes.length}`);
      assert.ok(part.bytes.equals(bytes.subarray(1, 5)), 'these are the bytes asked for');
      const outside = await askUrl(url, { headers: { range: `bytes=${bytes.length}-` } });
      assert.equal(outside.status, 416);
      assert.equal(outside.headers.get('content-range'), `bytes */${bytes.length}`);
      return undefined;
    },
  },
  {
    id: 'media.download',
    title: 'download=1 saves the picture under a sensible name',
    level: 'MUST',
    async run(subject) {
      const url = await drawnUrl(subject);
      const nameOf = async (link: string) => (await askUrl(link)).headers.get('content-disposition') ?? '';
      assert.match(await nameOf(url), /^inline; filename="[\w.-]+\.png"$/);
      assert.match(await nameOf(`${url}&download=1`), /^attachment; filename="[\w.-]+\.png"$/);
      return undefined;
    },
  },
];

/** Checks of generating and serving pictures. */
export const pictureChecks: readonly Check<CreateApi>[] = [...GENERATING, ...SERVING].map(toCheck);

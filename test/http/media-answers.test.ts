/**
 * Each answer the media route can give, with what every one of them carries, and what the OpenAPI document says of it.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { filesystem } from '../../src/storage/filesystem.js';
import { createTestApp, type TestApp } from '../support/app.js';
import { startDirectStorage } from '../support/direct-storage.js';
import { ask, draw, LINK_SECRET, linkSigner, type RawAnswer } from '../support/media.js';
import { temporaryFolder } from '../support/temporary-folder.js';

interface Documented {
  readonly headers?: Readonly<Record<string, object>>;
  readonly content?: Readonly<Record<string, object>>;
}

const ON_EVERY_ANSWER = {
  'x-content-type-options': 'nosniff',
  'content-security-policy': "default-src 'none'; sandbox",
  'cross-origin-resource-policy': 'cross-origin',
  'referrer-policy': 'no-referrer',
};

function documentedIn(app: TestApp): Readonly<Record<string, Documented>> {
  const paths = app.router.openapi.paths as Record<
    string,
    { get: { responses: Record<string, Documented> } }
  >;
  return paths['/v1/media/{file}']?.get.responses ?? {};
}

describe('the media route', () => {
  const cleaners: (() => Promise<void>)[] = [];
  const scope = { after: (clean: () => Promise<void>) => void cleaners.push(clean) };
  const answers: Record<string, () => Promise<RawAnswer>> = {};
  let app: TestApp;

  before(async () => {
    app = await createTestApp(scope, {
      media: { secrets: LINK_SECRET },
      // A host with headers of its own for everything.
      before: (host) => {
        host.use((_req, res, next) => {
          res.set({
            'Cache-Control': 'public, max-age=99999',
            'Cross-Origin-Resource-Policy': 'same-origin',
          });
          next();
        });
      },
    });
    const { file, token } = await draw(app);
    const get = (query: string, headers = {}, method = 'GET') =>
      ask({ port: app.port, path: `/v1/media/${file}?${query}`, method }, headers);
    const good = `token=${token}`;
    const expired = `token=${linkSigner.sign(file, Date.now() - 1)}`;
    const gone = file.replace(/[0-9a-f]{8}\.png$/, '00000000.png');
    const path = `/v1/media/${gone}?token=${linkSigner.sign(gone, Date.now() + 60_000)}`;
    Object.assign(answers, {
      200: () => get(good),
      206: () => get(good, { range: 'bytes=0-9' }),
      304: () => get(good, { 'if-none-match': '*' }),
      403: () => get('token=x'),
      404: () => ask({ port: app.port, path }),
      405: () => get(good, {}, 'POST'),
      410: () => get(expired),
      412: () => get(good, { 'if-match': '"x"' }),
      416: () => get(good, { range: 'bytes=999999999-' }),
      422: () => get(`${good}&w=1`),
      503: async () => {
        const storage = filesystem({ root: await temporaryFolder(scope) });
        const stat = async () => Promise.reject(new Error('down'));
        const broken = await createTestApp(scope, {
          storage: { ...storage, stat, get: stat },
          media: { secrets: LINK_SECRET },
        });
        return ask({ port: broken.port, path: `/v1/media/${file}?${good}` });
      },
    });
  });
  after(async () => {
    for (const clean of cleaners.reverse()) await clean();
  });

  for (const status of ['200', '206', '304', '403', '404', '405', '410', '412', '416', '422', '503']) {
    test(`answers ${status} with the headers that keep it safe, and as it is documented`, async () => {
      const { status: answered, headers, body } = (await answers[status]?.()) ?? assert.fail();
      assert.equal(String(answered), status);
      for (const [name, value] of Object.entries(ON_EVERY_ANSWER)) assert.equal(headers[name], value, name);
      assert.match(String(headers['x-request-id']), /^req_/);
      assert.match(String(headers['cache-control']), /^(private, max-age=\d+|no-store)$/);
      const documented = documentedIn(app)[status];
      assert.ok(documented, 'the document lists it');
      for (const name of Object.keys(documented.headers ?? {})) {
        assert.ok(headers[name.toLowerCase()] !== undefined, `it has the header ${name}`);
      }
      const [type] = String(headers['content-type'] ?? '').split(';');
      const types = Object.keys(documented.content ?? {});
      assert.deepEqual(types, body.length === 0 ? [] : [type?.replace(/^image\/.*/, 'image/*')]);
    });
  }

  test('documents no other answer, but for one that nobody foresees', () => {
    assert.deepEqual(Object.keys(documentedIn(app)).sort(), [...Object.keys(answers), 'default'].sort());
  });

  test('answers 302 where storage serves pictures itself, and documents it only there', async (t) => {
    const storage = await startDirectStorage(t);
    const redirecting = await createTestApp(t, {
      storage,
      media: { secrets: LINK_SECRET, delivery: 'redirect' },
    });
    const { file, token } = await draw(redirecting);
    const { status, headers } = await ask({
      port: redirecting.port,
      path: `/v1/media/${file}?token=${token}`,
    });
    assert.equal(status, 302);
    for (const [name, value] of Object.entries(ON_EVERY_ANSWER)) assert.equal(headers[name], value, name);
    const documented = documentedIn(redirecting)['302'];
    for (const name of Object.keys(documented?.headers ?? {})) {
      assert.ok(headers[name.toLowerCase()] !== undefined, `it has the header ${name}`);
    }
    assert.ok(documented?.headers?.Location, 'it is documented');
    assert.equal(documentedIn(app)['302'], undefined);
  });
});

import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { type TestContext, test } from 'node:test';
import sharp from 'sharp';
import type { ImageFormat, Size } from '../../src/core/image.js';
import type { MediaStorage } from '../../src/core/storage.js';
import { ImagesError } from '../../src/errors.js';
import { imageJobs } from '../../src/pipeline/gate.js';
import { memoryStorage } from '../../src/storage/memory.js';
import { createTestApp, type TestApp, type TestAppOptions, until } from '../support/app.js';
import {
  ask,
  LINK_SECRET,
  type PlacedPicture,
  place,
  type RawAnswer,
  type RecordedStorage,
  recordingStorage,
} from '../support/media.js';
import { picture } from '../support/pictures.js';

const WIDE: Size = { width: 600, height: 300 };
const BROWSER = 'image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8';
const MARK = /trainedAlgorithmicMedia/;

interface Stage {
  readonly app: TestApp;
  readonly storage: RecordedStorage;
  readonly placed: PlacedPicture;
  get(query: string, headers?: Record<string, string>, method?: string): Promise<RawAnswer>;
}

interface StageOptions {
  readonly format?: ImageFormat;
  readonly size?: Size;
  readonly storage?: MediaStorage;
  readonly app?: TestAppOptions;
  readonly transforms?: NonNullable<TestAppOptions['media']>['transforms'];
}

async function stage(t: TestContext, options: StageOptions = {}): Promise<Stage> {
  const { format = 'png', size = WIDE, transforms } = options;
  const storage = recordingStorage(options.storage ?? memoryStorage());
  const app = await createTestApp(t, {
    ...options.app,
    storage,
    media: { secrets: LINK_SECRET, transforms },
  });
  const placed = await place(storage, await picture(format, size), { contentType: `image/${format}`, size });
  storage.asked.length = 0;
  const get: Stage['get'] = (query, headers = {}, method = 'GET') =>
    ask({ port: app.port, path: `${placed.path}${query}`, method }, headers);
  return { app, storage, placed, get };
}

async function sizeOf({ body }: RawAnswer): Promise<string> {
  const { width, height, format } = await sharp(body).metadata();
  return `${width}x${height} ${format}`;
}

function errorOf({ body }: RawAnswer) {
  return JSON.parse(body.toString()).error as {
    code: string;
    retry_after?: number;
    details?: { field: string; message: string }[];
  };
}

for (const [query, expected] of Object.entries({
  'w=256': '256x128 png',
  'h=128': '256x128 png',
  'w=256&h=256': '256x128 png',
  'w=256&h=64': '128x64 png',
  'w=256&h=64&fit=inside': '128x64 png',
  'w=256&h=256&fit=cover': '256x256 png',
  'w=64&h=256&fit=cover': '64x256 png',
  'w=256&fit=cover': '256x128 png',
  'w=1024': '600x300 png',
  'w=1024&h=1024&fit=cover': '300x300 png',
  'w=512&h=384&fit=cover': '400x300 png',
  'w=64&format=jpeg': '64x32 jpeg',
  'w=64&format=webp&q=50': '64x32 webp',
  'format=avif': '600x300 heif',
  'format=jpeg&q=90': '600x300 jpeg',
})) {
  test(`?${query} of a PNG of 600x300 is ${expected}`, async (t) => {
    const { get, placed } = await stage(t);
    const answer = await get(`&${query}`);
    assert.equal(answer.status, 200);
    assert.equal(await sizeOf(answer), expected);
    const format = expected.split(' ')[1]?.replace('heif', 'avif');
    assert.equal(answer.headers['content-type'], `image/${format}`);
    assert.equal(answer.headers['content-length'], String(answer.body.length));
    const extension = format === 'jpeg' ? 'jpg' : format;
    assert.equal(answer.headers['content-disposition'], `inline; filename="${placed.id}.${extension}"`);
  });
}

test('a version is cropped in its middle, and never squeezed', async (t) => {
  const pixels = Buffer.alloc(600 * 200 * 3);
  for (let at = 0; at < pixels.length; at += 3) pixels[at + Math.floor(((at / 3) % 600) / 200)] = 255;
  const stripes = await sharp(pixels, { raw: { width: 600, height: 200, channels: 3 } })
    .png()
    .toBuffer();
  const { app, storage } = await stage(t);
  const { path } = await place(storage, stripes, { size: { width: 600, height: 200 } });
  const { body } = await ask({ port: app.port, path: `${path}&w=64&h=64&fit=cover` });
  const { channels } = await sharp(body).stats();
  assert.deepEqual(
    channels.map(({ mean }) => mean > 240),
    [false, true, false],
  );
});

test('a version says that a machine made the picture, whatever its format', async (t) => {
  const { get } = await stage(t);
  for (const format of ['png', 'jpeg', 'webp', 'avif']) {
    assert.match((await get(`&w=64&format=${format}`)).body.toString('latin1'), MARK, format);
  }
});

test('what comes to the original is the original', async (t) => {
  const { get, placed, storage } = await stage(t);
  const { headers } = await get('');
  for (const query of [
    '&w=640',
    '&h=384',
    '&w=1024&h=2048',
    '&format=png',
    '&q=50',
    '&format=auto',
    '&fit=cover',
  ]) {
    const answer = await get(query);
    assert.ok(answer.body.equals(placed.bytes), query);
    assert.equal(answer.headers.etag, headers.etag, query);
  }
  assert.deepEqual(
    storage.asked.filter((line) => line.startsWith('put')),
    [],
  );
});

test('versions have the headers of pictures, and a tag of their own', async (t) => {
  const { get } = await stage(t);
  const [original, made, other] = [await get(''), await get('&w=256'), await get('&w=128')];
  const comparable = ({ headers }: RawAnswer) => {
    const { etag: _, date: __, 'content-length': ___, 'x-request-id': ____, ...rest } = headers;
    return { ...rest, 'cache-control': String(rest['cache-control']).replace(/\d+/, '') };
  };
  assert.deepEqual(comparable(made), comparable(original));
  assert.equal(new Set([original, made, other].map(({ headers }) => headers.etag)).size, 3);
  assert.match(String(made.headers.etag), /^"[0-9a-f]{64}"$/);
});

test('a version made and the same version stored cannot be told apart', async (t) => {
  const { get, storage } = await stage(t);
  const first = await get('&w=256&format=webp');
  const made = storage.asked.filter((line) => line.startsWith('put')).length;
  const second = await get('&w=256&format=webp');
  assert.equal(made, 1);
  assert.deepEqual(storage.asked.filter((line) => line.startsWith('put')).length, 1, 'it is made once');
  assert.ok(first.body.equals(second.body), 'the same bytes');
  const facts = ({ headers }: RawAnswer) => [
    headers.etag,
    headers['last-modified'],
    headers['content-length'],
  ];
  assert.deepEqual(facts(first), facts(second));
});

test('versions that come to the same picture are one', async (t) => {
  const { get, storage } = await stage(t);
  const queries = ['&w=256', '&h=128', '&w=256&h=128', '&w=256&h=128&fit=cover', '&w=256&format=png&q=50'];
  const tags = new Set<unknown>();
  for (const query of queries) tags.add((await get(query)).headers.etag);
  assert.equal(tags.size, 1);
  assert.equal(storage.asked.filter((line) => line.startsWith('put')).length, 1);
});

test('conditions are answered before any work', async (t) => {
  const { get, storage, placed } = await stage(t);
  const { headers } = await get('&w=256&format=webp');
  await storage.deletePrefix?.(placed.key.replace(/original$/, ''));
  const again = await place(storage, placed.bytes, { size: WIDE });
  assert.notEqual(again.id, placed.id);

  const fresh = await stage(t, { storage: memoryStorage() });
  const tag = String((await fresh.get('&w=256&format=webp')).headers.etag);
  assert.equal(tag, headers.etag, 'the same bytes and parameters have the same tag, whatever the id');
  fresh.storage.asked.length = 0;
  for (const [condition, status] of [
    [{ 'if-none-match': tag }, 304],
    [{ 'if-none-match': '*' }, 304],
    [{ 'if-modified-since': 'Fri, 01 Jan 2100 00:00:00 GMT' }, 304],
    [{ 'if-match': '"other"' }, 412],
    [{ 'if-unmodified-since': 'Thu, 01 Jan 1970 00:00:00 GMT' }, 412],
  ] as const) {
    const answer = await fresh.get('&w=256&format=webp', condition);
    assert.equal(answer.status, status);
    assert.equal(answer.headers.etag, tag);
    assert.equal(answer.body.length, 0);
  }
  const unmade = await fresh.get('&w=512&format=webp', { 'if-none-match': '*' });
  assert.equal(unmade.status, 304);
  assert.deepEqual(fresh.storage.asked, [], 'what was just looked up is known');
});

test('a tag outlives the stored version: one made again has it too', async (t) => {
  const { get, storage, placed } = await stage(t);
  const first = await get('&w=128&format=jpeg');
  const name = storage.asked.find((line) => line.startsWith('put '))?.slice('put '.length);
  await storage.delete(placed.key.replace('original', String(name)));
  const answer = await get('&w=128&format=jpeg', { 'if-none-match': String(first.headers.etag) });
  assert.equal(answer.status, 304);
  const second = await get('&w=128&format=jpeg');
  assert.equal(second.headers.etag, first.headers.etag);
  assert.ok(second.body.equals(first.body), 'the encoder makes the same bytes of the same picture');
});

test('HEAD and parts of a version agree with the whole of it, whether it is stored or not', async (t) => {
  for (const storage of [memoryStorage(), { ...memoryStorage(), deletePrefix: undefined } as never]) {
    const { get } = await stage(t, { storage });
    const head = await get('&w=384&format=webp', {}, 'HEAD');
    const whole = await get('&w=384&format=webp');
    assert.equal(head.status, 200);
    assert.equal(head.body.length, 0);
    for (const name of ['etag', 'content-length', 'content-type', 'last-modified', 'content-disposition']) {
      assert.equal(head.headers[name], whole.headers[name], name);
    }
    const last = whole.body.length - 1;
    for (const query of ['&w=384&format=webp', '&w=256&format=webp']) {
      const part = await get(query, { range: 'bytes=10-19' });
      assert.equal(part.status, 206, query);
      const same = query.includes('384') ? whole : await get(query);
      assert.ok(part.body.equals(same.body.subarray(10, 20)), query);
      assert.equal(part.headers['content-range'], `bytes 10-19/${same.body.length}`);
    }
    const outside = await get('&w=384&format=webp', { range: `bytes=${last + 1}-` });
    assert.equal(outside.status, 416);
  }
});

for (const [accept, expected] of [
  [BROWSER, 'avif'],
  ['image/webp,*/*', 'webp'],
  ['image/avif;q=0, image/webp', 'webp'],
  ['IMAGE/WEBP', 'webp'],
  ['image/webp;q=1, image/avif;q=0.1', 'webp'],
  ['image/avif;q=0.5, image/webp;q=0.5', 'avif'],
  ['image/png, image/avif;q=0.9', 'png'],
  ['image/webp;q=0.8, */*;q=0.1', 'webp'],
  ['image/webp;q=0.0', 'png'],
  ['*/*', 'png'],
  ['image/*', 'png'],
  ['', 'png'],
] as const) {
  test(`format=auto for Accept: ${accept || '(nothing)'} is ${expected}`, async (t) => {
    const { get } = await stage(t);
    const answer = await get('&w=256&format=auto', { accept });
    assert.equal(answer.headers['content-type'], `image/${expected}`);
    assert.equal(answer.headers.vary, 'Accept');
    assert.equal(await sizeOf(answer), `256x128 ${expected.replace('avif', 'heif')}`);
  });
}

test('format=auto keeps a JPEG for clients that take nothing newer, and makes a PNG of what they cannot show', async (t) => {
  for (const [format, expected] of Object.entries({ jpeg: 'jpeg', webp: 'png', avif: 'png' })) {
    const { get } = await stage(t, { format: format as ImageFormat });
    assert.equal((await get('&w=256&format=auto')).headers['content-type'], `image/${expected}`);
  }
});

test('format=auto chooses AVIF only where that is cheap, and no format the host left out', async (t) => {
  const large = await stage(t, { size: { width: 1280, height: 1024 } });
  const typeOf = async (at: Stage, query: string) =>
    (await at.get(query, { accept: BROWSER }, 'HEAD')).headers['content-type'];
  assert.equal(await typeOf(large, '&format=auto'), 'image/webp');
  assert.equal(await typeOf(large, '&w=1024&format=auto'), 'image/avif');
  const plain = await stage(t, { transforms: { formats: ['webp'] } });
  assert.equal(await typeOf(plain, '&w=256&format=auto'), 'image/webp');
  const none = await stage(t, { transforms: { formats: ['jpeg'] } });
  assert.equal(await typeOf(none, '&w=256&format=auto'), 'image/png');
});

test('Accept is named wherever it had a say, and beside what the host varies by', async (t) => {
  const before: TestAppOptions['before'] = (app) => {
    app.use((_req, res, next) => {
      res.vary('Origin');
      next();
    });
  };
  const { get } = await stage(t, { app: { before } });
  const { headers } = await get('&w=256&format=auto', { accept: BROWSER });
  assert.equal(headers.vary, 'Origin, Accept');
  for (const [query, condition, status] of [
    ['&format=auto', {}, 200],
    ['&w=256&format=auto', { 'if-none-match': String(headers.etag) }, 304],
    ['&w=256&format=auto', { range: 'bytes=0-0' }, 206],
    ['&w=256&format=auto', { range: 'bytes=9999999-' }, 416],
  ] as const) {
    const answer = await get(query, { accept: BROWSER, ...condition });
    assert.deepEqual([answer.status, answer.headers.vary], [status, 'Origin, Accept'], query);
  }
  assert.equal((await get('&w=256', { accept: BROWSER })).headers.vary, 'Origin');
  assert.equal((await get('', { accept: BROWSER })).headers.vary, 'Origin');
});

for (const query of [
  ...['w=1e2', 'w=0256', 'w=-1', 'w=+256', 'w=256.0', 'w=0x100', 'w=257', 'w=', 'w', 'w=%20256', 'w=２５６'],
  ...['w=256&w=256', 'w[]=256', 'w[0]=256', 'h=99999999999999999999', 'h=NaN', 'h=1'],
  ...['fit=fill', 'fit=Cover', 'format=gif', 'format=jpg', 'format=svg', 'format=__proto__', 'q=0', 'q=80'],
]) {
  test(`?${query} is refused, naming the field and what is allowed`, async (t) => {
    const { get, storage } = await stage(t);
    const answer = await get(`&${encodeURI(query)}`);
    assert.equal(answer.status, 422);
    const { code, details } = errorOf(answer);
    assert.equal(code, 'VALIDATION_ERROR');
    const [field = ''] = query.split(/[[=]/);
    assert.equal(details?.[0]?.field, field);
    assert.match(String(details?.[0]?.message), /^expected one of \w+(, \w+)+$/);
    assert.deepEqual(storage.asked, [], 'storage is not asked');
  });
}

test('all faults of a URL are told at once, and what other servers call a parameter is told its name', async (t) => {
  const { get } = await stage(t);
  const { details } = errorOf(await get('&w=1&q=1&width=256'));
  assert.deepEqual(
    details?.map(({ field }) => field),
    ['w', 'q', 'width'],
  );
  assert.equal(details?.[2]?.message, 'is called w here');
});

test('only what the host allows is made; a host that allows nothing serves pictures as they are', async (t) => {
  const few = await stage(t, { transforms: { widths: [320], heights: [], qualities: [] } });
  assert.equal(await sizeOf(await few.get('&w=320')), '320x160 png');
  for (const query of ['&w=256', '&h=320', '&q=75']) assert.equal((await few.get(query)).status, 422, query);
  const none = await stage(t, { transforms: false });
  for (const query of ['&w=256', '&h=256', '&fit=cover', '&format=auto', '&q=75']) {
    const answer = await none.get(query);
    assert.equal(answer.status, 422, query);
    assert.match(String(errorOf(answer).details?.[0]?.message), /served without it/);
  }
  assert.equal((await none.get('&utm_source=x')).status, 200);
});

test('a token comes before everything: without one no parameter is looked at', async (t) => {
  const { app, placed, storage } = await stage(t);
  const path = `${placed.path.slice(0, -1)}${placed.path.endsWith('A') ? 'B' : 'A'}`;
  assert.equal((await ask({ port: app.port, path: `${path}&w=1` })).status, 403);
  assert.equal((await ask({ port: app.port, path: `${path}&w=256` })).status, 403);
  assert.deepEqual(storage.asked, []);
});

test('requests for the same version at the same time have it made once', async (t) => {
  const { get, storage } = await stage(t);
  const answers = await Promise.all(Array.from({ length: 20 }, () => get('&w=256&format=webp')));
  for (const { status, body } of answers) {
    assert.equal(status, 200);
    assert.ok(body.equals(answers[0]?.body ?? Buffer.alloc(0)), 'the same bytes');
  }
  const count = (start: string) => storage.asked.filter((line) => line.startsWith(start)).length;
  assert.equal(count('put '), 1);
  assert.equal(count('get original'), 1);
});

test('a version is stored beside its original, as long as it', async (t) => {
  const memory = memoryStorage();
  const app = await createTestApp(t, { storage: memory, media: { secrets: LINK_SECRET } });
  const expiresAt = Date.now() + 1_234_567;
  const { path, key } = await place(memory, await picture('png', WIDE), { size: WIDE, expiresAt });
  const stored: string[] = [];
  const put = memory.put;
  memory.put = (at, body, options) => {
    stored.push(at);
    assert.equal(options.expiresAt, expiresAt);
    return put(at, body, options);
  };
  await ask({ port: app.port, path: `${path}&w=256&format=webp&q=75` });
  const [at = ''] = stored;
  assert.match(at.replace(key.replace('original', ''), ''), /^256x128-webp-q75-[0-9a-f]{8}$/);
  assert.equal((await memory.stat(at))?.metadata.width, 256);
});

test('a storage that cannot delete by prefix gets no versions; they are made for each request', async (t) => {
  const memory = memoryStorage();
  const { deletePrefix: _, ...storage } = memory;
  const { get, storage: recorded } = await stage(t, { storage });
  const [first, second] = [await get('&w=256'), await get('&w=256')];
  assert.ok(first.body.equals(second.body), 'the same bytes');
  assert.equal(first.headers.etag, second.headers.etag);
  assert.deepEqual(recorded.asked, ['stat original', 'get original', 'stat original', 'get original']);
});

test('a version that cannot be stored is served all the same', async (t) => {
  const memory = memoryStorage();
  const { get, app } = await stage(t, {
    storage: {
      ...memory,
      put: (key, ...rest) => (key.endsWith('original') ? memory.put(key, ...rest) : full()),
    },
  });
  assert.equal(await sizeOf(await get('&w=256')), '256x128 png');
  const [event] = app.eventsOf('storage.failed');
  assert.deepEqual([event?.operation, event?.level], ['put', 'warn']);
});

function full(): Promise<never> {
  return Promise.reject(new Error('the disk is full'));
}

test('a rotten original is an error, never wrong bytes, and nothing is made of it', async (t) => {
  const memory = memoryStorage();
  let rot = true;
  const { get, storage, app } = await stage(t, {
    storage: {
      ...memory,
      async get(key, options) {
        const object = await memory.get(key, options);
        if (object === undefined || !rot) return object;
        return { ...object, body: flipped(object.body) };
      },
    },
  });
  const answer = await get('&w=256');
  assert.equal(answer.status, 503);
  assert.equal(errorOf(answer).code, 'STORAGE_ERROR');
  assert.deepEqual(
    storage.asked.filter((line) => line.startsWith('put')),
    [],
  );
  assert.match(String(app.eventsOf('request.failed')[0]?.cause), /its SHA-256 is/);
  assert.equal(app.eventsOf('storage.damaged').length, 1);
  rot = false;
  assert.equal((await get('&w=256')).status, 200);
});

async function* flipped(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const chunk of body) {
    const copy = Buffer.from(chunk);
    copy[copy.length - 20] = (copy[copy.length - 20] ?? 0) ^ 1;
    yield copy;
  }
}

for (const [what, bytes, size] of [
  ['no picture', Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"/>'), WIDE],
  ['a picture cut short', 'cut', WIDE],
  ['a picture of other pixels', 'whole', { width: 300, height: 300 }],
] as const) {
  test(`an original that is ${what} though its digest is right is STORAGE_ERROR`, async (t) => {
    const { app, storage } = await stage(t);
    const whole = await picture('png', WIDE);
    const given = bytes === 'cut' ? whole.subarray(0, -500) : bytes === 'whole' ? whole : bytes;
    const { path } = await place(storage, given, { size });
    const answer = await ask({ port: app.port, path: `${path}&w=128` });
    assert.equal(answer.status, 503);
    assert.equal(errorOf(answer).code, 'STORAGE_ERROR');
  });
}

test('an original whose size was not recorded is STORAGE_ERROR', async (t) => {
  const { app, storage } = await stage(t);
  const { path } = await place(storage, await picture('png', WIDE), { size: {} as Size });
  assert.equal((await ask({ port: app.port, path: `${path}&w=128` })).status, 503);
  assert.equal((await ask({ port: app.port, path })).status, 200);
});

test('a version of a picture that is gone is gone', async (t) => {
  const { get, app, placed } = await stage(t);
  assert.equal((await get('&w=256')).status, 200);
  await app.router.deletePicture(placed.id);
  assert.equal((await get('&w=256')).status, 404);
});

for (const what of ['picture', 'tenant'] as const) {
  test(`no version outlives its ${what} in a storage that lists before it removes`, async (t) => {
    const memory = memoryStorage();
    const keysOf = async (prefix: string) => {
      const keys: string[] = [];
      for await (const key of memory.list?.(prefix) ?? []) keys.push(key);
      return keys;
    };
    let listed: () => Promise<unknown> = async () => undefined;
    const { app, get, placed } = await stage(t, {
      storage: {
        ...memory,
        async deletePrefix(prefix) {
          const keys = await keysOf(prefix);
          await listed();
          for (const key of keys) await memory.delete(key);
        },
      },
    });
    listed = () => get('&w=64&format=webp');
    await (what === 'picture' ? app.router.deletePicture(placed.id) : app.router.deleteTenant('acme'));
    assert.deepEqual(await keysOf(''), []);
  });
}

test('a picture deleted while its version is made takes the version with it', async (t) => {
  const memory = memoryStorage();
  let key = '';
  const { get, placed } = await stage(t, {
    storage: {
      ...memory,
      async put(at, ...rest) {
        if (!at.endsWith('original')) {
          key = at;
          await memory.deletePrefix?.(placed.key.replace(/original$/, ''));
        }
        return memory.put(at, ...rest);
      },
    },
  });
  assert.equal((await get('&w=256')).status, 404);
  assert.notEqual(key, '');
  assert.equal(await memory.stat(key), undefined);
});

for (const [how, remove] of Object.entries({
  fails: () => Promise.reject(new Error('nothing is deleted today')),
  hangs: () => new Promise<void>(() => undefined),
})) {
  test(`a picture deleted while its version is made is gone, also where removing the version ${how}`, async (t) => {
    const memory = memoryStorage();
    const { get, placed, app } = await stage(t, {
      app: { limits: { storageMs: 200 } },
      storage: {
        ...memory,
        async put(key, ...rest) {
          await memory.put(key, ...rest);
          if (!key.endsWith('original')) await memory.delete(placed.key);
        },
        delete: (key) => (key.endsWith('original') ? memory.delete(key) : remove()),
      },
    });
    const answer = await get('&w=256');
    assert.deepEqual([answer.status, errorOf(answer).code], [404, 'MEDIA_NOT_FOUND']);
    const [event] = app.eventsOf('storage.failed');
    assert.equal(event?.operation, 'delete');
  });
}

test('a version is not said to be gone when it is removed for the damage of the one before it', async (t) => {
  const memory = memoryStorage();
  const held = new Map<string, () => void>();
  const proceed = (what: string) => new Promise<void>((resolve) => held.set(what, resolve));
  async function* rotten(): AsyncGenerator<Uint8Array> {
    await proceed('reading');
    yield* [];
    throw new ImagesError('STORAGE_ERROR', 'it is rotten', { reason: 'damaged' });
  }
  let isRotten = false;
  let isSlow = false;
  const { get, app, storage } = await stage(t, {
    storage: {
      ...memory,
      async put(...args) {
        if (isSlow) await proceed('putting');
        await memory.put(...args);
      },
      async get(key, options) {
        const object = await memory.get(key, options);
        return object && isRotten ? { ...object, body: rotten() } : object;
      },
    },
  });
  assert.equal((await get('&w=256')).status, 200);
  isRotten = true;
  const reading = assert.rejects(get('&w=256'));
  await until(() => held.has('reading'));
  isRotten = false;
  isSlow = true;
  // Somebody else who found it damaged has removed it.
  for await (const key of memory.list?.('') ?? []) if (!key.endsWith('original')) await memory.delete(key);
  const making = get('&w=256');
  await until(() => held.has('putting'));
  held.get('reading')?.();
  await reading;
  await until(() => storage.asked.some((line) => line.startsWith('delete')));
  isSlow = false;
  held.get('putting')?.();
  assert.equal(errorOf(await making).code, 'STORAGE_ERROR');
  await until(async () => (await get('&w=256')).status === 200);
  assert.equal(app.eventsOf('storage.damaged').length, 1);
});

test('an object of another origin under the name of a version is not served but replaced', async (t) => {
  const memory = memoryStorage();
  const { get, storage, placed } = await stage(t, { storage: memory });
  const right = await get('&w=256');
  const name = String(storage.asked.find((line) => line.startsWith('put '))?.slice('put '.length));
  const key = placed.key.replace('original', name);
  const facts = { contentType: 'image/png', sha256: '0'.repeat(64), expiresAt: Date.now() + 60_000 };
  await memory.put(key, Buffer.from('wrong'), { ...facts, metadata: {} });
  const answer = await get('&w=256');
  assert.ok(answer.body.equals(right.body), 'the same bytes');
  assert.ok((await get('&w=256')).body.equals(right.body), 'the same bytes');
});

/** A storage whose originals are not answered until they may be. */
function heldStorage() {
  const memory = memoryStorage();
  const held: (() => void)[] = [];
  let opened = 0;
  const storage: MediaStorage = {
    ...memory,
    async get(key, options) {
      if (key.endsWith('original')) {
        opened += 1;
        await new Promise<void>((resolve) => held.push(resolve));
      }
      return memory.get(key, options);
    },
  };
  return {
    storage,
    opened: () => opened,
    release: () => {
      for (const resolve of held.splice(0)) resolve();
    },
  };
}

const WIDTHS = ['64', '128', '256', '384', '512'];

test('versions wait for their turn without reading anything, and past the queue they are OVERLOADED', async (t) => {
  const held = heldStorage();
  const queue = 2;
  const { get } = await stage(t, { storage: held.storage, app: { limits: { transformQueue: queue } } });
  const formats = ['webp', 'jpeg', 'png', 'avif'];
  const different = WIDTHS.flatMap((width) => formats.map((format) => `&w=${width}&format=${format}`));
  const admitted = different.slice(0, imageJobs.limit + queue).map((query) => get(query));
  await until(() => held.opened() === imageJobs.limit);
  const refused = await get(`&h=64&format=webp&q=50`);
  assert.equal(refused.status, 503);
  assert.equal(errorOf(refused).code, 'OVERLOADED');
  assert.ok(Number(errorOf(refused).retry_after) >= 1, 'it says when to come back');
  assert.equal(held.opened(), imageJobs.limit, 'nobody who waits has an original in memory');
  const free = setInterval(held.release, 5);
  const answers = await Promise.all(admitted);
  clearInterval(free);
  assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]));
});

test('a version nobody waits for any more is not made', async (t) => {
  const held = heldStorage();
  const { app, placed, get, storage } = await stage(t, { storage: held.storage });
  const busy = WIDTHS.slice(0, imageJobs.limit).map((width) => get(`&w=${width}`));
  await until(() => held.opened() === imageJobs.limit);
  const sockets = [1, 2].map(() => connect({ host: '127.0.0.1', port: app.port }));
  for (const socket of sockets)
    socket.write(`GET ${placed.path}&w=640&format=webp HTTP/1.1\r\nHost: x\r\n\r\n`);
  await until(() => storage.asked.filter((line) => line.startsWith('get 600x300-webp')).length === 2);
  for (const socket of sockets) socket.destroy();
  await until(async () => (await connections(app)) === imageJobs.limit);
  held.release();
  await Promise.all(busy);
  assert.equal(held.opened(), imageJobs.limit, 'its original was never opened');
  const free = setInterval(held.release, 5);
  assert.equal((await get('&w=640&format=webp')).status, 200, 'who comes later gets it');
  clearInterval(free);
});

function connections({ server }: TestApp): Promise<number> {
  return new Promise((resolve, reject) => {
    server.getConnections((error, count) => (error ? reject(error) : resolve(count)));
  });
}

test('a router that closes makes no more versions, and ends the waiting', async (t) => {
  const held = heldStorage();
  const { app, get } = await stage(t, { storage: held.storage, app: { limits: { drainMs: 50 } } });
  const waiting = get('&w=64');
  await until(() => held.opened() === 1);
  const closing = app.router.close();
  const late = await get('&w=128');
  assert.deepEqual([late.status, errorOf(late).code], [503, 'OVERLOADED']);
  assert.equal((await waiting).status, 503);
  held.release();
  await closing;
});

test('the untransformed picture costs one look-up, whatever else stands in its URL', async (t) => {
  const { get, storage } = await stage(t);
  for (const query of ['', '&download=1', '&utm_source=x', '&token2=1']) {
    storage.asked.length = 0;
    assert.equal((await get(query)).status, 200);
    assert.deepEqual(storage.asked, ['get original'], query);
  }
});

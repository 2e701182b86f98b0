import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  CopyObjectCommand,
  CreateBucketCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutBucketLifecycleConfigurationCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import type { Emit } from '../../src/core/events.js';
import type { MediaStorage } from '../../src/core/storage.js';
import { ConfigError, isImagesError } from '../../src/errors.js';
import { verifyObjects } from '../../src/media/verify.js';
import { type S3Options, s3, s3Lifecycle } from '../../src/storage/s3.js';
import { storageChecks } from '../../src/testing/storage-checks.js';
import { createTestApp, until } from '../support/app.js';
import { freePort } from '../support/free-port.js';
import { draw } from '../support/media.js';
import { RGW_KEYS, type RgwServer, startRgw, withoutRgw } from '../support/rgw.js';
import { testChecks } from '../support/run-checks.js';
import { factsOf, keyOf, readAndHash } from './samples.js';

const BUCKET = 'pictures';
const MEGABYTE = 1024 * 1024;
const picture = Buffer.alloc(100_000, 'picture');

/** For errors that say what is wrong, and nothing secret. */
const saying = (words: RegExp) => (error: unknown) =>
  isImagesError(error) && error.code === 'STORAGE_ERROR' && words.test(error.message);

describe('on a server', { skip: withoutRgw }, () => {
  const cleaners: (() => Promise<void>)[] = [];
  let server: RgwServer;
  let admin: S3Client;

  before(async () => {
    server = await startRgw({ after: (clean) => cleaners.push(clean) });
    const { endpoint } = server;
    admin = new S3Client({ endpoint, credentials: RGW_KEYS, region: 'us-east-1', forcePathStyle: true });
    for (const Bucket of [BUCKET, 'whole-bucket', 'many', 'expiring', 'versioned']) {
      await admin.send(new CreateBucketCommand({ Bucket }));
    }
  });
  after(async () => {
    admin?.destroy();
    for (const clean of cleaners) await clean();
  });

  const open = (options: Partial<S3Options> = {}): MediaStorage =>
    s3({ bucket: BUCKET, endpoint: server.endpoint, credentials: RGW_KEYS, ...options });
  const namesIn = async (Bucket: string, Prefix?: string) => {
    const { Contents = [] } = await admin.send(new ListObjectsV2Command({ Bucket, Prefix }));
    return Contents.map(({ Key }) => Key);
  };

  testChecks('s3 below a prefix', storageChecks, () => open({ prefix: 'kit/media' }));

  describe('with a client of the host, as the SDK makes it', () => {
    const checks = storageChecks.filter(({ id }) => /^put\.(round|aborted)|range-|prefix\.removes/.test(id));
    // Its checksums are on, which send what it streams in another form.
    testChecks('s3 of the whole bucket', checks, () => {
      const { endpoint } = server;
      const client = new S3Client({
        ...{ endpoint, credentials: RGW_KEYS, region: 'us-east-1', forcePathStyle: true },
      });
      const storage = s3({ bucket: 'whole-bucket', client });
      return { ...storage, close: async () => client.destroy() };
    });
  });

  test('a client of the host stays open when the storage closes', async () => {
    const storage = s3({ bucket: BUCKET, client: admin });
    await storage.close?.();
    await storage.put(keyOf('host-client'), picture, factsOf(picture));
    assert.ok((await namesIn(BUCKET)).includes(keyOf('host-client')), 'it was stored');
  });

  test('type, digest, expiry and metadata are kept with the object, for people to read', async () => {
    const metadata = { model: 'acme/größe', width: 64 };
    const facts = factsOf(picture, { contentType: 'image/webp', metadata });
    await open({ prefix: 'facts' }).put(keyOf('a'), picture, facts);
    const found = await admin.send(new HeadObjectCommand({ Bucket: BUCKET, Key: `facts/${keyOf('a')}` }));
    assert.equal(found.ContentType, 'image/webp');
    const { 'stored-at': storedAt, ...rest } = found.Metadata ?? {};
    assert.ok(Math.abs(Number(storedAt) - Date.now()) < 60_000, 'it says when it was stored');
    assert.deepEqual(rest, {
      key: keyOf('a'),
      size: '100000',
      sha256: facts.sha256,
      'expires-at': String(facts.expiresAt),
      metadata: Buffer.from(JSON.stringify(metadata)).toString('base64url'),
    });
  });

  test('the server refuses a body that has another digest than its facts say', async () => {
    const storage = open();
    const facts = factsOf(Buffer.from('another picture'));
    await assert.rejects(storage.put(keyOf('torn'), picture, facts), saying(/failed/));
    assert.equal(await storage.stat(keyOf('torn')), undefined);
  });

  test('facts that are more than a server keeps are refused before anything is sent', async () => {
    const metadata = { long: 'x'.repeat(2000) };
    const facts = factsOf(picture, { metadata });
    await assert.rejects(open().put(keyOf('long'), picture, facts), TypeError);
  });

  test('an object without facts, of another length, or copied from another key is an error', async () => {
    const storage = open({ prefix: 'odd' });
    const nameOf = (name: string) => `odd/${keyOf(name)}`;
    const put = (name: string, Metadata: Record<string, string>) =>
      admin.send(
        new PutObjectCommand({
          ...{ Bucket: BUCKET, Key: nameOf(name), Body: picture, ContentType: 'image/png', Metadata },
        }),
      );
    await storage.put(keyOf('sound'), picture, factsOf(picture));
    const sound = await admin.send(new HeadObjectCommand({ Bucket: BUCKET, Key: nameOf('sound') }));
    const facts = sound.Metadata ?? {};
    await put('bare', {});
    await put('short', { ...facts, key: keyOf('short'), size: '100001' });
    await put('garbled', { ...facts, key: keyOf('garbled'), metadata: '%' });
    await put('undigested', { ...facts, key: keyOf('undigested'), sha256: 'abc' });
    const CopySource = `${BUCKET}/${nameOf('sound')}`;
    await admin.send(new CopyObjectCommand({ Bucket: BUCKET, Key: nameOf('copied'), CopySource }));
    for (const name of ['bare', 'short', 'garbled', 'undigested', 'copied']) {
      await assert.rejects(storage.get(keyOf(name)), saying(/damaged/), `get ${name}`);
      await assert.rejects(
        storage.get(keyOf(name), { range: { start: 0, end: 9 } }),
        saying(/damaged/),
        name,
      );
      await assert.rejects(storage.stat(keyOf(name)), saying(/damaged/), `stat ${name}`);
    }
    assert.equal((await readAndHash(storage, keyOf('sound')))?.read, 100_000);

    const rotten = { ...facts, key: keyOf('rotten'), sha256: 'f'.repeat(64) };
    await put('rotten', rotten);
    const found: string[] = [];
    const emit: Emit = (event) => event.type === 'storage.damaged' && found.push(event.key);
    await verifyObjects({ storage, storageMs: 30_000, emit, signal: undefined });
    const names = ['bare', 'copied', 'garbled', 'rotten', 'short', 'undigested'];
    assert.deepEqual(found.sort(), names.map(keyOf), 'a sweep that verifies names exactly these');
  });

  test('a range that goes past the end is an error, not fewer bytes', async () => {
    const storage = open();
    await storage.put(keyOf('ranged'), picture, factsOf(picture));
    for (const range of [
      { start: 99_990, end: 100_000 },
      { start: 100_000, end: 100_001 },
    ]) {
      await assert.rejects(storage.get(keyOf('ranged'), { range }), saying(/./));
    }
  });

  test('prefixes and sweeps go through as many pages as there are', async (t) => {
    const { endpoint } = server;
    const client = new S3Client({
      endpoint,
      credentials: RGW_KEYS,
      region: 'us-east-1',
      forcePathStyle: true,
    });
    t.after(() => client.destroy());
    // Pages of a thousand would take that many objects.
    client.middlewareStack.add((next, { commandName }) => async (args) => {
      const MaxKeys = commandName === 'ListObjectsV2Command' ? { MaxKeys: 4 } : {};
      return next({ ...args, input: { ...args.input, ...MaxKeys } });
    });
    const storage = s3({ bucket: 'many', prefix: 'm', client });
    const expired = factsOf(picture, { expiresAt: Date.now() - 1 });
    const put = (name: string, facts = factsOf(picture)) => storage.put(name, picture, facts);
    for (let at = 0; at < 10; at += 1) {
      await put(`${keyOf('x')}/${at}`, expired);
      await put(`${keyOf('y')}/${at}`);
    }
    await admin.send(new PutObjectCommand({ Bucket: 'many', Key: 'm/Not ours', Body: 'x' }));
    await admin.send(new PutObjectCommand({ Bucket: 'many', Key: 'm/not-ours-either', Body: 'x' }));
    await admin.send(new PutObjectCommand({ Bucket: 'many', Key: 'outside', Body: 'x' }));
    assert.deepEqual(await storage.sweep?.({ before: Date.now() }), { removed: 10, orphans: 0 });
    assert.equal((await namesIn('many', 'm/0')).length, 10);
    await storage.deletePrefix?.('0123456789abcdef0123456789abcdef/');
    assert.deepEqual(await namesIn('many'), ['m/Not ours', 'm/not-ours-either', 'outside']);
  });

  test('a sweep that knows how long pictures are kept goes by the day in the key, whenever storage took them', async () => {
    const storage = open({ prefix: 'days' });
    const day = `${'0123456789abcdef'.repeat(2)}/2026/02`;
    const names = [`${day}/03/a/original`, `${day}/03/a/w400.webp`, `${day}/04/b/original`, 'no/day'];
    for (const name of names) await storage.put(name, picture, factsOf(picture, { expiresAt: 1 }));
    const retentionSeconds = 2 * 86_400;
    const before = Date.UTC(2026, 1, 5);
    assert.deepEqual(await storage.sweep?.({ before, retentionSeconds }), { removed: 3, orphans: 0 });
    assert.deepEqual(await namesIn(BUCKET, 'days/'), [`days/${day}/04/b/original`]);
    const later = { before: before + 86_400_000, retentionSeconds };
    assert.deepEqual(await storage.sweep?.(later), { removed: 1, orphans: 0 });
  });

  test('a sweep leaves alone what others keep in the bucket, whatever they say of it', async () => {
    const Bucket = 'whole-bucket';
    for (const Metadata of [{ 'expires-at': '1' }, { 'expires-at': '1', key: 'reports/b' }]) {
      await admin.send(
        new PutObjectCommand({ Bucket, Key: 'reports/a', Body: 'no picture', Metadata: { ...Metadata } }),
      );
      assert.deepEqual(await open({ bucket: Bucket }).sweep?.({ before: Date.now() }), {
        removed: 0,
        orphans: 0,
      });
      assert.deepEqual(await namesIn(Bucket, 'reports/'), ['reports/a']);
    }
  });

  test('a sweep stops when it is aborted', async () => {
    const storage = open({ prefix: 'young' });
    const reason = new Error('enough');
    const signal = AbortSignal.abort(reason);
    await assert.rejects(async () => storage.sweep?.({ before: Date.now(), signal }), reason);
  });

  describe('a signed URL', () => {
    const answer = { contentType: 'image/webp', disposition: 'attachment; filename="a hill.webp"' };
    const sign = async (storage: MediaStorage, method: 'GET' | 'HEAD', livesMs: number) => {
      await storage.put(keyOf('signed'), picture, factsOf(picture));
      const expiresAt = Date.now() + livesMs;
      const url = await storage.directUrl?.(keyOf('signed'), { method, expiresAt, ...answer });
      return { url: url ?? '', expiresAt };
    };

    test('gives the object to anybody, with the type and the name that were said', async () => {
      const { url } = await sign(open({ prefix: 'direct' }), 'GET', 60_000);
      const response = await fetch(url);
      assert.equal(response.status, 200);
      assert.equal(response.headers.get('content-type'), 'image/webp');
      assert.equal(response.headers.get('content-disposition'), answer.disposition);
      assert.ok(picture.equals(Buffer.from(await response.arrayBuffer())), 'the bytes are those stored');
      const part = await fetch(url, { headers: { range: 'bytes=5-9' } });
      assert.deepEqual([part.status, (await part.arrayBuffer()).byteLength], [206, 5]);
    });

    test('allows its method alone', async () => {
      const get = await sign(open(), 'GET', 60_000);
      assert.equal((await fetch(get.url, { method: 'HEAD' })).status, 403);
      assert.equal((await fetch(get.url, { method: 'PUT', body: 'x' })).status, 403);
      assert.equal((await fetch(get.url, { method: 'DELETE' })).status, 403);
      const head = await sign(open(), 'HEAD', 60_000);
      assert.equal((await fetch(head.url, { method: 'HEAD' })).status, 200);
      assert.equal((await fetch(head.url)).status, 403);
    });

    test('is refused when anything in it has changed', async () => {
      const { url } = await sign(open(), 'GET', 60_000);
      const changes: Record<string, (changed: URL) => unknown> = {
        object: (changed) => (changed.pathname = changed.pathname.replace('signed', 'host-client')),
        type: ({ searchParams }) => searchParams.set('response-content-type', 'text/html'),
        name: ({ searchParams }) => searchParams.delete('response-content-disposition'),
        life: ({ searchParams }) => searchParams.set('X-Amz-Expires', '604800'),
        date: ({ searchParams }) => searchParams.set('X-Amz-Date', '20990101T000000Z'),
        signature: ({ searchParams }) => searchParams.set('X-Amz-Signature', '0'.repeat(64)),
        none: ({ searchParams }) => searchParams.delete('X-Amz-Signature'),
      };
      for (const [what, change] of Object.entries(changes)) {
        const changed = new URL(url);
        change(changed);
        const { status } = await fetch(changed);
        assert.ok(status === 403 || status === 400, `another ${what} answers ${status}`);
      }
    });

    test('is good until the instant given, never beyond', async () => {
      const { url, expiresAt } = await sign(open(), 'GET', 3500);
      assert.equal((await fetch(url)).status, 200);
      await sleep(expiresAt - Date.now());
      // The server counts whole seconds.
      await sleep(1000);
      assert.equal((await fetch(url)).status, 403);
      const { searchParams } = new URL(url);
      const [, y, m, d, time] = /^(....)(..)(..)T(......)Z$/.exec(searchParams.get('X-Amz-Date') ?? '') ?? [];
      const signedAt = Date.parse(`${y}-${m}-${d}T${time?.replace(/(..)(?=.)/g, '$1:')}Z`);
      const end = signedAt + Number(searchParams.get('X-Amz-Expires')) * 1000;
      assert.ok(end <= expiresAt && end > expiresAt - 1000, `it says ${end}, asked was ${expiresAt}`);
    });

    test('cannot be expressed for an instant that has passed or is less than a second away', async () => {
      assert.equal((await sign(open(), 'GET', 0)).url, '');
      assert.equal((await sign(open(), 'GET', -60_000)).url, '');
    });

    test('lives a week at most, as servers want it', async () => {
      const { url } = await sign(open(), 'GET', 30 * 86_400_000);
      assert.equal((await fetch(url)).status, 200);
    });
  });

  test('lifecycle rules remove expired objects, and only those below the prefix', async () => {
    const rules = s3Lifecycle({ prefix: 'media', retentionSeconds: 1 });
    const apply = { Bucket: 'expiring', LifecycleConfiguration: rules };
    await open({ bucket: 'expiring', prefix: 'media' }).put(keyOf('a'), picture, factsOf(picture));
    await open({ bucket: 'expiring', prefix: 'media-of-others' }).put(keyOf('b'), picture, factsOf(picture));
    await admin.send(new PutBucketLifecycleConfigurationCommand(apply));
    await until(async () => (await namesIn('expiring')).length === 1);
    assert.deepEqual(await namesIn('expiring'), [`media-of-others/${keyOf('b')}`]);
  });

  test('a server takes the rules for buckets with versions', async () => {
    const VersioningConfiguration = { Status: 'Enabled' } as const;
    await admin.send(new PutBucketVersioningCommand({ Bucket: 'versioned', VersioningConfiguration }));
    const LifecycleConfiguration = s3Lifecycle({ versioned: true });
    const { $metadata } = await admin.send(
      new PutBucketLifecycleConfigurationCommand({ Bucket: 'versioned', LifecycleConfiguration }),
    );
    assert.equal($metadata.httpStatusCode, 200);
  });

  test('wrong keys, a wrong secret and a bucket that is not there are told apart', async () => {
    const { accessKeyId } = RGW_KEYS;
    const secretAccessKey = 'a secret nobody may see';
    const put = (options: Partial<S3Options>) => open(options).put(keyOf('a'), picture, factsOf(picture));
    const unknown = { credentials: { accessKeyId: 'NOBODY', secretAccessKey } };
    await assert.rejects(put(unknown), saying(/refuses these credentials/));
    await assert.rejects(put({ credentials: { accessKeyId, secretAccessKey } }), (error) => {
      assert.ok(saying(/refuses these credentials/)(error), String(error));
      assert.match(String((error as Error).cause), /SignatureDoesNotMatch/);
      return true;
    });
    await assert.rejects(open(unknown).stat(keyOf('a')), saying(/refuses these credentials/));
    await assert.rejects(put({ bucket: 'never-made' }), saying(/does not exist/));
    await assert.rejects(open({ bucket: 'never-made' }).get(keyOf('a')), saying(/does not exist/));
    await assert.rejects(
      async () => open({ bucket: 'never-made' }).sweep?.({ before: 0 }),
      saying(/does not exist/),
    );
  });

  const secrets = 'a secret that only these tests know, 32+';

  test('pictures are drawn, served whole and in ranges, and removed one by one or with their tenant', async (t) => {
    const prefix = 'app';
    const app = await createTestApp(t, { storage: open({ prefix }) });
    const [first, second] = [await draw(app), await draw(app)];
    const whole = await fetch(first.url);
    const bytes = Buffer.from(await whole.arrayBuffer());
    assert.deepEqual([whole.status, bytes.length], [200, first.bytes]);
    assert.equal(whole.headers.get('content-type'), 'image/png');
    const part = await fetch(first.url, { headers: { range: 'bytes=10-19' } });
    assert.equal(part.status, 206);
    assert.ok(
      bytes.subarray(10, 20).equals(Buffer.from(await part.arrayBuffer())),
      'the range is of the picture',
    );
    assert.equal((await fetch(first.url, { headers: { range: 'bytes=999999-' } })).status, 416);
    const etag = whole.headers.get('etag') ?? '';
    assert.equal((await fetch(first.url, { headers: { 'if-none-match': etag } })).status, 304);

    await app.router.deletePicture(first.id);
    assert.equal((await fetch(first.url)).status, 404);
    assert.equal((await fetch(second.url)).status, 200);
    await app.router.deleteTenant('acme');
    assert.equal((await fetch(second.url)).status, 404);
    assert.deepEqual(await namesIn(BUCKET, 'app/'), []);
  });

  test('the router sweeps what has expired', async (t) => {
    const storage = open({ prefix: 'swept' });
    const app = await createTestApp(t, { storage });
    const { url } = await draw(app);
    const old = keyOf('old').replace('2026', '2024');
    await storage.put(old, picture, factsOf(picture, { expiresAt: 1 }));
    const { removed, orphans } = await app.router.sweep();
    assert.deepEqual({ removed, orphans }, { removed: 1, orphans: 0 });
    assert.equal((await fetch(url)).status, 200);
  });

  test('a client that is redirected gets the picture from the server itself', async (t) => {
    const media = { secrets, delivery: 'redirect' } as const;
    const app = await createTestApp(t, { storage: open({ prefix: 'redirected' }), media });
    const { url, bytes, file } = await draw(app);
    const followed = await fetch(`${url}&download=1`);
    assert.deepEqual([followed.status, followed.redirected], [200, true]);
    assert.ok(followed.url.startsWith(server.endpoint), 'it came from the server');
    assert.equal(followed.headers.get('content-disposition'), `attachment; filename="${file}"`);
    assert.equal(followed.headers.get('content-type'), 'image/png');
    assert.equal((await followed.arrayBuffer()).byteLength, bytes);
    const part = await fetch(url, { headers: { range: 'bytes=0-9' } });
    assert.deepEqual([part.status, (await part.arrayBuffer()).byteLength], [206, 10]);
  });

  test('a server that is gone is STORAGE_ERROR for clients, and an event with the cause', async (t) => {
    const storage = s3({
      bucket: BUCKET,
      endpoint: `http://127.0.0.1:${await freePort()}`,
      credentials: RGW_KEYS,
    });
    const app = await createTestApp(t, { storage });
    const { body } = await app.native({ model: 'placeholder/sketch', prompt: 'a hill' }).expect(503);
    assert.equal(body.error.code, 'STORAGE_ERROR');
    const causes = app.eventsOf('storage.failed').map(({ cause }) => String(cause));
    assert.match(causes[0] ?? '', /cannot be reached/);
  });

  // The last one: the gateway is gone for a while.
  test('when the gateway is killed in mid-upload nothing half-written is ever visible', async (t) => {
    const storage = open({ prefix: 'killed' });
    const body = Buffer.alloc(24 * MEGABYTE, 'kill');
    const kills = process.env.SOAK ? 20 : 3;
    let broken = 0;
    for (let kill = 0; kill < kills; kill += 1) {
      const key = keyOf(`kill-${kill}`);
      const putting = storage.put(key, body, factsOf(body)).then(
        () => true,
        () => false,
      );
      await sleep(10 + Math.random() * 100);
      await server.kill();
      const isStored = await putting;
      await server.start();
      const found = await readAndHash(storage, key);
      if (!isStored) broken += 1;
      assert.ok(found !== undefined || !isStored, 'what was acknowledged is there');
      if (found !== undefined) assert.deepEqual([found.read, found.digest], [body.length, found.sha256]);
      await storage.put(key, body, factsOf(body));
    }
    t.diagnostic(`${broken} of ${kills} uploads were broken off`);
    assert.ok(broken > 0, 'uploads were broken off');
    assert.equal((await namesIn(BUCKET, 'killed/')).length, kills);
  });
});

for (const [path, options] of [
  ['bucket', { bucket: '' }],
  ['bucket', {} as S3Options],
  ['prefix', { bucket: 'b', prefix: '/x' }],
  ['prefix', { bucket: 'b', prefix: 'a//b' }],
  ['prefix', { bucket: 'b', prefix: '../b' }],
  ['endpoint', { bucket: 'b', endpoint: 's3.example.com' }],
  ['endpoint', { bucket: 'b', endpoint: 'ftp://s3.example.com' }],
  ['region', { bucket: 'b', region: 'x', client: new S3Client({ region: 'x' }) }],
  ['credentials', { bucket: 'b', credentials: RGW_KEYS, client: new S3Client({ region: 'x' }) }],
] as const) {
  test(`a wrong ${path} is a ConfigError: ${JSON.stringify({ ...options, client: undefined })}`, () => {
    assert.throws(
      () => s3(options),
      (error) => error instanceof ConfigError && error.path === path,
    );
  });
}

test('the rules expire objects a day after the last of them, and what was never finished', () => {
  const Filter = { Prefix: 'media/' };
  const { Rules = [] } = s3Lifecycle({ prefix: 'media', retentionSeconds: 90_000, versioned: true });
  assert.deepEqual(
    Rules.map(({ ID: _, ...rule }) => rule),
    [
      { Status: 'Enabled', Filter, Expiration: { Days: 3 } },
      { Status: 'Enabled', Filter, AbortIncompleteMultipartUpload: { DaysAfterInitiation: 1 } },
      { Status: 'Enabled', Filter, NoncurrentVersionExpiration: { NoncurrentDays: 1 } },
    ],
  );
  assert.equal(s3Lifecycle().Rules?.[0]?.Expiration?.Days, 8);
  assert.equal(s3Lifecycle().Rules?.[0]?.Filter?.Prefix, '');
  assert.throws(() => s3Lifecycle({ retentionSeconds: 0 }), ConfigError);
});

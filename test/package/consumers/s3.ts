/**
 * An app that keeps its pictures in a bucket of the S3 server whose URL is given, by the AWS SDK beside the package.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import {
  CreateBucketCommand,
  ListObjectsV2Command,
  PutBucketLifecycleConfigurationCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import express from 'express';
import { anyone, createImagesRouter, total, usd } from 'express-images-router';
import { memoryBudget } from 'express-images-router/budgets/memory';
import { placeholder } from 'express-images-router/providers/placeholder';
import { type S3Options, s3, s3Lifecycle } from 'express-images-router/storage/s3';
import { storageChecks } from 'express-images-router/testing';

const [, , endpoint = '', accessKeyId = '', secretAccessKey = ''] = process.argv;
const Bucket = 'pictures';
const credentials = { accessKeyId, secretAccessKey };
const options: S3Options = { bucket: Bucket, prefix: 'media', endpoint, credentials };

const admin = new S3Client({ endpoint, credentials, region: 'us-east-1', forcePathStyle: true });
await admin.send(new CreateBucketCommand({ Bucket }));
await admin.send(
  new PutBucketLifecycleConfigurationCommand({
    Bucket,
    LifecycleConfiguration: s3Lifecycle({ prefix: 'media', retentionSeconds: 30 * 86_400 }),
  }),
);

// A client of the app's own has the types of the package's.
for (const check of storageChecks.filter(({ id }) => /^put\.round-trip|^get\.range/.test(id))) {
  await check.run(() => s3({ bucket: Bucket, client: admin }));
}

const images = createImagesRouter({
  providers: [placeholder()],
  storage: s3(options),
  media: { secrets: 'a secret for tests of at least 32 bytes', delivery: 'redirect' },
  identify: anyone({ tenant: 'acme', models: 'all', budgets: [total(usd(1))] }),
  budget: memoryBudget(),
});
const server = express().use(images).listen(0, '127.0.0.1');
await once(server, 'listening');

const answer = await fetch(
  `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/inference/images/generate`,
  {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'placeholder/sketch', prompt: 'a lighthouse', size: '64x32' }),
  },
);
assert.equal(answer.status, 200);
const { data } = (await answer.json()) as { data: { data: { id: string; url: string; bytes: number }[] } };
const [picture] = data.data;
assert.ok(picture, 'it was drawn');
const direct = await fetch(picture.url);
assert.ok(direct.redirected && direct.url.startsWith(endpoint), 'the bucket serves it');
assert.equal((await direct.arrayBuffer()).byteLength, picture.bytes);
const smaller = await fetch(`${picture.url}&w=64&format=webp`);
assert.equal(smaller.headers.get('content-type'), 'image/webp');
await smaller.arrayBuffer();

assert.equal((await images.sweep({ verify: true })).checked, 2);
await images.deletePicture(picture.id);
assert.equal((await fetch(picture.url)).status, 404);
const { KeyCount } = await admin.send(new ListObjectsV2Command({ Bucket, Prefix: 'media/' }));
assert.equal(KeyCount, 0);

server.close();
await images.close();
admin.destroy();

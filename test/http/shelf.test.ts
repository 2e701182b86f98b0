import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import sharp from 'sharp';
import { removeLeftovers } from '../../src/core/spool-folder.js';
import { inOrder } from '../../src/http/order.js';
import { createShelf, type PictureEvent } from '../../src/http/shelf.js';
import { createTestApp, onlySize, testModel, until } from '../support/app.js';
import { altered } from '../support/hostile-providers.js';
import { noise } from '../support/pictures.js';
import { framesOf, openAnswer } from '../support/sse.js';

// A place of its own, where no other process makes folders meanwhile.
process.env.TMPDIR = await mkdtemp(join(tmpdir(), 'shelf-'));
after(() => rm(tmpdir(), { recursive: true }));

const SIZE = 1000;

function picture(index: number): PictureEvent {
  const size = { width: 1, height: 1 };
  const facts = { byteLength: SIZE, contentType: 'image/png', size, stored: undefined } as const;
  const bytes = Buffer.alloc(SIZE, index);
  return { type: 'picture', picture: { index, bytes, revisedPrompt: undefined, seed: undefined, ...facts } };
}

async function* backwards(): AsyncGenerator<PictureEvent, void> {
  for (let index = 9; index >= 0; index -= 1) yield picture(index);
}

test('pictures that come in reverse go out in order, whether they waited in memory or in files', async () => {
  for (const room of [0, 3 * SIZE, 100 * SIZE]) {
    const events: PictureEvent[] = [];
    for await (const event of inOrder(backwards(), createShelf(room))) {
      if (event.type === 'picture') events.push(event);
    }
    assert.deepEqual(
      events.map((event) => event.picture),
      [...Array(10).keys()].map((index) => picture(index).picture),
    );
  }
});

test('what memory has no room for is in files, which go when nobody wants them any more', async () => {
  const shelf = createShelf(2 * SIZE);
  for await (const event of backwards()) await shelf.put(event);
  // As a sweep does, of an answer that takes a day.
  await removeLeftovers(Date.now() + 24 * 3_600_000);
  const [folder = ''] = await readdir(tmpdir());
  assert.equal((await readdir(join(tmpdir(), folder))).length, 8);
  await shelf.clear();
  assert.deepEqual(await readdir(tmpdir()), []);
});

test('unless told otherwise, memory has room for four megabytes', async () => {
  const shelf = createShelf();
  for (let index = 0; index < 6; index += 1) {
    const { picture: facts } = picture(index);
    await shelf.put({ type: 'picture', picture: { ...facts, bytes: Buffer.alloc(1024 * 1024, index) } });
    assert.equal((await readdir(tmpdir())).length, index < 4 ? 0 : 1, `after ${index + 1} MB`);
  }
  const [folder = ''] = await readdir(tmpdir());
  assert.equal((await readdir(join(tmpdir(), folder))).length, 2);
  await shelf.clear();
});

test('what comes while a shelf is cleared, or later, leaves no file behind', async () => {
  for (const isCleared of [(clearing: Promise<void>) => clearing, () => undefined]) {
    const shelf = createShelf(0);
    await shelf.put(picture(0));
    const coming = shelf.put(picture(1));
    const clearing = shelf.clear();
    await isCleared(clearing);
    await Promise.all([coming, clearing, shelf.put(picture(2))]);
    assert.deepEqual(await readdir(tmpdir()), []);
  }
});

test('whoever leaves an answer leaves no file behind', async () => {
  const events = inOrder(backwards(), createShelf(0));
  for await (const _ of events) break;
  assert.deepEqual(await readdir(tmpdir()), []);
});

test('the last picture of a stream waits in a file too, if it is of more than four megabytes', async (t) => {
  const edge = 1536;
  const bytes = await noise(edge);
  const drawn = await sharp(bytes).raw().toBuffer();
  const models = [testModel({ maxImages: 1, sizes: onlySize(edge) })];
  let calls = 0;
  let letGo = () => {};
  const held = new Promise<void>((resolve) => {
    letGo = resolve;
  });
  const provider = altered(
    async function* (events) {
      calls += 1;
      if (calls > 1) await held;
      yield* events;
    },
    { models, tamper: () => ({ bytes, type: 'image/png' }) },
  );
  const app = await createTestApp(t, { providers: [provider], pictures: { verify: 'container' } });
  const waiting = async () => (await readdir(tmpdir(), { recursive: true })).length;

  const body = { model: 'placeholder/sketch', prompt: 'Noise', n: 2, stream: true };
  const opening = openAnswer(app, body);
  // The folder, and the first picture in it.
  await until(async () => (await waiting()) === 2);
  letGo();
  const { response } = await opening;
  for await (const { event, data } of framesOf(response)) {
    assert.equal(event, 'image_generation.completed');
    const pixels = await sharp(Buffer.from(data.b64_json ?? '', 'base64'))
      .raw()
      .toBuffer();
    assert.ok(pixels.equals(drawn), `picture ${data.index} is whole`);
  }
  await until(async () => (await waiting()) === 0);
});

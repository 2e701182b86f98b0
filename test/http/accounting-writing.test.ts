import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { UsageRow, UsageStore } from '../../src/core/usage.js';
import { memoryUsage } from '../../src/usage/memory.js';
import { createTestApp, until } from '../support/app.js';

const DRAW = { model: 'placeholder/sketch', prompt: 'a' };

/** A store whose `append` does something else first. */
function storeThat(
  before: (rows: readonly UsageRow[]) => Promise<void>,
): UsageStore & { readonly all: UsageStore } {
  const all = memoryUsage();
  return {
    ...all,
    all,
    async append(rows) {
      await before(rows);
      await all.append(rows);
    },
  };
}

const broken = async (): Promise<never> => {
  throw new Error('down');
};

const rowsIn = async (store: UsageStore) => (await store.query({ tenant: 'acme' }, { limit: 1_000 })).length;

test('a store that hangs or is down delays no answer, and gets every row once it is back', async (t) => {
  let state: 'hangs' | 'down' | 'up' = 'hangs';
  const usage = storeThat(async () => {
    if (state === 'hangs') await new Promise(() => undefined);
    if (state === 'down') throw new Error('down');
  });
  const app = await createTestApp(t, { usage, limits: { usageMs: 100 } });
  for (let request = 0; request < 5; request += 1) await app.native(DRAW).expect(200);
  await until(() => app.eventsOf('usage.unwritten').length > 0);
  state = 'down';
  await until(() => app.eventsOf('usage.unwritten').some(({ cause }) => String(cause).includes('down')));
  state = 'up';
  await until(async () => (await rowsIn(usage)) === 5);
  await until(() => app.eventsOf('usage.written').length > 0);
  assert.ok((app.eventsOf('usage.written')[0]?.attempts ?? 0) > 1, 'it took several attempts');
  assert.deepEqual(app.eventsOf('usage.lost'), []);
});

test('an append whose answer was lost doubles nothing', async (t) => {
  const all = memoryUsage();
  let lost = 0;
  const usage: UsageStore = {
    ...all,
    async append(rows) {
      await all.append(rows);
      lost += 1;
      if (lost <= 2) throw new Error('the connection broke');
    },
  };
  const app = await createTestApp(t, { usage });
  await Promise.all([1, 2, 3].map(() => app.native(DRAW).expect(200)));
  await until(() => lost > 2);
  await app.router.close();
  assert.equal(await rowsIn(usage), 3);
});

test('requests at once are written together', async (t) => {
  const batches: number[] = [];
  const usage = storeThat(async (rows) => void batches.push(rows.length));
  const app = await createTestApp(t, { usage });
  await Promise.all(Array.from({ length: 20 }, () => app.native(DRAW).expect(200)));
  await app.router.close();
  assert.equal(await rowsIn(usage), 20);
  assert.ok(batches.length < 20, `${batches.length} batches`);
});

test('close() writes what waits before it closes the store', async (t) => {
  let closed = 0;
  const usage: UsageStore = {
    ...memoryUsage(),
    async close() {
      closed = await rowsIn(usage);
    },
  };
  const app = await createTestApp(t, { usage });
  await app.native(DRAW).expect(200);
  await app.router.close();
  assert.equal(closed, 1);
});

test('close() tries a store that comes back again at once, however long it was down', async (t) => {
  let down = true;
  const usage = storeThat(async () => {
    if (down) throw new Error('down');
  });
  // Less than the pause after seven failures.
  const app = await createTestApp(t, { usage, limits: { drainMs: 600 } });
  await app.native(DRAW).expect(200);
  await until(() => app.eventsOf('usage.unwritten').length >= 7);
  down = false;
  await app.router.close();
  assert.equal(await rowsIn(usage), 1);
});

test('rows that cannot be written by the end of close() are told, whole', async (t) => {
  const usage = { ...memoryUsage(), append: broken, query: broken };
  const app = await createTestApp(t, { usage, limits: { drainMs: 3_000 } });
  await app.native({ ...DRAW, n: 2 }).expect(200);
  await app.router.close();
  const [lost, ...others] = app.eventsOf('usage.lost');
  assert.deepEqual(others, []);
  assert.equal(lost?.reason, 'closed');
  assert.deepEqual(
    lost?.rows.map(({ tenant, images, costMicroUsd }) => [tenant, images, costMicroUsd]),
    [['acme', 2, 80_000]],
  );
});

test('close() waits no longer for a row that a store which answers refuses again and again', {
  timeout: 60_000,
}, async (t) => {
  const usage = storeThat(async () => {
    throw new Error('constraint violated');
  });
  const app = await createTestApp(t, { usage, limits: { drainMs: 600_000 } });
  await app.native({ ...DRAW, n: 2 }).expect(200);
  await app.router.close();
  assert.deepEqual(
    app.eventsOf('usage.lost').map(({ reason, rows }) => [reason, rows.map(({ images }) => images)]),
    [['refused', [2]]],
  );
});

test('more rows than may wait are told, whole, and memory stays bounded', async (t) => {
  let down = true;
  const usage = storeThat(async () => {
    if (down) throw new Error('down');
  });
  const app = await createTestApp(t, { usage, limits: { usageRows: 3 } });
  for (let request = 0; request < 5; request += 1) await app.native(DRAW).expect(200);
  const lost = app.eventsOf('usage.lost');
  assert.deepEqual(
    lost.map(({ reason, rows }) => [reason, rows.length]),
    [
      ['full', 1],
      ['full', 1],
    ],
  );
  down = false;
  await app.router.close();
  assert.equal(await rowsIn(usage), 3);
});

test('a row the store cannot take keeps no other from it', async (t) => {
  const usage = storeThat(async (rows) => {
    if (rows.some(({ labels }) => labels.poison === true)) throw new Error('constraint violated');
  });
  const app = await createTestApp(t, { usage, limits: { drainMs: 1_000 } });
  await Promise.all(
    [1, 2, 3, 4, 5, 6].map((place) => app.native({ ...DRAW, metadata: { poison: place === 3 } }).expect(200)),
  );
  await until(async () => (await rowsIn(usage)) === 5);
  await app.router.close();
  assert.deepEqual(
    app.eventsOf('usage.lost').map(({ rows }) => rows.map(({ labels }) => labels)),
    [[{ poison: true }]],
  );
});

test('a row that is refused while others land is given up, whole, and holds no place any longer', async (t) => {
  const usage = storeThat(async (rows) => {
    if (rows.some(({ labels }) => labels.poison === true)) throw new Error('constraint violated');
  });
  const app = await createTestApp(t, { usage });
  await app.native({ ...DRAW, metadata: { poison: true } }).expect(200);
  let others = 0;
  await until(async () => {
    await app.native(DRAW).expect(200);
    others += 1;
    return app.eventsOf('usage.lost').length > 0;
  });
  await app.router.close();
  assert.deepEqual(
    app.eventsOf('usage.lost').map(({ reason, rows }) => [reason, rows.map(({ labels }) => labels)]),
    [['refused', [{ poison: true }]]],
  );
  assert.equal(await rowsIn(usage), others);
});

test('a row is not given up while the store takes none', async (t) => {
  let down = true;
  const usage = storeThat(async () => {
    if (down) throw new Error('down');
  });
  const app = await createTestApp(t, { usage });
  await app.native(DRAW).expect(200);
  await app.native(DRAW).expect(200);
  const alone = () => app.eventsOf('usage.unwritten').filter(({ rows }) => rows === 1);
  await until(() => alone().length > 6);
  down = false;
  await app.router.close();
  assert.equal(await rowsIn(usage), 2);
});

test('a vendor that counts more tokens than there are numbers for costs no row, and its counts are not believed', async (t) => {
  const usage = memoryUsage();
  const counted = { textIn: 9e15, imageIn: 9e15, imageOut: 9e15, textOut: 9e15 };
  const app = await createTestApp(t, { usage, placeholder: { usage: () => counted } });
  await app.native({ ...DRAW, n: 2 }).expect(200);
  await app.router.close();
  const [row] = await usage.query({ tenant: 'acme' }, { limit: 9 });
  assert.deepEqual([row?.tokensIn, row?.tokensOut], [0, 0]);
  assert.deepEqual(app.eventsOf('usage.unwritten'), []);
});

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { UsageRow, UsageStore } from '../../src/core/usage.js';
import { memoryUsage } from '../../src/usage/memory.js';
import { createTestApp, TEST_KEY, type TestApp, until } from '../support/app.js';
import { usageRow } from '../support/usage.js';

const ADMIN = { role: 'admin' } as const;
const EXPORT = '/v1/accounting/export';

/** The cells of a CSV file, by the rules of RFC 4180. */
function cellsOf(csv: string): string[][] {
  assert.ok(csv.endsWith('\r\n'), 'the last line ends too');
  const lines: string[][] = [[]];
  for (const [, quoted, bare, end] of csv.matchAll(/(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n)/g)) {
    lines.at(-1)?.push(quoted?.replaceAll('""', '"') ?? bare ?? '');
    if (end === '\r\n') lines.push([]);
  }
  return lines.slice(0, -1);
}

/** A store that yields rows for ever, and counts what was read of it. */
function endless(row: UsageRow = usageRow()) {
  const counts = { read: 0, ended: 0 };
  const store: UsageStore = {
    ...memoryUsage(),
    async *export() {
      try {
        for (; ; counts.read += 1) {
          yield row;
          if (counts.read % 100 === 0) await sleep(1);
        }
      } finally {
        counts.ended += 1;
      }
    },
  };
  return { store, counts };
}

/** Waits until no more rows are read, and some time longer. */
async function stalled(counts: { readonly read: number }): Promise<void> {
  for (let before = -1; counts.read === 0 || counts.read !== before; await sleep(300)) before = counts.read;
}

/** Asks for an export without reading it. */
async function askFor(app: TestApp, path: string): Promise<IncomingMessage> {
  const asked = httpRequest(app.url + path, { headers: { authorization: `Bearer ${TEST_KEY}` } });
  asked.on('error', () => undefined);
  asked.end();
  const [answer] = (await once(asked, 'response')) as [IncomingMessage];
  answer.on('error', () => undefined);
  answer.pause();
  return answer;
}

test('a CSV file has a line of names and a line for each row', async (t) => {
  const usage = memoryUsage();
  const app = await createTestApp(t, { usage, caller: ADMIN });
  const text = 'a "quoted", word\r\nand a line';
  await usage.append([
    usageRow({ user: text, labels: { text }, at: 1 }),
    usageRow({ user: undefined, at: 0 }),
  ]);
  const answer = await app.get(EXPORT).expect(200).expect('Content-Type', 'text/csv; charset=utf-8');
  assert.equal(answer.headers['content-disposition'], 'attachment; filename="usage.csv"');
  assert.equal(answer.headers['x-content-type-options'], 'nosniff');
  assert.equal(answer.headers['cache-control'], 'no-store');
  const [names = [], ...lines] = cellsOf(answer.text);
  assert.equal(lines.length, 2);
  const [first, second] = lines.map((line) =>
    Object.fromEntries(names.map((name, place) => [name, line[place]])),
  );
  assert.equal(first?.user_id, text);
  assert.deepEqual(JSON.parse(first?.metadata ?? ''), { text });
  assert.deepEqual(
    [first?.cost, first?.images, first?.created_at],
    ['0.040000', '1', '1970-01-01T00:00:00.001Z'],
  );
  assert.equal(second?.user_id, '');
});

test('what a spreadsheet would run as a formula is text in a CSV file', async (t) => {
  const usage = memoryUsage();
  const app = await createTestApp(t, { usage, caller: ADMIN });
  const formulas = [
    ...[
      '=1+1',
      '+1',
      '-1',
      '@SUM(A1)',
      '\t=1',
      '\r=1',
      '\n=1',
      ' =1',
      '＝1',
      '=HYPERLINK("http://evil","x")',
    ],
  ];
  await usage.append(formulas.map((user, at) => usageRow({ user, at })));
  const { text } = await app.get(EXPORT).expect(200);
  const [names = [], ...lines] = cellsOf(text);
  const users = lines.map((line) => line[names.indexOf('user_id')]).reverse();
  assert.deepEqual(
    users,
    formulas.map((formula) => `'${formula}`),
  );
  const ordinary = lines.map((line) => line[names.indexOf('model')]);
  assert.deepEqual(new Set(ordinary), new Set(['placeholder/sketch']));
});

test('JSON is one bare array and NDJSON a line for each row, of the same rows as the listing', async (t) => {
  const usage = memoryUsage();
  const app = await createTestApp(t, { usage, caller: ADMIN });
  const { body: none } = await app.get(`${EXPORT}?format=json`).expect(200);
  assert.deepEqual(none, []);
  assert.equal((await app.get(`${EXPORT}?format=ndjson`).buffer(true).expect(200)).text, '');
  await usage.append(Array.from({ length: 250 }, (_, at) => usageRow({ at, labels: { at } })));
  const { body: listing } = await app.get('/v1/accounting/usage?limit=1000').expect(200);
  const { body: json } = await app
    .get(`${EXPORT}?format=json`)
    .expect(200)
    .expect('Content-Type', /^application\/json/);
  const { text } = await app.get(`${EXPORT}?format=ndjson`).expect('Content-Type', 'application/x-ndjson');
  assert.deepEqual(json, listing.data.items);
  assert.deepEqual(
    text
      .trim()
      .split('\n')
      .map((line: string) => JSON.parse(line)),
    listing.data.items,
  );
});

test('an export has a span and filters', async (t) => {
  const usage = memoryUsage();
  const app = await createTestApp(t, { usage, caller: ADMIN });
  await usage.append([1, 2, 3].map((day) => usageRow({ at: Date.UTC(2026, 4, day), user: `u${day}` })));
  const { body } = await app.get(`${EXPORT}?format=json&start=2026-05-02&end=2026-05-03`).expect(200);
  assert.deepEqual(
    body.map((row: { user_id: string }) => row.user_id),
    ['u2'],
  );
  assert.equal((await app.get(`${EXPORT}?format=json&user_id=u3`)).body.length, 1);
});

test('a client that does not read stops the reading of rows, and one that leaves ends it', async (t) => {
  const { store, counts } = endless();
  const app = await createTestApp(t, { usage: store, caller: ADMIN });
  const answer = await askFor(app, `${EXPORT}?format=ndjson`);
  await stalled(counts);
  assert.ok(counts.read < 200_000, `${counts.read} rows were read that nobody took`);
  assert.equal(counts.ended, 0);
  answer.destroy();
  await until(() => counts.ended === 1);
});

test('a slow client has the time it takes: only the store is hurried', async (t) => {
  const { store, counts } = endless();
  const app = await createTestApp(t, { usage: store, caller: ADMIN, limits: { usageMs: 1_000 } });
  const answer = await askFor(app, `${EXPORT}?format=ndjson`);
  await stalled(counts);
  await sleep(1_500);
  assert.equal(counts.ended, 0);
  const { read } = counts;
  answer.resume();
  await until(() => counts.read > read + 5_000);
  answer.destroy();
});

test('an export whose store fails midway is cut off, so that nobody takes it for whole', async (t) => {
  const usage: UsageStore = {
    ...memoryUsage(),
    async *export() {
      for (let row = 0; row < 500; row += 1) yield usageRow();
      throw new Error('gone');
    },
  };
  const app = await createTestApp(t, { usage, caller: ADMIN });
  const answer = await askFor(app, `${EXPORT}?format=json`);
  answer.resume();
  await until(() => answer.closed);
  assert.equal(answer.complete, false);
  assert.equal(app.eventsOf('request.failed')[0]?.code, 'STORAGE_ERROR');
});

test('close() cuts an export off that outlasts it', async (t) => {
  const { store, counts } = endless();
  const app = await createTestApp(t, { usage: store, caller: ADMIN, limits: { drainMs: 100 } });
  const answer = await askFor(app, `${EXPORT}?format=csv`);
  await app.router.close();
  await until(() => counts.ended === 1);
  answer.destroy();
});

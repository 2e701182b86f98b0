import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, test } from 'node:test';
import Database from 'libsql';
import type { UsageStore } from '../../src/core/usage.js';
import { postgresUsage, postgresUsageSchema } from '../../src/usage/postgres.js';
import { sqliteUsage } from '../../src/usage/sqlite.js';
import { createTestApp } from '../support/app.js';
import { startPostgres } from '../support/postgres.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const file = join(await temporaryFolder({ after }), 'usage.db');
const server = await startPostgres({ after });
const pool = server.pool();
await pool.query(postgresUsageSchema);

const STORES: Readonly<Record<string, () => UsageStore>> = {
  SQLite: () => sqliteUsage({ database: new Database(file) }),
  PostgreSQL: () => postgresUsage({ query: (text, values) => pool.query(text, values) }),
};

for (const [name, open] of Object.entries(STORES)) {
  test(`in ${name}, what is drawn through two routers is listed, added up and exported after a restart`, async (t) => {
    const drawing = [await createTestApp(t, { usage: open() }), await createTestApp(t, { usage: open() })];
    const body = { model: 'placeholder/sketch', prompt: 'a', metadata: { project: 'x' } };
    await Promise.all(
      Array.from({ length: 30 }, (_, place) =>
        drawing[place % 2]?.native({ ...body, n: 1 + (place % 2) }).expect(200),
      ),
    );
    await Promise.all(drawing.map(({ router }) => router.close()));

    const app = await createTestApp(t, { usage: open(), caller: { role: 'admin' } });
    const { body: listing } = await app.get('/v1/accounting/usage?limit=20').expect(200);
    assert.equal(listing.data.items.length, 20);
    const rest = await app.get(`/v1/accounting/usage?cursor=${listing.pagination.next_cursor}`).expect(200);
    assert.equal(rest.body.data.items.length, 10);
    const { body: summary } = await app.get('/v1/accounting/usage/summary?period=month').expect(200);
    const [sum] = summary.data;
    assert.deepEqual([sum.request_count, sum.image_count, sum.total_cost], [30, 45, '1.800000']);
    const { body: rows } = await app.get('/v1/accounting/export?format=json').expect(200);
    assert.deepEqual(rows, [...listing.data.items, ...rest.body.data.items]);
    assert.deepEqual(rows[0].metadata, { project: 'x' });
  });
}

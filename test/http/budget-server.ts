/**
 * A server process with the router on a budget store: `budget-server.ts <store> <where> <upstream>`. Prints its URL
 * when it listens. Every API key is a tenant with ten pictures a month.
 */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import express from 'express';
import Database from 'libsql';
import pg from 'pg';
import { postgresBudget } from '../../src/budgets/postgres.js';
import { sqliteBudget } from '../../src/budgets/sqlite.js';
import type { BudgetStore } from '../../src/core/budget.js';
import { imageCount, monthly } from '../../src/core/windows.js';
import { openai } from '../../src/providers/openai.js';
import { createImagesRouter } from '../../src/router.js';
import { memoryStorage } from '../../src/storage/memory.js';

function postgres(connectionString: string): BudgetStore {
  const pool = new pg.Pool({ connectionString });
  return postgresBudget({ query: (text, values) => pool.query(text, values) });
}

/** What many would write: it looks whether there is room, and then adds. */
function checkThenAdd(store: BudgetStore): BudgetStore {
  return {
    ...store,
    async reserve(request) {
      const balances = await store.read(request.lines.map(({ key }) => key));
      const left = balances.map(
        ({ spent, held }, place) => (request.lines[place]?.limit ?? 0) - spent - held,
      );
      const refused = request.lines.flatMap(({ key, amount }, place) =>
        amount > (left[place] ?? 0) ? [{ key, left: Math.max(0, left[place] ?? 0) }] : [],
      );
      if (refused.length > 0) return { ok: false, refused };
      const lines = request.lines.map((line) => ({ ...line, limit: Number.MAX_SAFE_INTEGER }));
      return store.reserve({ ...request, lines });
    },
  };
}

/** Makes the store that is at an address. */
const STORES: Readonly<Record<string, (where: string) => BudgetStore>> = {
  sqlite: (where) => sqliteBudget({ database: new Database(where) }),
  postgres,
  'check-then-add': (where) => checkThenAdd(postgres(where)),
};

const [store = '', where = '', upstream = ''] = process.argv.slice(2);
const budget = STORES[store]?.(where);
if (budget === undefined) throw new Error(`no store named ${store}`);

const app = express();
app.use(
  createImagesRouter({
    providers: [openai({ baseURL: upstream, apiKey: 'upstream-key' })],
    storage: memoryStorage(),
    media: { secrets: 'a secret that only this server knows' },
    identify(req) {
      const tenant = req.get('authorization') ?? 'nobody';
      return { tenant, models: 'all', budgets: [monthly(imageCount(10))] };
    },
    budget,
    // All requests come to the budget at the same time, however many and however slow the machine.
    limits: { concurrency: 1_000, budgetMs: 60_000 },
  }),
);
// Not left behind by a test that ends early.
process.stdin.resume().once('end', () => process.exit());
const server = createServer(app).listen(0, '127.0.0.1');
await once(server, 'listening');
process.stdout.write(`http://127.0.0.1:${(server.address() as AddressInfo).port}\n`);

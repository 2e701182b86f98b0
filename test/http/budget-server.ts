/**
 * A server process with the router on a durable budget store, told by a JSON argument. Prints its URL when it listens.
 * Every API key is a tenant with some pictures and a thousand dollars. A request with the header `X-Stop-At` stops for
 * good where it says, and the process then prints `at <where>`.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import express from 'express';
import type { BudgetStore } from '../../src/core/budget.js';
import type { MediaStorage } from '../../src/core/storage.js';
import { openai } from '../../src/providers/openai.js';
import { createImagesRouter } from '../../src/router.js';
import { filesystem } from '../../src/storage/filesystem.js';
import { budgetsOf, type ServerSettings } from '../support/budget-servers.js';
import { openBudget } from '../support/durable-budgets.js';

const settings: ServerSettings = JSON.parse(process.argv[2] ?? '');
const stops = new AsyncLocalStorage<string | undefined>();

/** Goes on, or never does where the request is to stop here. */
async function pass(where: string): Promise<void> {
  if (stops.getStore() !== where) return;
  process.stdout.write(`at ${where}\n`);
  await new Promise(() => undefined);
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
      // A database that is far away, and busy.
      await sleep(500);
      if (refused.length > 0) return { ok: false, refused };
      const lines = request.lines.map((line) => ({ ...line, limit: Number.MAX_SAFE_INTEGER }));
      return store.reserve({ ...request, lines });
    },
  };
}

function stoppingBudget(store: BudgetStore): BudgetStore {
  return {
    ...store,
    async reserve(request) {
      await pass('before reserve');
      const result = await store.reserve({ ...request, leaseMs: settings.leaseMs ?? request.leaseMs });
      await pass('after reserve');
      return result;
    },
    async commit(...settlement) {
      await pass('before commit');
      const result = await store.commit(...settlement);
      await pass('after commit');
      return result;
    },
  };
}

function stoppingStorage(storage: MediaStorage): MediaStorage {
  return {
    ...storage,
    async put(...object) {
      await pass('before store');
      await storage.put(...object);
      await pass('after store');
    },
  };
}

const store = await openBudget(settings.kind, settings.where);
const app = express();
app.use((req, _res, next) => stops.run(req.get('x-stop-at'), next));
app.use(
  createImagesRouter({
    providers: [openai({ baseURL: settings.upstream, apiKey: 'upstream-key' })],
    storage: stoppingStorage(filesystem({ root: settings.folder })),
    media: { secrets: 'a secret that only these servers know' },
    identify(req) {
      const tenant = req.get('authorization') ?? 'nobody';
      return { tenant, models: 'all', budgets: budgetsOf(settings.limit) };
    },
    budget: stoppingBudget(settings.checkThenAdd ? checkThenAdd(store) : store),
    // All requests come to the budget at the same time, however many and however slow the machine.
    limits: { concurrency: 1_000, budgetMs: 60_000 },
  }),
);
// Not left behind by a test that ends early.
process.stdin.resume().once('end', () => process.exit());
// Room for a flood to arrive at once, and no idle connection ended just when it is used again.
const server = createServer({ keepAliveTimeout: 3_600_000 }, app);
server.listen({ port: 0, host: '127.0.0.1', backlog: 2_048 });
await once(server, 'listening');
process.stdout.write(`http://127.0.0.1:${(server.address() as AddressInfo).port}\n`);

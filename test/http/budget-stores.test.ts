import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { postgresBudgetSchema } from '../../src/budgets/postgres.js';
import { answers, createOpenAIUpstream } from '../support/openai-upstream.js';
import { startPostgres } from '../support/postgres.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const PROGRAM = fileURLToPath(new URL('budget-server.ts', import.meta.url));
const REQUESTS = process.env.SOAK ? 1_000 : 100;
const ROUNDS = process.env.SOAK ? 20 : 1;
const PROCESSES = process.env.SOAK ? [1, 2, 4] : [1, 2];

// The last thing started ends first: servers lose neither database nor upstream while they run.
const started: (() => Promise<void>)[] = [];
const scope = { after: (end: () => Promise<void>) => started.unshift(end) };
after(async () => {
  for (const end of started) await end();
});

const upstream = await createOpenAIUpstream();
scope.after(() => upstream.close());
// Between rounds it would end idle connections, perhaps just when one is used again.
upstream.respondWith((request, response) => {
  response.setHeader('Connection', 'close');
  return answers.pictures()(request, response);
});
const postgres = await startPostgres(scope);
const pool = postgres.pool();
await pool.query(postgresBudgetSchema);

const folder = await temporaryFolder(scope);
const PLACES = {
  sqlite: join(folder, 'budget.db'),
  postgres: postgres.url,
  'check-then-add': postgres.url,
};

/** Starts a server process that is ended when the tests are over; answers its URL. */
async function startServer(store: keyof typeof PLACES): Promise<string> {
  const child = spawn(process.execPath, ['--import', 'tsx', PROGRAM, store, PLACES[store], upstream.url], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const ended = once(child, 'close');
  scope.after(async () => {
    child.kill();
    await ended;
  });
  const [line] = await Promise.race([once(child.stdout, 'data'), ended]);
  assert.ok(Buffer.isBuffer(line), 'the server started');
  return String(line).trim();
}

async function ask(url: string, key: string): Promise<number> {
  const response = await fetch(`${url}/v1/inference/images/generate`, {
    method: 'POST',
    headers: { Authorization: key, 'Content-Type': 'application/json' },
    body: JSON.stringify({ model: 'openai/gpt-image-1', prompt: `a lighthouse for ${key}` }),
  });
  await response.arrayBuffer();
  return response.status;
}

/** Sends all requests at once, in turn to each server, with a new budget for ten; counts answers and drawings. */
async function flood(urls: readonly string[]): Promise<{ statuses: Record<string, number>; drawn: number }> {
  const key = randomUUID();
  const asked = Array.from({ length: REQUESTS }, (_, index) => ask(urls[index % urls.length] ?? '', key));
  const statuses: Record<string, number> = {};
  for (const status of await Promise.all(asked)) statuses[status] = (statuses[status] ?? 0) + 1;
  const drawings = upstream.requests.filter(({ body }) => body.includes(key));
  return { statuses, drawn: drawings.length };
}

const servers = Array.from({ length: Math.max(...PROCESSES) });
const urls = {
  sqlite: await Promise.all(servers.map(() => startServer('sqlite'))),
  postgres: await Promise.all(servers.map(() => startServer('postgres'))),
  'check-then-add': await startServer('check-then-add'),
};

for (const store of ['sqlite', 'postgres'] as const) {
  for (const count of PROCESSES) {
    test(`of ${REQUESTS} requests at once on a budget for ten, ${count} server processes on ${store} send exactly ten on`, async () => {
      for (let round = 0; round < ROUNDS; round += 1) {
        const result = await flood(urls[store].slice(0, count));
        assert.deepEqual(result, { statuses: { 200: 10, 402: REQUESTS - 10 }, drawn: 10 });
      }
    });
  }
}

test('the same flood overspends a ledger that checks first and adds later, so it would show', async () => {
  const { drawn } = await flood([urls['check-then-add']]);
  assert.ok(drawn > 10, `${drawn} pictures were drawn`);
});

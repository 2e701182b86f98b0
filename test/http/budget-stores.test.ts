import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { before, describe, test } from 'node:test';
import { ask, type ServerSettings, startBudgetServer } from '../support/budget-servers.js';
import { DURABLE_KINDS, startBudget } from '../support/durable-budgets.js';
import { endLastFirst } from '../support/ending.js';
import { answers, createOpenAIUpstream } from '../support/openai-upstream.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const REQUESTS = process.env.SOAK ? 1_000 : 100;
const TWINS = process.env.SOAK ? 200 : 40;
const ROUNDS = process.env.SOAK ? 20 : 1;
const PROCESSES = process.env.SOAK ? [1, 2, 4] : [1, 2];

const scope = endLastFirst();
const upstream = await createOpenAIUpstream();
scope.after(() => upstream.close());
// Between rounds it would end idle connections, perhaps just when one is used again.
upstream.respondWith((request, response) => {
  response.setHeader('Connection', 'close');
  return answers.pictures()(request, response);
});
const folder = await temporaryFolder(scope);

function drawnFor(key: string): number {
  return upstream.requests.filter(({ body }) => body.includes(key)).length;
}

/** Sends all requests at once, in turn to each server, with a new budget for ten; counts answers and drawings. */
async function flood(urls: readonly string[]): Promise<{ statuses: Record<string, number>; drawn: number }> {
  const key = randomUUID();
  const asked = Array.from({ length: REQUESTS }, (_, index) =>
    ask({ url: urls[index % urls.length] ?? '', key, prompt: `a lighthouse for ${key}` }),
  );
  const statuses: Record<string, number> = {};
  for (const { status } of await Promise.all(asked)) statuses[status] = (statuses[status] ?? 0) + 1;
  return { statuses, drawn: drawnFor(key) };
}

for (const [kind, skip] of DURABLE_KINDS) {
  describe(`on ${kind}`, { skip }, () => {
    const ending = endLastFirst();
    const urls: string[] = [];
    const start = async (changes: Partial<ServerSettings> = {}) => {
      const settings = { kind, where, folder, upstream: upstream.url, limit: 10, ...changes };
      return (await startBudgetServer(ending, settings)).url;
    };
    let where = '';
    before(async () => {
      where = await startBudget(kind, ending);
      urls.push(...(await Promise.all(Array.from({ length: Math.max(...PROCESSES) }, () => start()))));
    });

    for (const count of PROCESSES) {
      test(`of ${REQUESTS} requests at once on a budget for ten, ${count} server processes send exactly ten on`, async () => {
        for (let round = 0; round < ROUNDS; round += 1) {
          const result = await flood(urls.slice(0, count));
          assert.deepEqual(result, { statuses: { 200: 10, 402: REQUESTS - 10 }, drawn: 10 });
        }
      });

      for (const surface of ['native', 'openai'] as const) {
        test(`the same key ${TWINS} times at once to ${count} server processes draws once and is answered alike (${surface})`, async () => {
          const key = randomUUID();
          const headers = { 'Idempotency-Key': 'once' };
          const asked = Array.from({ length: TWINS }, (_, index) =>
            ask({ url: urls[index % count] ?? '', key, prompt: `a twin of ${key}`, surface, headers }),
          );
          const [first, ...others] = await Promise.all(asked);
          assert.equal(first?.status, 200, JSON.stringify(first));
          for (const other of others) assert.deepEqual(other.lasting, first.lasting);
          assert.equal(drawnFor(key), 1);
          assert.equal([first, ...others].filter(({ replayed }) => !replayed).length, 1);
          if (first.picture) assert.equal((await fetch(first.picture)).status, 200);
        });
      }
    }

    if (kind !== 'sqlite' && !process.env.SOAK) return;
    test('the same flood overspends a ledger that checks first and adds later, so it would show', async () => {
      const { drawn } = await flood([await start({ checkThenAdd: true })]);
      assert.ok(drawn > 10, `${drawn} pictures were drawn`);
    });
  });
}

import assert from 'node:assert/strict';
import { randomInt, randomUUID } from 'node:crypto';
import { before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BudgetStore } from '../../src/core/budget.js';
import { balancesOf, until } from '../support/app.js';
import {
  type Answer,
  ask,
  type BudgetServer,
  callerOf,
  startBudgetServer,
} from '../support/budget-servers.js';
import { DURABLE_KINDS, openBudget, startBudget } from '../support/durable-budgets.js';
import { endLastFirst } from '../support/ending.js';
import { answers, createOpenAIUpstream, jsonBody } from '../support/openai-upstream.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const KILLS = process.env.SOAK ? 100 : 1;
const RANDOM_KILLS = process.env.SOAK ? 100 : 1;
// Servers that are killed side by side, for most of the time is spent waiting for leases to end.
const LANES = process.env.SOAK ? 4 : 1;

/** Where requests stop, in the order in which they come there, and what is then in the ledger. */
const STEPS = [
  ['before reserve', 'nothing'],
  ['after reserve', 'hold'],
  ['dispatch', 'hold'],
  ['answer', 'hold'],
  ['before store', 'hold'],
  ['after store', 'hold'],
  ['before commit', 'hold'],
  ['after commit', 'booking'],
] as const;
const DISPATCHED = STEPS.length - 2;

/** Micro-dollars of what `answers.gptImage()` says it used. */
const COST = 50 * 5 + 1756 * 40;

const scope = endLastFirst();
const upstream = await createOpenAIUpstream();
scope.after(() => upstream.close());
upstream.respondWith((request, response) => {
  response.setHeader('Connection', 'close');
  const { prompt } = jsonBody(request);
  if (String(prompt).endsWith(' dispatch')) return;
  return (String(prompt).endsWith(' answer') ? answers.stall() : answers.gptImage())(request, response);
});
const folder = await temporaryFolder(scope);

function drawnFor(key: string): number {
  return upstream.requests.filter(({ body }) => body.includes(key)).length;
}

/** Runs something so many times in all, in lanes side by side. */
async function inLanes(times: number, run: (times: number) => Promise<void>): Promise<void> {
  await Promise.all(Array.from({ length: LANES }, () => run(times / LANES)));
}

/** What a client knows of its requests: those that were answered, by number. */
type Known = ReadonlyMap<number, Answer>;

/** Asks for what was asked before, with the same keys; tells how many of each kind the answers are. */
async function askAgain(url: string, key: string, prompts: readonly string[], known: Known) {
  const counts = { replayed: 0, unknown: 0, fresh: 0 };
  const asking = prompts.map((prompt, number) =>
    ask({ url, key, prompt, headers: { 'Idempotency-Key': `${number}` } }),
  );
  for (const [number, answer] of (await Promise.all(asking)).entries()) {
    const before = known.get(number);
    if (before?.status === 200) assert.deepEqual(answer.lasting, before.lasting, 'a replay is the same');
    if (answer.replayed) {
      counts.replayed += 1;
      assert.equal((await fetch(answer.picture ?? '')).status, 200, 'its picture is there');
    } else if (answer.status === 409) {
      counts.unknown += 1;
      assert.match(JSON.stringify(answer.lasting), /outcome_unknown/);
    } else {
      counts.fresh += 1;
      assert.notEqual(before?.status, 200, 'what was delivered is known');
    }
  }
  return counts;
}

for (const [kind, skip] of DURABLE_KINDS) {
  describe(`a server on ${kind} that is killed`, { skip }, () => {
    const ending = endLastFirst();
    let where = '';
    let store: BudgetStore;
    before(async () => {
      where = await startBudget(kind, ending);
      store = await openBudget(kind, where);
      ending.after(async () => store.close?.());
    });
    const startServer = (limit: number, leaseMs: number) =>
      startBudgetServer(ending, { kind, where, folder, upstream: upstream.url, limit, leaseMs });

    async function balances(key: string) {
      const { pictures, money } = await balancesOf(store, callerOf(key, 1));
      assert.ok(pictures && money, 'both budgets are there');
      return { pictures, money };
    }

    test(`at each step of a request leaves what is right for it in the ledger (${KILLS} times)`, async () => {
      // One delivered before, one at each step but the first, and no room for another.
      const limit = STEPS.length;
      const start = () => startServer(limit, 2_000);
      const killAtSteps = async (kills: number) => {
        let server = await start();
        for (let kill = 0; kill < kills; kill += 1) {
          const key = randomUUID();
          const prompts = ['delivered', ...STEPS.map(([step]) => step)].map((what) => `${key} ${what}`);
          const send = (number: number, step = '') =>
            ask({
              ...{ url: server.url, key, prompt: prompts[number] ?? '' },
              headers: { 'Idempotency-Key': `${number}`, 'X-Stop-At': step },
            });
          const delivered = await send(0);
          assert.equal(delivered.status, 200, JSON.stringify(delivered));
          const broken = STEPS.map(([step], index) => send(index + 1, step));
          const lost = Promise.allSettled(broken);
          await until(() => drawnFor(key) === 1 + DISPATCHED);
          for (const [step] of STEPS) {
            if (!['dispatch', 'answer'].includes(step)) await server.says(`at ${step}`);
          }
          await server.kill();
          assert.ok(
            (await lost).every(({ status }) => status === 'rejected'),
            'nobody was answered',
          );

          const [next, standing] = [await start(), await balances(key)];
          server = next;
          const { spent, held } = standing.pictures;
          assert.equal(spent + held, limit);
          const refused = await ask({ url: server.url, key, prompt: `${key} more` });
          assert.equal(refused.status, 402, 'no room, neither held nor lapsed');
          await until(async () => (await balances(key)).pictures.held === 0);

          const { pictures, money } = await balances(key);
          assert.deepEqual(pictures, { spent: limit, held: 0 });
          const lapsed = STEPS.filter(([, left]) => left === 'hold').length;
          const ceilings = money.spent - 2 * COST;
          assert.ok(ceilings > lapsed * COST && money.held === 0, `${ceilings} for ${lapsed} lapsed holds`);
          const known = new Map([[0, delivered]]);
          const counts = await askAgain(server.url, key, prompts, known);
          assert.deepEqual(counts, { replayed: 2, unknown: lapsed, fresh: 1 });
          assert.equal(drawnFor(key), 1 + DISPATCHED, 'nothing was drawn again');
        }
        await server.kill();
      };
      await inLanes(KILLS, killAtSteps);
    });

    test(`at any moment is never overspent, and every booking is explained (${RANDOM_KILLS} times)`, async (t) => {
      const [limit, asked] = [20, 24];
      const totals = { delivered: 0, replayed: 0, unknown: 0, fresh: 0 };
      const start = () => startServer(limit, 1_500);
      const killAtRandom = async (kills: number) => {
        let [server, next]: BudgetServer[] = await Promise.all([start(), start()]);
        for (let kill = 0; kill < kills && server && next; kill += 1) {
          const { url } = server;
          const key = randomUUID();
          const prompts = Array.from({ length: asked }, (_, number) => `${key} ${number}.`);
          const known = new Map<number, Answer>();
          const asking = prompts.map(async (prompt, number) => {
            await sleep(randomInt(150));
            known.set(number, await ask({ url, key, prompt, headers: { 'Idempotency-Key': `${number}` } }));
          });
          const over = Promise.allSettled(asking);
          const enough = randomInt(asked);
          await until(() => known.size >= enough);
          await sleep(randomInt(20));
          await server.kill();
          await over;

          const { pictures } = await balances(key);
          assert.ok(pictures.spent + pictures.held <= limit, JSON.stringify(pictures));
          await until(async () => (await balances(key)).pictures.held === 0);
          const { spent } = (await balances(key)).pictures;
          const delivered = [...known.values()].filter(({ status }) => status === 200).length;
          assert.ok(drawnFor(key) <= spent, `${drawnFor(key)} were drawn, and ${spent} booked`);
          const counts = await askAgain(next.url, key, prompts, known);
          assert.ok(counts.replayed >= delivered, 'what was delivered is booked');
          assert.equal(counts.replayed + counts.unknown, spent, JSON.stringify(counts));
          assert.deepEqual((await balances(key)).pictures, { spent: limit, held: 0 });
          totals.delivered += delivered;
          for (const what of ['replayed', 'unknown', 'fresh'] as const) totals[what] += counts[what];
          [server, next] = [next, await start()];
        }
        await Promise.all([server?.kill(), next?.kill()]);
      };
      await inLanes(RANDOM_KILLS, killAtRandom);
      t.diagnostic(JSON.stringify(totals));
    });
  });
}

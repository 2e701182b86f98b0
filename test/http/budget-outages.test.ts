import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { describe, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { postgresBudget, postgresBudgetSchema } from '../../src/budgets/postgres.js';
import { redisBudget } from '../../src/budgets/redis.js';
import type { BudgetStore } from '../../src/core/budget.js';
import { createTestApp, until } from '../support/app.js';
import { startPostgres } from '../support/postgres.js';
import { startRedis, withoutRedis } from '../support/redis.js';

const OUTAGES = process.env.SOAK ? 30 : 1;
const BODY = { model: 'placeholder/sketch', prompt: 'a lighthouse' };
const PRICE = 40_000;

/** A budget store on a server, and what may befall that. */
interface Ledger {
  readonly store: BudgetStore;
  /** Ends the server as a crash does. */
  kill(): Promise<void>;
  /** Starts it again. */
  start(): Promise<void>;
  /** Freezes it: connections stay, and nothing is answered. */
  pause(): Promise<void>;
  /** Ends a pause. */
  resume(): Promise<void>;
}

async function onRedis(t: TestContext): Promise<Ledger> {
  const server = await startRedis(t);
  return {
    store: redisBudget({ send: await server.connect() }),
    start: server.start,
    kill: server.kill,
    pause: async () => server.pause(),
    resume: async () => server.resume(),
  };
}

async function onPostgres(t: TestContext): Promise<Ledger> {
  const server = await startPostgres(t);
  const pool = server.pool({ connectionTimeoutMillis: 1_000, query_timeout: 1_000 });
  await pool.query(postgresBudgetSchema);
  return {
    store: postgresBudget({ query: (text, values) => pool.query(text, values) }),
    start: server.start,
    kill: server.kill,
    pause: async () => server.pause(),
    resume: async () => server.resume(),
  };
}

for (const [name, open, skip] of [
  ['redis', onRedis, withoutRedis],
  ['postgres', onPostgres, false],
] as const) {
  for (const outage of ['killed and started again', 'frozen for a while'] as const) {
    describe(`a ${name} that is ${outage}`, { skip }, () => {
      const down = ({ kill, pause }: Ledger) => (outage === 'frozen for a while' ? pause() : kill());
      const up = ({ start, resume }: Ledger) => (outage === 'frozen for a while' ? resume() : start());

      test('before a request means BUDGET_UNAVAILABLE and no provider call, and leaves nothing behind', async (t) => {
        const ledger = await open(t);
        const app = await createTestApp(t, { budget: ledger.store, limits: { budgetMs: 1_500 } });
        assert.equal((await app.native(BODY)).status, 200);
        await down(ledger);
        const answer = await app.native(BODY);
        assert.equal(answer.body.error?.code, 'BUDGET_UNAVAILABLE', answer.text);
        assert.equal(answer.status, 503);
        assert.equal(app.calls.length, 1);
        await up(ledger);
        await until(async () => (await app.native(BODY)).status === 200);
        const balance = async () => (await app.balances())['monthly-usd-tenant'];
        await until(async () => (await balance())?.held === 0);
        assert.deepEqual(await balance(), { spent: PRICE * 2, held: 0 });
      });

      test('while a picture is drawn delays its booking until the server is back', async (t) => {
        const ledger = await open(t);
        let outageBegan: Promise<void> | undefined;
        const app = await createTestApp(t, {
          budget: ledger.store,
          limits: { budgetMs: 1_500 },
          placeholder: {
            onCall: () => {
              outageBegan = down(ledger);
            },
          },
        });
        const answer = await app.native(BODY);
        assert.equal(answer.status, 200, answer.text);
        await outageBegan;
        assert.ok(app.eventsOf('hold.unsettled').length > 0, 'the commit did not get through');
        await up(ledger);
        await until(() => app.eventsOf('hold.settled').length === 1);
        assert.equal(app.eventsOf('hold.settled')[0]?.action, 'commit');
        assert.deepEqual((await app.balances())['monthly-usd-tenant'], { spent: PRICE, held: 0 });
      });

      test(`amid requests loses and leaks nothing (${OUTAGES} times)`, async (t) => {
        const ledger = await open(t);
        const app = await createTestApp(t, {
          budget: ledger.store,
          limits: { budgetMs: 1_500 },
          placeholder: { delayMs: 20 },
        });
        const counts: Record<string, number> = {};
        let asking = true;
        const work = async () => {
          while (asking) {
            const { status, body } = await app.native(BODY);
            const what = body.error?.code ?? status;
            counts[what] = (counts[what] ?? 0) + 1;
          }
        };
        const over = Promise.all(Array.from({ length: 6 }, work));
        for (let time = 0; time < OUTAGES; time += 1) {
          const delivered = counts[200] ?? 0;
          await until(() => (counts[200] ?? 0) > delivered + 5);
          await sleep(randomInt(50));
          await down(ledger);
          const refused = counts.BUDGET_UNAVAILABLE ?? 0;
          await until(() => (counts.BUDGET_UNAVAILABLE ?? 0) > refused + 5);
          await up(ledger);
        }
        asking = false;
        await over;
        t.diagnostic(JSON.stringify(counts));
        assert.deepEqual(Object.keys(counts).sort(), ['200', 'BUDGET_UNAVAILABLE']);
        assert.equal(app.calls.length, counts[200], 'nothing was drawn for a refused request');
        const balance = async () => (await app.balances())['monthly-usd-tenant'];
        await until(async () => (await balance().catch(() => undefined))?.held === 0);
        await until(async () => (await balance())?.spent === PRICE * (counts[200] ?? 0));
        assert.deepEqual(await balance(), { spent: PRICE * (counts[200] ?? 0), held: 0 });
      });
    });
  }
}

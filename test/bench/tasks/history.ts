/** What a step costs in ledgers and records that remember more and more. */
import Database from 'libsql';
import { memoryBudget } from '../../../src/budgets/memory.js';
import { sqliteBudget } from '../../../src/budgets/sqlite.js';
import type { BudgetStore } from '../../../src/core/budget.js';
import type { UsageRow, UsageStore } from '../../../src/core/usage.js';
import { dayOf } from '../../../src/usage/calendar.js';
import { sqliteUsage } from '../../../src/usage/sqlite.js';
import { answer, readInput } from './input.js';

/** What to measure. */
export interface HistoryInput {
  /** Records there are before each measurement, ascending; the last are those of a year. */
  readonly records: readonly number[];
}

/** CPU microseconds of each step, in the order of {@link HistoryInput.records}. */
export interface HistoryCosts {
  /** A reserve and its commit in memory. */
  readonly memory: readonly number[];
  /** The same in SQLite, a database in memory. */
  readonly sqlite: readonly number[];
  /** Appending a row of usage to SQLite, a database in memory. */
  readonly append: readonly number[];
  /** Summing up the last seven days there. */
  readonly summary: readonly number[];
}

/** How often each step is done: those in memory take next to nothing. */
const IN_MEMORY = 20_000;
const IN_SQLITE = 500;
const SUMMARIES = 50;
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const YEAR_MS = 365 * DAY_MS;
const START = Date.UTC(2025, 0);
/** Requests of an hour, which share a bucket. */
const PER_HOUR = 40;
const BUCKETS = 'tenant/hash/micro_usd/hourly/';
/** Rows that are appended at once to get to where it is measured. */
const BATCH = 500;

/** CPU microseconds of each of so many steps. */
async function costOf(steps: number, step: () => Promise<unknown>): Promise<number> {
  const before = process.cpuUsage();
  for (let count = 0; count < steps; count += 1) await step();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / steps;
}

/** Reserves and books in a bucket of the hour, as requests spread over a year do. Nothing ever expires. */
async function spend(store: BudgetStore, count: number): Promise<void> {
  const key = `${BUCKETS}${Math.floor(count / PER_HOUR) * HOUR_MS}`;
  const id = `hold-${count}`;
  const once = { key: id, fingerprint: id };
  const line = { key, limit: 1e12, amount: 40_000, expiresAt: null };
  const reserved = await store.reserve({ id, once, lines: [line], leaseMs: 60_000 });
  if (!('hold' in reserved)) throw new Error('there is room');
  await store.commit(reserved.hold, [{ key, amount: 30_000 }], '{}');
}

/** Makes records as if there had been the requests of these numbers. */
type Fill = (from: number, to: number) => void;

/** How records are made, and how many steps are measured after that. */
interface Way {
  readonly steps: number;
  readonly fill?: Fill | undefined;
}

async function budgetCosts(
  store: BudgetStore,
  records: readonly number[],
  { steps, fill }: Way,
): Promise<readonly number[]> {
  const costs: number[] = [];
  let count = 0;
  const next = () => spend(store, count++);
  await next();
  for (const wanted of records) {
    if (fill === undefined) while (count < wanted) await next();
    else fill(count, wanted);
    count = Math.max(count, wanted);
    costs.push(await costOf(steps, next));
  }
  await store.close?.();
  return costs;
}

/** As many holds and buckets as so many requests leave behind, by SQL: by requests it would take minutes. */
function filler(database: Database.Database): Fill {
  return (from, to) => {
    if (from >= to) return;
    const counter = (end: number) =>
      `WITH RECURSIVE counter (n) AS (SELECT ${from} UNION ALL SELECT n + 1 FROM counter WHERE n < ${end - 1})`;
    database.exec(`INSERT INTO images_router_holds (id, state, once_key, fingerprint, outcome, lines, due_at)
      ${counter(to)} SELECT 'hold-' || n, 'settled', 'hold-' || n, 'hold-' || n, '{}', '[]',
        (SELECT max(due_at) FROM images_router_holds) FROM counter`);
    database.exec(`INSERT OR IGNORE INTO images_router_buckets (key, spent, held, expires_at)
      ${counter(to)} SELECT DISTINCT '${BUCKETS}' || (n / ${PER_HOUR} * ${HOUR_MS}), 300000, 0, NULL FROM counter`);
  };
}

async function sqliteBudgetCosts(records: readonly number[]): Promise<readonly number[]> {
  const database = new Database(':memory:');
  const way = { steps: IN_SQLITE, fill: filler(database) };
  return await budgetCosts(sqliteBudget({ database }), records, way);
}

function usageRow(count: number, stepMs: number): UsageRow {
  return {
    ...{ id: `usage_${count}`, at: Math.floor(START + count * stepMs), requestId: `req_${count}` },
    ...{ tenant: 'acme', user: `user-${count % 20}`, operation: 'generate' },
    ...{ model: `vendor/model-${count % 5}`, servedBy: `vendor/model-${count % 5}`, backend: 'vendor' },
    ...{ imagesAsked: 1, images: 1, tokensIn: 12, tokensOut: 4160 },
    ...{ costMicroUsd: 40_000, backendCostMicroUsd: 40_000, latencyMs: 9_000, error: undefined, labels: {} },
  };
}

async function usageCosts(
  store: UsageStore,
  records: readonly number[],
): Promise<Pick<HistoryCosts, 'append' | 'summary'>> {
  const append: number[] = [];
  const summary: number[] = [];
  const stepMs = YEAR_MS / (records.at(-1) ?? 1);
  let count = 0;
  const rows = (many: number) => Array.from({ length: many }, () => usageRow(count++, stepMs));
  for (const wanted of records) {
    while (count < wanted) await store.append(rows(Math.min(BATCH, wanted - count)));
    append.push(await costOf(IN_SQLITE, () => store.append(rows(1))));
    const filter = { tenant: 'acme', start: dayOf(START + count * stepMs) - 6 * DAY_MS };
    const sum = () => store.summarize(filter, 'model');
    await costOf(SUMMARIES, sum);
    summary.push(await costOf(SUMMARIES, sum));
  }
  return { append, summary };
}

const { records } = readInput<HistoryInput>();
const inMemory = { steps: IN_MEMORY };
await budgetCosts(memoryBudget(), [0], inMemory);
answer<HistoryCosts>({
  memory: await budgetCosts(memoryBudget(), records, inMemory),
  sqlite: await sqliteBudgetCosts(records),
  ...(await usageCosts(sqliteUsage({ database: new Database(':memory:') }), records)),
});

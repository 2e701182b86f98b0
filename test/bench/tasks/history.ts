/** What a reservation costs in ledgers that remember more and more. */
import Database from 'libsql';
import { memoryBudget } from '../../../src/budgets/memory.js';
import { sqliteBudget } from '../../../src/budgets/sqlite.js';
import type { BudgetStore } from '../../../src/core/budget.js';
import { answer, readInput } from './input.js';

/** What to measure. */
export interface HistoryInput {
  /** Records there are before each measurement, ascending. */
  readonly records: readonly number[];
}

/** CPU microseconds of a reserve and its commit, in the order of {@link HistoryInput.records}. */
export interface HistoryCosts {
  /** In memory. */
  readonly memory: readonly number[];
  /** In SQLite, a database in memory. */
  readonly sqlite: readonly number[];
}

const MEASURED = 2_000;
const WARM_UP = 20_000;
const HOUR_MS = 3_600_000;

/** Reserves and books in a bucket of the hour, as requests spread over a year do. Nothing ever expires. */
async function spend(store: BudgetStore, count: number): Promise<void> {
  const key = `tenant/hash/micro_usd/hourly/${Math.floor(count / 10) * HOUR_MS}`;
  const id = `hold-${count}`;
  const once = { key: id, fingerprint: id };
  const line = { key, limit: 1e12, amount: 40_000, expiresAt: null };
  const reserved = await store.reserve({ id, once, lines: [line], leaseMs: 60_000 });
  if (!('hold' in reserved)) throw new Error('there is room');
  await store.commit(reserved.hold, [{ key, amount: 30_000 }], '{}');
}

async function costsOf(store: BudgetStore, records: readonly number[]): Promise<readonly number[]> {
  const costs: number[] = [];
  let count = 0;
  for (const wanted of records) {
    for (; count < wanted; count += 1) await spend(store, count);
    const before = process.cpuUsage();
    for (const end = count + MEASURED; count < end; count += 1) await spend(store, count);
    const { user, system } = process.cpuUsage(before);
    costs.push((user + system) / MEASURED);
  }
  await store.close?.();
  return costs;
}

const { records } = readInput<HistoryInput>();
await costsOf(memoryBudget(), [WARM_UP]);
answer<HistoryCosts>({
  memory: await costsOf(memoryBudget(), records),
  sqlite: await costsOf(sqliteBudget({ database: new Database(':memory:') }), records),
});

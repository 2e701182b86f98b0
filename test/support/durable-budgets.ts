/** The budget stores that outlive a process, each on a real file or server. */
import { join } from 'node:path';
import Database from 'libsql';
import pg from 'pg';
import { createClient } from 'redis';
import { postgresBudget, postgresBudgetSchema } from '../../src/budgets/postgres.js';
import { redisBudget } from '../../src/budgets/redis.js';
import { sqliteBudget } from '../../src/budgets/sqlite.js';
import type { BudgetStore } from '../../src/core/budget.js';
import { startPostgres } from './postgres.js';
import { startRedis, withoutRedis } from './redis.js';
import { temporaryFolder } from './temporary-folder.js';

/** What can run something when it ends, such as a test. */
interface Scope {
  after(clean: () => Promise<void>): void;
}

// A connection that is lost is what some tests are about.
const ignored = () => undefined;

const OPEN = {
  async sqlite(file) {
    const database = new Database(file);
    return { ...sqliteBudget({ database }), close: async () => void database.close() };
  },
  async postgres(url) {
    const pool = new pg.Pool({ connectionString: url }).on('error', ignored);
    return {
      ...postgresBudget({ query: (text, values) => pool.query(text, values) }),
      close: () => pool.end(),
    };
  },
  async redis(url) {
    // The driver's own patience with a command it could not send yet is 5 seconds: too little for a flood on a busy
    // machine.
    const client = createClient({ url, commandOptions: { timeout: 60_000 } }).on('error', ignored);
    await client.connect();
    return {
      ...redisBudget({ send: (...command) => client.sendCommand(command) }),
      close: async () => client.destroy(),
    };
  },
} satisfies Record<string, (where: string) => Promise<BudgetStore>>;

/** A kind of store. */
export type DurableKind = keyof typeof OPEN;

/** Every kind, and why it cannot be tested here, if so. */
export const DURABLE_KINDS: readonly (readonly [DurableKind, string | false])[] = [
  ['sqlite', false],
  ['postgres', false],
  ['redis', withoutRedis],
];

/** Opens the store at a place, from this process; `close` ends its connections. */
export function openBudget(kind: DurableKind, where: string): Promise<BudgetStore> {
  return OPEN[kind](where);
}

const START = {
  sqlite: async (scope) => join(await temporaryFolder(scope), 'budget.db'),
  async postgres(scope) {
    const server = await startPostgres(scope);
    await server.pool().query(postgresBudgetSchema);
    return server.url;
  },
  redis: async (scope) => `redis://127.0.0.1:${(await startRedis(scope)).port}`,
} satisfies Record<DurableKind, (scope: Scope) => Promise<string>>;

/** Makes a place for an empty ledger, with the server it needs; it is gone when the scope ends. */
export function startBudget(kind: DurableKind, scope: Scope): Promise<string> {
  return START[kind](scope);
}

/**
 * A budget store in a SQLite file: durable, and shared by the processes of one machine. For servers on several
 * machines take a database server instead: no network file system keeps SQLite's locks.
 */
import type { BudgetStore } from '../core/budget.js';
import {
  checkDatabase,
  type SqliteDatabase,
  type SqliteStatement,
  type SqliteValue,
} from '../database/sqlite.js';
import { createTransactions } from '../database/sqlite-transactions.js';
import { checkOnce, checkReserve, checkText } from './arguments.js';
import { openLedger } from './sqlite-ledger.js';

export type { SqliteDatabase, SqliteStatement, SqliteValue };

/** Options of {@link sqliteBudget}. */
export interface SqliteBudgetOptions {
  /**
   * An open connection of `libsql`, `better-sqlite3` or `node:sqlite`, used by nothing else: the store sets its
   * pragmas and runs transactions on it. Whoever opened it closes it, after the router.
   */
  readonly database: SqliteDatabase;
}

/**
 * Keeps budgets in tables of a SQLite database, all named `images_router_…`, made with the first operation. Exact
 * under concurrency, also of several processes on one file, and what it answered survives a crash and a power cut.
 * Operations that come together share a transaction, so that a busy server flushes the disk once for many.
 *
 * A lock of another process is waited for without blocking this one; after 2 seconds the operation rejects with the
 * driver's error. Leases are on the machine's clock, which the processes share.
 *
 * Throws a `ConfigError` for a `database` that is none.
 */
export function sqliteBudget(options: SqliteBudgetOptions): BudgetStore {
  const { read, write } = createTransactions(checkDatabase(options?.database), openLedger);
  return {
    async reserve(request) {
      checkReserve(request);
      // Most reserves that come in a flood are refused, and need no lock for it.
      const answer = await read((ledger) => ledger.look(request));
      return answer ?? write((ledger) => ledger.reserve(request));
    },
    async recall(once) {
      checkOnce(once);
      return read((ledger) => ledger.recall(once));
    },
    async commit(hold, lines, outcome) {
      checkText('hold.id', hold.id);
      return write((ledger) => ledger.commit(hold, lines, outcome));
    },
    async release(id) {
      checkText('id', id);
      return write((ledger) => ledger.release(id));
    },
    read: (keys) => read((ledger) => ledger.read(keys)),
  };
}

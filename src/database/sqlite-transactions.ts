/**
 * Transactions on a SQLite connection whose calls are synchronous. Two things would stall the event loop: waiting for
 * the lock of another process, so that is done with timers; and flushing the disk once for each request, so what
 * comes in the same turn of the loop shares one transaction.
 */
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises';
import type { SqliteDatabase } from './sqlite.js';

/** Runs jobs on what `open` made of the database. A job does not wait and changes nothing outside the database. */
export interface SqliteTransactions<Ledger> {
  /** Runs a job in a transaction that is on disk when the promise resolves; one that throws leaves nothing. */
  write<T>(job: (ledger: Ledger) => T): Promise<T>;
  /** Runs a job that only reads, on one state of the database; it waits for no writer. */
  read<T>(job: (ledger: Ledger) => T): Promise<T>;
}

interface Task<Ledger> {
  readonly run: (ledger: Ledger) => unknown;
  readonly resolve: (value: never) => void;
  readonly reject: (error: unknown) => void;
  /** Rejected when so many milliseconds in all were spent on waiting for locks. */
  readonly givenUpAt: number;
}

const PATIENCE_MS = 2_000;
const LONGEST_PAUSE_MS = 8;
// A pause that took longer was a stall of this process, in which it could not have had the lock.
const LONGEST_COUNTED_MS = 2 * LONGEST_PAUSE_MS;

// A few milliseconds of work: more would be felt by everything else in the process.
const BATCH = 20;

const SQLITE_BUSY = 5;

/** Makes transactions. Nothing is touched before the first job; that one opens the ledger, in a transaction too. */
export function createTransactions<Ledger>(
  database: SqliteDatabase,
  open: (database: SqliteDatabase) => Ledger,
): SqliteTransactions<Ledger> {
  const waiting: Task<Ledger>[] = [];
  let ledger: Ledger | undefined;
  let working = false;
  let waitedMs = 0;

  function runAll(tasks: readonly Task<Ledger>[]): unknown[] {
    if (ledger === undefined) {
      configure(database);
      ledger = transact(database, 'BEGIN IMMEDIATE', () => open(database));
    }
    const opened = ledger;
    return transact(database, 'BEGIN IMMEDIATE', () => tasks.map(({ run }) => run(opened)));
  }

  async function pause(pauses: number): Promise<void> {
    const startedAt = performance.now();
    await sleep(Math.random() * Math.min(2 ** pauses, LONGEST_PAUSE_MS));
    waitedMs += Math.min(performance.now() - startedAt, LONGEST_COUNTED_MS);
  }

  function rejectOverdue(error: unknown): void {
    while (waiting[0] !== undefined && waiting[0].givenUpAt <= waitedMs) waiting.shift()?.reject(error);
  }

  async function work(): Promise<void> {
    let pauses = 0;
    let alone = 0;
    await turn();
    while (waiting.length > 0) {
      const tasks = waiting.slice(0, alone > 0 ? 1 : BATCH);
      try {
        const values = runAll(tasks);
        waiting.splice(0, tasks.length);
        for (const [place, { resolve }] of tasks.entries()) resolve(values[place] as never);
        pauses = 0;
      } catch (error) {
        if (isBusy(error)) {
          pauses += 1;
          rejectOverdue(error);
          await pause(pauses);
          continue;
        }
        if (tasks.length > 1) {
          // Nothing of the batch was kept. Each is tried alone, so that only the one at fault fails.
          alone = tasks.length;
          continue;
        }
        waiting.shift()?.reject(error);
      }
      alone = Math.max(0, alone - 1);
      // Long enough for another process to get the lock, and for this one to do something else.
      await sleep(1);
    }
    working = false;
  }

  function write<T>(job: (ledger: Ledger) => T): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      waiting.push({ run: job, resolve, reject, givenUpAt: waitedMs + PATIENCE_MS });
      if (working) return;
      working = true;
      void work();
    });
  }

  return {
    write,
    async read(job) {
      if (ledger === undefined) return write(job);
      try {
        return transact(database, 'BEGIN', () => job(ledger as Ledger));
      } catch (error) {
        // Rare: another process is recovering the file after a crash.
        if (isBusy(error)) return write(job);
        throw error;
      }
    },
  };
}

/** Throughout, `busy_timeout` 0: SQLite's own waiting would block the process. */
function configure(database: SqliteDatabase): void {
  database.exec('PRAGMA busy_timeout = 0');
  database.exec('PRAGMA journal_mode = WAL');
  database.exec('PRAGMA synchronous = FULL');
}

function transact<T>(database: SqliteDatabase, begin: string, body: () => T): T {
  database.exec(begin);
  try {
    const value = body();
    database.exec('COMMIT');
    return value;
  } catch (error) {
    rollBack(database);
    throw error;
  }
}

function rollBack(database: SqliteDatabase): void {
  try {
    database.exec('ROLLBACK');
  } catch {
    // SQLite rolled back by itself, as it does when the disk is full.
  }
}

/** The primary result code, however the driver says it: as a number that may be an extended one, or as a name. */
function isBusy(error: unknown): boolean {
  const { code, errcode } = error as { readonly code?: unknown; readonly errcode?: unknown };
  if (typeof errcode === 'number') return (errcode & 0xff) === SQLITE_BUSY;
  return typeof code === 'string' && code.startsWith('SQLITE_BUSY');
}

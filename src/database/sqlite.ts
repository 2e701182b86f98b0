/** What stores in SQLite share: the connection they are given, and how rows are read from it. */
import { ConfigError } from '../errors.js';

/** What can be bound to a parameter. */
export type SqliteValue = string | number | null;

/** A prepared statement, as `libsql`, `better-sqlite3` and `node:sqlite` make it. */
export interface SqliteStatement {
  /** Runs a statement that answers no rows. */
  run(...values: SqliteValue[]): unknown;
  /** Runs a statement to its end and answers its rows, as objects. */
  all(...values: SqliteValue[]): unknown[];
}

/** A connection to a SQLite database, as `libsql`, `better-sqlite3` and `node:sqlite` make it. */
export interface SqliteDatabase {
  /** Runs statements without parameters. */
  exec(sql: string): unknown;
  /** Compiles a statement. */
  prepare(sql: string): SqliteStatement;
}

/** The connection a host gave. Throws a `ConfigError` for what is none. */
export function checkDatabase(database: SqliteDatabase): SqliteDatabase {
  const methods = [database?.exec, database?.prepare];
  if (methods.every((method) => typeof method === 'function')) return database;
  throw new ConfigError('database', 'must be a connection with exec and prepare, such as new Database(path)');
}

/** The tables of a store, and the form they have. */
export interface SqliteTables {
  /** What is kept in them, in a word: part of the name of the table that holds `version`. */
  readonly name: string;
  /** The form; a database with another one is not touched. */
  readonly version: number;
  /** Makes them. */
  readonly sql: string;
}

/** Makes tables where there are none. Throws when there are some of another form. */
export function openTables(database: SqliteDatabase, { name, version, sql }: SqliteTables): void {
  const table = `images_router_${name}_version`;
  database.exec(`CREATE TABLE IF NOT EXISTS ${table} (version INTEGER NOT NULL) STRICT`);
  const [found] = rows<{ readonly version: number }>(database.prepare(`SELECT version FROM ${table}`));
  if (found === undefined) {
    database.exec(sql);
    database.exec(`INSERT INTO ${table} (version) VALUES (${version})`);
  } else if (Number(found.version) !== version) {
    throw new Error(`The ${name} tables of this database are version ${found.version}; this is ${version}.`);
  }
}

/**
 * The rows of a statement. Never its `get`: after an `all`, the one of `libsql` runs with the values bound before.
 */
export function rows<Row>(statement: SqliteStatement, ...values: SqliteValue[]): readonly Row[] {
  return statement.all(...values) as Row[];
}

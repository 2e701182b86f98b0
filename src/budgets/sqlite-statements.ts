/** The SQLite budget's tables and every statement on them. */
import { openTables, type SqliteDatabase, type SqliteStatement } from '../database/sqlite.js';

/** One row of `holds`. `dueAt` is when the lease ends while it is pending, and when it may go afterwards. */
export interface HoldRow {
  readonly id: string;
  readonly state: 'pending' | 'lapsed' | 'settled' | 'released';
  readonly fingerprint: string | null;
  readonly outcome: string | null;
  /** JSON: an array of `{ bucket, key, amount }`, empty once settled or released. */
  readonly lines: string;
  readonly dueAt: number;
}

/** What is in a bucket; `lapsed` is the part of `held` whose lease is over. */
export interface BalanceRow {
  readonly spent: number;
  readonly held: number;
  readonly lapsed: number;
}

const TABLES = `
CREATE TABLE images_router_buckets (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  key TEXT NOT NULL UNIQUE,
  spent INTEGER NOT NULL CHECK (spent >= 0),
  held INTEGER NOT NULL CHECK (held >= 0),
  expires_at INTEGER
) STRICT;
CREATE INDEX images_router_buckets_expiring ON images_router_buckets (expires_at)
  WHERE expires_at IS NOT NULL;
CREATE TABLE images_router_holds (
  id TEXT PRIMARY KEY,
  state TEXT NOT NULL CHECK (state IN ('pending', 'lapsed', 'settled', 'released')),
  once_key TEXT UNIQUE,
  fingerprint TEXT,
  outcome TEXT,
  lines TEXT NOT NULL,
  due_at INTEGER NOT NULL
) STRICT;
CREATE INDEX images_router_holds_pending ON images_router_holds (due_at) WHERE state = 'pending';
CREATE INDEX images_router_holds_closed ON images_router_holds (due_at) WHERE state <> 'pending';
`;

const HOLD = 'SELECT id, state, fingerprint, outcome, lines, due_at AS dueAt FROM images_router_holds';

const STATEMENTS = {
  holdById: `${HOLD} WHERE id = ?`,
  holdByOnce: `${HOLD} WHERE once_key = ?`,
  holdsDue: `${HOLD} WHERE state = 'pending' AND due_at <= ? ORDER BY due_at LIMIT 16`,
  balances: `
    SELECT coalesce(bucket.spent, 0) AS spent, coalesce(bucket.held, 0) AS held, (
      SELECT coalesce(sum(json_extract(line.value, '$.amount')), 0)
      FROM images_router_holds AS hold, json_each(hold.lines) AS line
      WHERE hold.state = 'pending' AND hold.due_at <= ?
        AND json_extract(line.value, '$.bucket') = bucket.number
    ) AS lapsed
    FROM json_each(?) AS asked LEFT JOIN images_router_buckets AS bucket ON bucket.key = asked.value
    ORDER BY asked.key`,
  hold: `
    INSERT INTO images_router_buckets (key, spent, held, expires_at) VALUES (?, 0, ?, ?)
    ON CONFLICT (key) DO UPDATE SET held = held + excluded.held,
      expires_at = max(expires_at, excluded.expires_at)
    RETURNING number`,
  book: `
    UPDATE images_router_buckets
    SET held = held - ?, spent = min(max(spent - ?, 0) + ?, ${Number.MAX_SAFE_INTEGER})
    WHERE number = ?`,
  open: `
    INSERT INTO images_router_holds (id, state, once_key, fingerprint, lines, due_at)
    VALUES (?, 'pending', ?, ?, ?, ?)`,
  lapse: `UPDATE images_router_holds SET state = 'lapsed', due_at = ? WHERE id = ?`,
  settle: `
    UPDATE images_router_holds SET state = 'settled', lines = '[]', outcome = ?, due_at = ? WHERE id = ?`,
  release: `
    INSERT INTO images_router_holds (id, state, lines, due_at) VALUES (?, 'released', '[]', ?)
    ON CONFLICT (id) DO UPDATE SET state = excluded.state, lines = excluded.lines, due_at = excluded.due_at,
      once_key = NULL, fingerprint = NULL`,
  forgetHolds: `
    DELETE FROM images_router_holds WHERE id IN (
      SELECT id FROM images_router_holds WHERE state <> 'pending' AND due_at <= ? ORDER BY due_at LIMIT 16)`,
  forgetBuckets: `
    DELETE FROM images_router_buckets WHERE number IN (
      SELECT number FROM images_router_buckets WHERE expires_at <= ? ORDER BY expires_at LIMIT 16)`,
};

/** Every statement, compiled. */
export type Statements = { readonly [Name in keyof typeof STATEMENTS]: SqliteStatement };

/** Makes the tables where there are none, and compiles the statements. Throws when the tables have another form. */
export function openStatements(database: SqliteDatabase): Statements {
  openTables(database, { name: 'budget', version: 1, sql: TABLES });
  const names = Object.keys(STATEMENTS) as (keyof Statements)[];
  const compiled = names.map((name) => [name, database.prepare(STATEMENTS[name])]);
  return Object.fromEntries(compiled) as Statements;
}

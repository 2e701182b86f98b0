/**
 * The SQLite usage's tables and statements. Rows lie in the order of their tenant and time, and are found by their
 * user, model and backend through indexes in the same order. The sums of each day and month are kept up to date with
 * every append, so that a summary reads those, and rows only of days that its span cuts.
 */
import type { UsageFilter, UsageGrouping } from '../core/usage.js';
import {
  openTables,
  rows,
  type SqliteDatabase,
  type SqliteStatement,
  type SqliteValue,
} from '../database/sqlite.js';
import { encodeText } from '../database/text.js';
import type { Span } from './calendar.js';
import {
  type EncodedPlace,
  type NameColumn,
  type NamedColumn,
  namesOf,
  type SumRecord,
  type UsageRecord,
} from './record.js';
import { LARGEST_SUM } from './sums.js';

const SUMS = ['images', 'tokens_in', 'tokens_out', 'cost', 'backend_cost'];
const AMOUNTS = SUMS.join(', ');

const TABLES = `
CREATE TABLE images_router_usage (
  tenant TEXT NOT NULL,
  at INTEGER NOT NULL,
  id TEXT NOT NULL,
  user_id TEXT NOT NULL,
  model TEXT NOT NULL,
  backend TEXT NOT NULL,
  images INTEGER NOT NULL,
  tokens_in INTEGER NOT NULL,
  tokens_out INTEGER NOT NULL,
  cost INTEGER NOT NULL,
  backend_cost INTEGER NOT NULL,
  rest TEXT NOT NULL,
  PRIMARY KEY (tenant, at, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX images_router_usage_user ON images_router_usage (tenant, user_id, at, id);
CREATE INDEX images_router_usage_model ON images_router_usage (tenant, model, at, id);
CREATE INDEX images_router_usage_backend ON images_router_usage (tenant, backend, at, id);
CREATE TABLE images_router_usage_sums (
  tenant TEXT NOT NULL,
  grain TEXT NOT NULL CHECK (grain IN ('day', 'month')),
  since INTEGER NOT NULL,
  user_id TEXT NOT NULL,
  model TEXT NOT NULL,
  backend TEXT NOT NULL,
  requests INTEGER NOT NULL,
  images INTEGER NOT NULL,
  tokens_in INTEGER NOT NULL,
  tokens_out INTEGER NOT NULL,
  cost INTEGER NOT NULL,
  backend_cost INTEGER NOT NULL,
  PRIMARY KEY (tenant, grain, since, user_id, model, backend)
) STRICT, WITHOUT ROWID;
`;

/** The index of each column that names are looked for in. */
const INDEXES = {
  user_id: 'images_router_usage_user',
  model: 'images_router_usage_model',
  backend: 'images_router_usage_backend',
} as const satisfies Record<NameColumn, string>;

const INSERT = `
INSERT INTO images_router_usage (tenant, at, id, user_id, model, backend, ${AMOUNTS}, rest)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO NOTHING RETURNING 1`;

const ADD = `
INSERT INTO images_router_usage_sums (tenant, grain, since, user_id, model, backend, requests, ${AMOUNTS})
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET ${['requests', ...SUMS]
  .map((name) => `${name} = min(${name} + excluded.${name}, ${LARGEST_SUM})`)
  .join(', ')}`;

const FIRST_PERIOD = `
SELECT since FROM images_router_usage_sums
WHERE tenant = ? AND grain = ? AND since >= ? AND since < ? ORDER BY since LIMIT 1`;

// A slice of them stays within 64 bits.
const SUMMED = SUMS.map((name) => `min(sum(${name}), ${LARGEST_SUM}) AS ${name}`);

/** A sum kept for each day and month. */
export type Grain = 'day' | 'month';

/** What is under a key of the sums. */
export type SumKey = readonly [
  tenant: string,
  grain: Grain,
  since: number,
  user: string,
  model: string,
  backend: string,
];

/** Part of a tenant's rows: from a place on, and before another. */
export interface RowSlice {
  /** The first place. */
  readonly from: EncodedPlace;
  /** The place after the last. */
  readonly end: EncodedPlace;
}

/** Where a sum stands within its day or month. */
export type SumPlace = readonly [user: string, model: string, backend: string];

/** Part of the sums of one day or month. */
export interface SumSlice {
  /** Of days or months. */
  readonly grain: Grain;
  /** The start of the day or month. */
  readonly since: number;
  /** The first place. */
  readonly from: SumPlace;
  /** The place after the last; `undefined` for no end. */
  readonly end: SumPlace | undefined;
}

/**
 * How many rows or sums a statement looks at, whether they match or not: a millisecond or two of work. More would be
 * felt by everything else in the process.
 */
const SLICE = 200;

/** The statements, as functions. */
export interface UsageStatements {
  /** Keeps a row; false when it is kept already. */
  insert(record: UsageRecord): boolean;
  /** Adds to a sum. */
  add(key: SumKey, amounts: readonly number[]): void;
  /** Where the youngest slice of some rows begins; `undefined` when they are no more than a slice. */
  lastRows(filter: UsageFilter, rows: RowSlice): EncodedPlace | undefined;
  /** The rows of a slice that match, the youngest first. */
  rows(filter: UsageFilter, slice: RowSlice): readonly UsageRecord[];
  /** What the rows of a slice add up to. */
  sumRows(filter: UsageFilter, slice: RowSlice, by: UsageGrouping): readonly SumRecord[];
  /** The first day or month of a span that has sums. */
  firstPeriod(tenant: string, grain: Grain, span: Span): number | undefined;
  /** Where the first slice of some sums ends; `undefined` when they are no more than a slice. */
  firstSums(filter: UsageFilter, sums: SumSlice): SumPlace | undefined;
  /** What the sums of a slice add up to. */
  sumPeriod(filter: UsageFilter, slice: SumSlice, by: UsageGrouping): readonly SumRecord[];
}

/** A statement and its values. */
type Statement = readonly [text: string, values: readonly SqliteValue[]];

/** The rows of a slice, found by some names, in the order of the index that is taken. */
function rowsWhere(
  tenant: string,
  names: readonly NamedColumn[],
  { from, end }: RowSlice,
): readonly [source: string, values: readonly SqliteValue[]] {
  const [[column] = []] = names;
  // Left to itself SQLite takes the order of time, and looks through all rows for a name that few of them have.
  const index = column === undefined ? '' : `INDEXED BY ${INDEXES[column]}`;
  const source = `images_router_usage ${index}
    WHERE tenant = ? ${equals(names)} AND (at, id) >= (?, ?) AND (at, id) < (?, ?)`;
  return [source, [encodeText(tenant), ...values(names), from.at, from.id, end.at, end.id]];
}

/** The statement behind {@link UsageStatements.lastRows}. */
export function lastRowsStatement(filter: UsageFilter, slice: RowSlice): Statement {
  // Names that the index does not hold are left out, so that rows without them count as well.
  const [source, given] = rowsWhere(filter.tenant, namesOf(filter).slice(0, 1), slice);
  return [`SELECT at, id FROM ${source} ORDER BY at DESC, id DESC LIMIT 1 OFFSET ${SLICE - 1}`, given];
}

/** The statement behind {@link UsageStatements.rows}. */
export function rowsStatement(filter: UsageFilter, slice: RowSlice): Statement {
  const [source, given] = rowsWhere(filter.tenant, namesOf(filter), slice);
  return [`SELECT * FROM ${source} ORDER BY at DESC, id DESC`, given];
}

/** The statement behind {@link UsageStatements.sumRows}, for rows of one day. */
export function sumRowsStatement(filter: UsageFilter, slice: RowSlice, by: UsageGrouping): Statement {
  const [source, given] = rowsWhere(filter.tenant, namesOf(filter), slice);
  const name = by === 'day' || by === 'month' ? 'min(at)' : columnOf(by);
  const group = by === 'day' || by === 'month' ? 'tenant' : name;
  const text = `SELECT ${name} AS name, count(*) AS requests, ${SUMMED.join(', ')} FROM ${source} GROUP BY ${group}`;
  return [text, given];
}

function sumsWhere(
  tenant: string,
  names: readonly NamedColumn[],
  { grain, since, from, end }: SumSlice,
): readonly [source: string, values: readonly SqliteValue[]] {
  const before = end === undefined ? '' : 'AND (user_id, model, backend) < (?, ?, ?)';
  const source = `images_router_usage_sums
    WHERE tenant = ? AND grain = ? AND since = ? ${equals(names)} AND (user_id, model, backend) >= (?, ?, ?) ${before}`;
  return [source, [encodeText(tenant), grain, since, ...values(names), ...from, ...(end ?? [])]];
}

/** The statement behind {@link UsageStatements.firstSums}. */
export function firstSumsStatement(filter: UsageFilter, slice: SumSlice): Statement {
  const { tenant, user } = filter;
  const [source, given] = sumsWhere(tenant, namesOf({ tenant, user }), slice);
  const text = `SELECT user_id, model, backend FROM ${source}
    ORDER BY user_id, model, backend LIMIT 1 OFFSET ${SLICE}`;
  return [text, given];
}

/** The statement behind {@link UsageStatements.sumPeriod}. */
export function sumPeriodStatement(filter: UsageFilter, slice: SumSlice, by: UsageGrouping): Statement {
  const [source, given] = sumsWhere(filter.tenant, namesOf(filter), slice);
  const name = by === 'day' || by === 'month' ? 'since' : columnOf(by);
  const text = `SELECT ${name} AS name, sum(requests) AS requests, ${SUMMED.join(', ')} FROM ${source} GROUP BY 1`;
  return [text, given];
}

function columnOf(by: 'model' | 'user' | 'backend' | 'tenant'): string {
  return by === 'user' ? 'user_id' : by;
}

function equals(names: readonly NamedColumn[]): string {
  return names.map(([column]) => `AND ${column} = ?`).join(' ');
}

function values(names: readonly NamedColumn[]): readonly string[] {
  return names.map(([, name]) => name);
}

/** Makes the tables where there are none, and what compiles each statement once. */
export function openUsage(database: SqliteDatabase): UsageStatements {
  openTables(database, { name: 'usage', version: 1, sql: TABLES });
  const compiled = new Map<string, SqliteStatement>();
  const prepared = (text: string): SqliteStatement => {
    const known = compiled.get(text) ?? database.prepare(text);
    compiled.set(text, known);
    return known;
  };
  const ask = <Row>([text, given]: Statement) => rows<Row>(prepared(text), ...given);
  return {
    insert({ tenant, at, id, user_id, model, backend, rest, ...amounts }) {
      const { images, tokens_in, tokens_out, cost, backend_cost } = amounts;
      const given = [
        tenant,
        at,
        id,
        user_id,
        model,
        backend,
        images,
        tokens_in,
        tokens_out,
        cost,
        backend_cost,
        rest,
      ];
      return ask([INSERT, given]).length > 0;
    },
    add(key, amounts) {
      prepared(ADD).run(...key, ...amounts);
    },
    lastRows(filter, slice) {
      const [found] = ask<Pick<UsageRecord, 'at' | 'id'>>(lastRowsStatement(filter, slice));
      return found && { at: Number(found.at), id: found.id };
    },
    rows: (filter, slice) => ask(rowsStatement(filter, slice)),
    sumRows: (filter, slice, by) => ask(sumRowsStatement(filter, slice, by)),
    firstPeriod(tenant, grain, { start, end }) {
      const given = [encodeText(tenant), grain, start, end];
      const [found] = ask<{ readonly since: number }>([FIRST_PERIOD, given]);
      return found && Number(found.since);
    },
    firstSums(filter, slice) {
      const [found] = ask<Pick<UsageRecord, NameColumn>>(firstSumsStatement(filter, slice));
      return found && [found.user_id, found.model, found.backend];
    },
    sumPeriod: (filter, slice, by) => ask(sumPeriodStatement(filter, slice, by)),
  };
}

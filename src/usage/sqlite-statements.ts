/**
 * The SQLite usage's tables and statements. Rows lie in the order of their tenant and time, and are found by their
 * user, model and backend through indexes in the same order. The sums of each day and month are kept up to date with
 * every append, so that a summary reads those, and rows only of days that its span cuts.
 */
import type { UsageFilter, UsageGrouping, UsagePage } from '../core/usage.js';
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
  type NameColumn,
  type NamedColumn,
  namesOf,
  type SumRecord,
  type UsageRecord,
  upperPlace,
} from './record.js';

const AMOUNTS = 'images, tokens_in, tokens_out, cost, backend_cost';

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
ON CONFLICT DO UPDATE SET requests = requests + excluded.requests, images = images + excluded.images,
  tokens_in = tokens_in + excluded.tokens_in, tokens_out = tokens_out + excluded.tokens_out,
  cost = cost + excluded.cost, backend_cost = backend_cost + excluded.backend_cost`;

const FIRST_PERIOD = `
SELECT since FROM images_router_usage_sums
WHERE tenant = ? AND grain = ? AND since >= ? AND since < ? ORDER BY since LIMIT 1`;

const SUMMED = ['images', 'tokens_in', 'tokens_out', 'cost', 'backend_cost'].map(
  (name) => `sum(${name}) AS ${name}`,
);

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

/** The statements, as functions. */
export interface UsageStatements {
  /** Keeps a row; false when it is kept already. */
  insert(record: UsageRecord): boolean;
  /** Adds to a sum. */
  add(key: SumKey, amounts: readonly number[]): void;
  /** The rows of a page. */
  page(filter: UsageFilter, page: UsagePage): readonly UsageRecord[];
  /** The first day or month of a span that has sums. */
  firstPeriod(tenant: string, grain: Grain, span: Span): number | undefined;
  /** What one day or month adds up to. */
  sumPeriod(
    filter: UsageFilter,
    period: { readonly grain: Grain; readonly since: number },
    by: UsageGrouping,
  ): readonly SumRecord[];
  /** What the rows of a span add up to. */
  sumRows(filter: UsageFilter, span: Span, by: UsageGrouping): readonly SumRecord[];
}

/** The text of the statement behind {@link UsageStatements.page}, and its values. */
export function pageStatement(
  filter: UsageFilter,
  page: UsagePage,
): readonly [string, readonly SqliteValue[]] {
  const names = namesOf(filter);
  const { at, id } = upperPlace(filter, page);
  const [[column] = []] = names;
  // Left to itself SQLite takes the order of time, and looks through all rows for a name that few of them have.
  const index = column === undefined ? '' : `INDEXED BY ${INDEXES[column]}`;
  const text = `SELECT * FROM images_router_usage ${index}
    WHERE tenant = ? ${equals(names)} AND at >= ? AND (at, id) < (?, ?) ORDER BY at DESC, id DESC LIMIT ?`;
  return [text, [encodeText(filter.tenant), ...values(names), filter.start ?? 0, at, id, page.limit]];
}

/** The text of the statement behind {@link UsageStatements.sumPeriod}, and its values. */
export function periodStatement(
  filter: UsageFilter,
  { grain, since }: { readonly grain: Grain; readonly since: number },
  by: UsageGrouping,
): readonly [string, readonly SqliteValue[]] {
  const names = namesOf(filter);
  const name = by === 'day' || by === 'month' ? 'since' : columnOf(by);
  const text = `SELECT ${name} AS name, sum(requests) AS requests, ${SUMMED.join(', ')} FROM images_router_usage_sums
    WHERE tenant = ? AND grain = ? AND since = ? ${equals(names)} GROUP BY 1`;
  return [text, [encodeText(filter.tenant), grain, since, ...values(names)]];
}

/** The text of the statement behind {@link UsageStatements.sumRows}, and its values. */
export function rowsStatement(
  filter: UsageFilter,
  { start, end }: Span,
  by: UsageGrouping,
): readonly [string, readonly SqliteValue[]] {
  const names = namesOf(filter);
  // Spans summed by rows lie within a day.
  const name = by === 'day' || by === 'month' ? 'min(at)' : columnOf(by);
  const group = by === 'day' || by === 'month' ? 'tenant' : name;
  const text = `SELECT ${name} AS name, count(*) AS requests, ${SUMMED.join(', ')} FROM images_router_usage
    WHERE tenant = ? ${equals(names)} AND at >= ? AND at < ? GROUP BY ${group}`;
  return [text, [encodeText(filter.tenant), ...values(names), start, end]];
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
  const ask = <Row>([text, given]: readonly [string, readonly SqliteValue[]]) =>
    rows<Row>(prepared(text), ...given);
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
    page: (filter, page) => ask(pageStatement(filter, page)),
    firstPeriod(tenant, grain, { start, end }) {
      const given = [encodeText(tenant), grain, start, end];
      const [found] = ask<{ readonly since: number }>([FIRST_PERIOD, given]);
      return found && Number(found.since);
    },
    sumPeriod: (filter, period, by) => ask(periodStatement(filter, period, by)),
    sumRows: (filter, span, by) => ask(rowsStatement(filter, span, by)),
  };
}

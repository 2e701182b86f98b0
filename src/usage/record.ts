/**
 * A row as databases keep it: what is searched and added up in columns, the rest as one text. Names are encoded, and an
 * empty one stands for none, so that columns need no NULL, which equals nothing.
 */
import type { UsageFilter, UsageGrouping, UsagePlace, UsageRow } from '../core/usage.js';
import { decodeText, encodeText } from '../database/text.js';
import { dayName, LAST_INSTANT, monthName } from './calendar.js';
import type { Totals } from './sums.js';

/** The columns of a row. Numbers may come back as texts. */
export interface UsageRecord {
  /** Encoded. */
  readonly tenant: string;
  /** Epoch milliseconds. */
  readonly at: number | string;
  /** Encoded. */
  readonly id: string;
  /** Encoded; empty for none. */
  readonly user_id: string;
  /** Encoded. */
  readonly model: string;
  /** Encoded; empty for none. */
  readonly backend: string;
  /** Pictures delivered. */
  readonly images: number | string;
  /** Tokens in. */
  readonly tokens_in: number | string;
  /** Tokens out. */
  readonly tokens_out: number | string;
  /** Micro-dollars. */
  readonly cost: number | string;
  /** Micro-dollars. */
  readonly backend_cost: number | string;
  /** What nobody searches, as JSON. */
  readonly rest: string;
}

type Rest = Pick<
  UsageRow,
  'requestId' | 'operation' | 'servedBy' | 'imagesAsked' | 'latencyMs' | 'error' | 'labels'
>;

/** The columns of a row. */
export function toRecord(row: UsageRow): UsageRecord {
  const { requestId, operation, servedBy, imagesAsked, latencyMs, error, labels } = row;
  const rest: Rest = { requestId, operation, servedBy, imagesAsked, latencyMs, error, labels };
  return {
    tenant: encodeText(row.tenant),
    at: row.at,
    id: encodeText(row.id),
    user_id: encodeText(row.user ?? ''),
    model: encodeText(row.model),
    backend: encodeText(row.backend ?? ''),
    images: row.images,
    tokens_in: row.tokensIn,
    tokens_out: row.tokensOut,
    cost: row.costMicroUsd,
    backend_cost: row.backendCostMicroUsd,
    rest: JSON.stringify(rest),
  };
}

/** The row of these columns. */
export function fromRecord(record: UsageRecord): UsageRow {
  const rest = JSON.parse(record.rest) as Rest;
  return {
    ...rest,
    id: decodeText(record.id),
    at: Number(record.at),
    tenant: decodeText(record.tenant),
    user: nameOf(record.user_id),
    model: decodeText(record.model),
    backend: nameOf(record.backend),
    images: Number(record.images),
    tokensIn: Number(record.tokens_in),
    tokensOut: Number(record.tokens_out),
    costMicroUsd: Number(record.cost),
    backendCostMicroUsd: Number(record.backend_cost),
    error: rest.error,
  };
}

function nameOf(encoded: string): string | undefined {
  return encoded === '' ? undefined : decodeText(encoded);
}

/** The sums of a group as a database answers them. `name` is an instant for days and months. */
export interface SumRecord {
  /** What the rows have in common. */
  readonly name: string | number;
  /** Rows. */
  readonly requests: number | string;
  /** Pictures delivered. */
  readonly images: number | string;
  /** Tokens in. */
  readonly tokens_in: number | string;
  /** Tokens out. */
  readonly tokens_out: number | string;
  /** Micro-dollars. */
  readonly cost: number | string;
  /** Micro-dollars. */
  readonly backend_cost: number | string;
}

/** The amounts of a group. */
export function totalsOfRecord(record: SumRecord): Totals {
  return {
    requests: Number(record.requests),
    images: Number(record.images),
    tokensIn: Number(record.tokens_in),
    tokensOut: Number(record.tokens_out),
    costMicroUsd: Number(record.cost),
    backendCostMicroUsd: Number(record.backend_cost),
  };
}

/** The group a database named. */
export function groupOfRecord({ name }: SumRecord, groupBy: UsageGrouping): string | undefined {
  if (groupBy === 'day') return dayName(Number(name));
  return groupBy === 'month' ? monthName(Number(name)) : nameOf(String(name));
}

/** A column of names that filters may ask for. */
export type NameColumn = 'user_id' | 'model' | 'backend';

/** A column and the name, encoded, that is asked for in it. */
export type NamedColumn = readonly [column: NameColumn, name: string];

/** The names a filter asks for. */
export function namesOf({ user, model, backend }: UsageFilter): readonly NamedColumn[] {
  const names: [NameColumn, string | undefined][] = [
    ['user_id', user],
    ['model', model],
    ['backend', backend],
  ];
  return names.flatMap(([column, name]) => (name === undefined ? [] : [[column, encodeText(name)] as const]));
}

/** Where a row stands among those of its tenant, its id encoded. An empty id is before every row of its instant. */
export interface EncodedPlace {
  /** Epoch milliseconds. */
  readonly at: number;
  /** Encoded. */
  readonly id: string;
}

/** The place before which a page begins: the end of the span, or where the page before ended, whichever is earlier. */
export function upperPlace({ end = LAST_INSTANT }: UsageFilter, after: UsagePlace | undefined): EncodedPlace {
  if (after === undefined || after.at >= end) return { at: end, id: '' };
  return { at: after.at, id: encodeText(after.id) };
}

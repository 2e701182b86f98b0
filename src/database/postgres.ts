/** What stores in PostgreSQL share: how they are given a connection, and what they say of a missing schema. */
import { ConfigError } from '../errors.js';

/** What a statement answered: a `QueryResult` of `pg`, or the like. */
export interface PostgresAnswer {
  /** Rows, as objects. */
  readonly rows: readonly unknown[];
}

/**
 * Runs one statement with `$1` and so on as its parameters, in a transaction of its own. With a `Pool` of `pg`:
 * `(text, values) => pool.query(text, values)`.
 */
export type PostgresQuery = (text: string, values: string[]) => Promise<PostgresAnswer>;

/** The query a host gave. Throws a `ConfigError` for what is none. */
export function checkQuery(query: PostgresQuery): PostgresQuery {
  if (typeof query === 'function') return query;
  throw new ConfigError('query', 'must be a function (text, values) => …');
}

/** What PostgreSQL says of a schema, of a function and of a table that are not there. */
const MISSING: readonly unknown[] = ['3F000', '42883', '42P01'];

/** Runs a statement of which `schema` is the migration: without it, the error says so. */
export async function ask<Row>(
  query: PostgresQuery,
  schema: string,
  ...[text, values]: Parameters<PostgresQuery>
): Promise<readonly Row[]> {
  const { rows } = await query(text, values).catch((cause: unknown) => {
    if (!MISSING.includes((cause as { readonly code?: unknown } | null)?.code)) throw cause;
    throw new Error(`The database lacks what ${schema} makes: run ${schema} in a migration.`, { cause });
  });
  return rows as readonly Row[];
}

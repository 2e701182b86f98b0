/** The PostgreSQL usage's statements. Every value is a text, so that no driver guesses a type. */
import type { UsageFilter, UsageGrouping, UsagePage } from '../core/usage.js';
import { encodeText } from '../database/text.js';
import { partsOf, type Span } from './calendar.js';
import { namesOf, upperPlace } from './record.js';
import { LARGEST_SUM } from './sums.js';

/** A statement and its values. */
export type Statement = readonly [text: string, values: string[]];

const COLUMNS =
  'tenant, at, id, user_id, model, backend, images, tokens_in, tokens_out, cost, backend_cost, rest';

const AMOUNTS = ['images', 'tokens_in', 'tokens_out', 'cost', 'backend_cost'];

/**
 * Keeps rows, given as JSON with the starts of their day and month, and adds those that were not kept already to their
 * sums. Deadlocks cannot arise, because everybody locks in one order: rows by key, then sums by key.
 */
export const APPEND: string = `
WITH given AS (
  SELECT * FROM jsonb_to_recordset($1::jsonb) AS row (
    tenant text, at bigint, id text, user_id text, model text, backend text, images bigint,
    tokens_in bigint, tokens_out bigint, cost bigint, backend_cost bigint, rest text, day bigint, month bigint)
), kept AS (
  INSERT INTO images_router.usage_rows (${COLUMNS})
  SELECT ${COLUMNS} FROM given ORDER BY tenant COLLATE "C", at, id COLLATE "C"
  ON CONFLICT DO NOTHING
  RETURNING *
)
INSERT INTO images_router.usage_sums AS sums
  (tenant, grain, since, user_id, model, backend, requests, images, tokens_in, tokens_out, cost, backend_cost)
SELECT kept.tenant, period.grain, period.since, kept.user_id, kept.model, kept.backend,
  count(*), ${AMOUNTS.map((name) => `least(sum(kept.${name}), ${LARGEST_SUM})`).join(', ')}
FROM kept
JOIN (SELECT DISTINCT at, day, month FROM given) AS times USING (at)
CROSS JOIN LATERAL (VALUES ('day', times.day), ('month', times.month)) AS period (grain, since)
GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2, 3, 4, 5, 6
ON CONFLICT (tenant, grain, since, user_id, model, backend) DO UPDATE SET
  ${['requests', ...AMOUNTS].map((name) => `${name} = least(sums.${name} + excluded.${name}, ${LARGEST_SUM})`).join(', ')}`;

/** Numbers the values of a statement as they are named. */
function parameters() {
  const values: string[] = [];
  return {
    values,
    text: (value: string) => `$${values.push(value)}`,
    number: (value: number) => `$${values.push(String(value))}::bigint`,
  };
}

/** The rows of a page. */
export function pageStatement(filter: UsageFilter, page: UsagePage): Statement {
  const { values, text, number } = parameters();
  const { at, id } = upperPlace(filter, page.after);
  const names = namesOf(filter).map(([column, name]) => `AND ${column} = ${text(name)}`);
  const statement = `SELECT ${COLUMNS} FROM images_router.usage_rows
    WHERE tenant = ${text(encodeText(filter.tenant))} ${names.join(' ')} AND at >= ${number(filter.start ?? 0)}
      AND (at, id) < (${number(at)}, ${text(id)}) ORDER BY at DESC, id DESC LIMIT ${number(page.limit)}`;
  return [statement, values];
}

const DAY_MS = 86_400_000;

/** What all that matches adds up to: months and days by their sums, what is left by its rows. */
export function summaryStatement(filter: UsageFilter, groupBy: UsageGrouping): Statement {
  const { values, text, number } = parameters();
  const tenant = text(encodeText(filter.tenant));
  const names = namesOf(filter).map(([column, name]) => `AND ${column} = ${text(name)}`);
  const { months, days, rest } = partsOf(filter.start, filter.end);
  const byTime = groupBy === 'day' || groupBy === 'month';
  const name = groupBy === 'user' ? 'user_id' : groupBy;
  const within = (column: string, { start, end }: Span) =>
    `WHERE tenant = ${tenant} ${names.join(' ')} AND ${column} >= ${number(start)} AND ${column} < ${number(end)}`;
  const ofPeriods = (grain: 'day' | 'month', span: Span) =>
    `SELECT ${byTime ? 'since' : name} AS name, requests, ${AMOUNTS.join(', ')} FROM images_router.usage_sums
      ${within('since', span)} AND grain = '${grain}'`;
  const ofRows = (span: Span) =>
    `SELECT ${byTime ? `at - at % ${DAY_MS}` : name} AS name, 1 AS requests, ${AMOUNTS.join(', ')}
      FROM images_router.usage_rows ${within('at', span)}`;
  const parts = [
    // Months do not say which of their days it was.
    ofPeriods(groupBy === 'day' ? 'day' : 'month', months),
    ...days.map((span) => ofPeriods('day', span)),
    ...rest.map(ofRows),
  ];
  const sums = ['requests', ...AMOUNTS].map(
    (amount) => `least(sum(${amount}), ${LARGEST_SUM})::text AS ${amount}`,
  );
  const statement = `SELECT name, ${sums.join(', ')} FROM (${parts.join(' UNION ALL ')}) AS part GROUP BY name`;
  return [statement, values];
}

/** What was drawn and what it cost: the rows of usage, and their sums. */
import type { Caller } from '../core/caller.js';
import type { Deadlines } from '../core/deadline.js';
import { formatUsd } from '../core/prices.js';
import type { UsageFilter, UsagePlace, UsageRow, UsageStore, UsageSum } from '../core/usage.js';
import { invalid } from '../core/validation.js';
import { within } from '../core/wait.js';
import { ImagesError } from '../errors.js';
import { sendJson } from './exchange.js';
import type { Handler } from './handle.js';
import type { Intake } from './intake.js';
import { cursorAfter, pageOf } from './page.js';
import { queryOf } from './query.js';
import { choiceOf, usageFilterOf } from './usage-query.js';

/** What usage endpoints take. */
export interface UsageOptions {
  /** The steps before. */
  readonly intake: Intake;
  /** Where rows are. */
  readonly usage: UsageStore;
  /** The store has this long to answer. */
  readonly usageMs: number;
  /** Knows when to stop. */
  readonly deadlines: Deadlines;
}

/** A row as on the wire. What the vendor took is not in it: it is the host's own affair. */
export interface UsageItem {
  /** Its own id. */
  readonly id: string;
  /** The id the client was told. */
  readonly request_id: string;
  /** ISO 8601. */
  readonly created_at: string;
  /** Whose. */
  readonly tenant_id: string;
  /** Who asked. */
  readonly user_id: string | null;
  /** `generate` or `edit`. */
  readonly operation: string;
  /** The slug asked for. */
  readonly model: string;
  /** The slug that drew. */
  readonly served_by: string;
  /** The provider's name. */
  readonly backend_id: string | null;
  /** Pictures asked for. */
  readonly images_requested: number;
  /** Pictures delivered. */
  readonly images: number;
  /** Tokens in. */
  readonly tokens_in: number;
  /** Tokens out. */
  readonly tokens_out: number;
  /** Dollars, as a decimal string. */
  readonly cost: string;
  /** Milliseconds. */
  readonly latency_ms: number;
  /** The code it ended in, when nothing was delivered. */
  readonly error: string | null;
  /** What the client sent along. */
  readonly metadata: UsageRow['labels'];
}

/** Puts a row in the words of the wire. */
export function usageItem(row: UsageRow): UsageItem {
  return {
    id: row.id,
    request_id: row.requestId,
    created_at: new Date(row.at).toISOString(),
    tenant_id: row.tenant,
    user_id: row.user ?? null,
    operation: row.operation,
    model: row.model,
    served_by: row.servedBy,
    backend_id: row.backend ?? null,
    images_requested: row.imagesAsked,
    images: row.images,
    tokens_in: row.tokensIn,
    tokens_out: row.tokensOut,
    cost: formatUsd(row.costMicroUsd),
    latency_ms: row.latencyMs,
    error: row.error ?? null,
    metadata: row.labels,
  };
}

/** The error for a usage store that fails or hangs. */
export function unreadable(cause: unknown): ImagesError {
  return new ImagesError('STORAGE_ERROR', 'The usage cannot be read at the moment.', { cause });
}

/** What a usage store answers, or `STORAGE_ERROR`. */
function fromStore<T>(ask: (signal: AbortSignal) => Promise<T>, usageMs: number): Promise<T> {
  const over = new AbortController();
  const late = () => new Error(`the usage store did not answer within ${usageMs} ms`);
  return within((async () => ask(over.signal))(), usageMs, late)
    .catch((cause: unknown) => {
      throw unreadable(cause);
    })
    .finally(() => over.abort());
}

/** The rows a caller may see of those it asks for; `undefined` for none. */
function visible(filter: UsageFilter, { role, user }: Caller): UsageFilter | undefined {
  if (role === 'admin') return filter;
  if (user === undefined || (filter.user !== undefined && filter.user !== user)) return undefined;
  return { ...filter, user };
}

/** Where the page before ended. Throws `VALIDATION_ERROR` for a cursor of another listing. */
function placeOf(after: string | undefined): UsagePlace | undefined {
  if (after === undefined) return undefined;
  const [, at, id] = /^(\d{1,16}) (.+)$/s.exec(after) ?? [];
  if (id !== undefined && Number.isSafeInteger(Number(at))) return { at: Number(at), id };
  throw invalid([{ field: 'cursor', message: 'expected the next_cursor of the page before' }]);
}

/** `GET /v1/accounting/usage`: one's own rows, or an admin's tenant's, a page at a time. */
export function usageHandler({ intake, usage, usageMs }: UsageOptions): Handler {
  return async (exchange) => {
    const { req, res, requestId } = exchange;
    const caller = await intake.caller(exchange, 'viewer');
    const query = queryOf(req);
    const { limit, after } = pageOf(query);
    const filter = visible(usageFilterOf(query, caller), caller);
    // One more than is shown tells whether there are more.
    const page = { limit: limit + 1, after: placeOf(after) };
    const ask = async (signal: AbortSignal) =>
      filter === undefined ? [] : usage.query(filter, page, signal);
    const rows = await fromStore(ask, usageMs);
    const shown = rows.slice(0, limit);
    const last = shown.at(-1);
    const hasMore = rows.length > limit && last !== undefined;
    sendJson(res, 200, {
      status: 'ok',
      data: { items: shown.map(usageItem) },
      pagination: { has_more: hasMore, next_cursor: hasMore ? cursorAfter(`${last.at} ${last.id}`) : null },
      meta: { request_id: requestId },
    });
  };
}

function sumItem({ group, requests, images, tokensIn, tokensOut, ...costs }: UsageSum): object {
  return {
    group_key: group ?? null,
    request_count: requests,
    image_count: images,
    input_tokens: tokensIn,
    output_tokens: tokensOut,
    total_tokens: tokensIn + tokensOut,
    total_cost: formatUsd(costs.costMicroUsd),
    backend_cost: formatUsd(costs.backendCostMicroUsd),
  };
}

/** By name; rows without one come last. */
function byGroup({ group: a }: UsageSum, { group: b }: UsageSum): number {
  if (a === undefined || b === undefined) return a === b ? 0 : a === undefined ? 1 : -1;
  return a < b ? -1 : 1;
}

/** `GET /v1/accounting/usage/summary`: a tenant's usage added up. */
export function usageSummaryHandler({ intake, usage, usageMs }: UsageOptions): Handler {
  return async (exchange) => {
    const { req, res, requestId } = exchange;
    const caller = await intake.caller(exchange, 'admin');
    const query = queryOf(req);
    const groupBy = choiceOf(query, 'group_by', ['model', 'user', 'backend', 'tenant', 'day', 'month']);
    const filter = usageFilterOf(query, caller);
    const sums = await fromStore((over) => usage.summarize(filter, groupBy, over), usageMs);
    const data = [...sums].sort(byGroup).map(sumItem);
    sendJson(res, 200, { status: 'ok', data, meta: { request_id: requestId } });
  };
}

/**
 * The usage contract: who had what drawn, by whom, and what it cost. A report for people and invoices; whether a
 * request may be paid is the budget's to know, never asked here. A prompt is in none of it. Types only.
 */
import type { ErrorCode } from '../errors.js';
import type { Metadata, Operation } from './image.js';

/** Keeps rows of usage. */
export interface UsageStore {
  /**
   * Keeps rows, all or none, and for good: they are there when the promise resolves. A row whose `id` is kept already
   * changes nothing, so that whoever lost an answer appends again; a repeated row equals the first in every field.
   * Rows come in any order, also long after others that are younger.
   */
  append(rows: readonly UsageRow[]): Promise<void>;
  /**
   * The youngest rows first, at most `limit` of those that follow `after`. Rows of one instant are in an order of
   * the store's own that never changes. Going on after the last row of a page meets every row that was there at the
   * start exactly once, whatever is appended meanwhile. When `signal` aborts, nobody waits for the answer any more: a
   * store that would read on may reject instead.
   */
  query(filter: UsageFilter, page: UsagePage, signal?: AbortSignal): Promise<readonly UsageRow[]>;
  /**
   * Sums of the rows that match, a group each, in any order; no groups where no row matches. Exact to the row and to
   * the millisecond, and as quick after years as on the first day. `signal` as in {@link UsageStore.query}.
   */
  summarize(filter: UsageFilter, groupBy: UsageGrouping, signal?: AbortSignal): Promise<readonly UsageSum[]>;
  /**
   * Every row that matches, in the order of {@link UsageStore.query}, read as they are asked for, so that they may be
   * more than fit in memory. Whoever stops early calls `return`, as `for await` does, and the reading ends. `signal`
   * as in {@link UsageStore.query}.
   */
  export(filter: UsageFilter, signal?: AbortSignal): AsyncIterable<UsageRow>;
  /** Frees what it holds. No call follows. */
  close?(): Promise<void>;
}

/** What came of one request that was let through its budgets. Amounts are safe integers of 0 or more. */
export interface UsageRow {
  /** Unique for ever; not empty. */
  readonly id: string;
  /** Epoch milliseconds at which the request was over. */
  readonly at: number;
  /** The id the client was told, which a client may have chosen and repeated. */
  readonly requestId: string;
  /** Whose; not empty. */
  readonly tenant: string;
  /** The person or key within the tenant; not empty. */
  readonly user: string | undefined;
  /** What was asked for. */
  readonly operation: Operation;
  /** The slug asked for; not empty. */
  readonly model: string;
  /** The slug that drew. */
  readonly servedBy: string;
  /** The name of the provider that drew most of it; `undefined` when none was called. Not empty. */
  readonly backend: string | undefined;
  /** Pictures asked for. */
  readonly imagesAsked: number;
  /** Pictures delivered. */
  readonly images: number;
  /** Tokens the vendor counted in what it was sent. */
  readonly tokensIn: number;
  /** Tokens the vendor counted in what it drew. */
  readonly tokensOut: number;
  /** Booked, in micro-dollars. */
  readonly costMicroUsd: number;
  /** What the vendor takes for it, in micro-dollars: the same, unless the host has a price of its own. */
  readonly backendCostMicroUsd: number;
  /** Whole milliseconds from the request's arrival to its end. */
  readonly latencyMs: number;
  /** What the request ended in when nothing was delivered; `CLIENT_LEFT` when nobody was there to be told. */
  readonly error: ErrorCode | 'CLIENT_LEFT' | undefined;
  /** What the client sent along as `metadata`. */
  readonly labels: Metadata;
}

/** Which rows: those that match everything said. There is no way to ask for those of several tenants. */
export interface UsageFilter {
  /** Whose. */
  readonly tenant: string;
  /** The person or key within the tenant. @defaultValue everybody, nobody in particular included */
  readonly user?: string | undefined;
  /** The slug asked for. @defaultValue all */
  readonly model?: string | undefined;
  /** The provider's name. @defaultValue all, none included */
  readonly backend?: string | undefined;
  /** From this instant on, in epoch milliseconds. @defaultValue the beginning */
  readonly start?: number | undefined;
  /** Before this instant, in epoch milliseconds. @defaultValue no end */
  readonly end?: number | undefined;
}

/** Where a row stands among those of its tenant. */
export type UsagePlace = Pick<UsageRow, 'at' | 'id'>;

/** Which rows of those that match. */
export interface UsagePage {
  /** At most how many; 1 or more. */
  readonly limit: number;
  /** The last row of the page before, or its place. @defaultValue the first page */
  readonly after?: UsagePlace | undefined;
}

/** What rows are put together by. Days and months are those of UTC. */
export type UsageGrouping = 'model' | 'user' | 'backend' | 'tenant' | 'day' | 'month';

/** The sums of a group. */
export interface UsageSum {
  /** What its rows have in common: a name, `2026-05-14` or `2026-05`; `undefined` for rows without. */
  readonly group: string | undefined;
  /** Rows. */
  readonly requests: number;
  /** Pictures delivered. */
  readonly images: number;
  /** Tokens in. */
  readonly tokensIn: number;
  /** Tokens out. */
  readonly tokensOut: number;
  /** Micro-dollars booked. */
  readonly costMicroUsd: number;
  /** Micro-dollars the vendors take. */
  readonly backendCostMicroUsd: number;
}

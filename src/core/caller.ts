/** Who is asking, what they may use and who pays: what the host's `identify` answers. Types only. */
import type { MicroUsd } from './image.js';

/** What a caller may do; each role includes the ones before it. */
export type Role = 'viewer' | 'user' | 'admin';

/** Who is asking. Lists are never empty: unlimited is written out. */
export interface Caller {
  /** Whose media, models, usage and budgets these are. 1 to 256 characters. */
  readonly tenant: string;
  /** The person or key within the tenant. */
  readonly user?: string | undefined;
  /** @defaultValue `'user'` */
  readonly role?: Role | undefined;
  /** Slugs this caller may use; `*` matches any run of characters (`openai/*`). */
  readonly models: readonly string[] | 'all';
  /** Every budget that must have room for a request. */
  readonly budgets: readonly [Budget, ...Budget[]] | 'unlimited';
}

/** How long a budget's bucket lasts. */
export type BudgetWindow = 'minute' | 'hour' | 'day' | 'month' | 'total';

/** Whose spending a bucket adds up. */
export type BudgetScope = 'tenant' | 'user' | 'everyone';

/** An amount of pictures, made by `imageCount()`. */
export interface ImageCount {
  /** Whole, at least 1. */
  readonly images: number;
}

/** What a budget limits: money or pictures. */
export type BudgetAmount = MicroUsd | ImageCount;

/** A limit on one unit over one window, relative to the caller. Made by `daily()` and its siblings. */
export interface Budget {
  /** How long a bucket lasts. */
  readonly window: BudgetWindow;
  /** Money in micro-dollars, or pictures. */
  readonly unit: 'usd' | 'images';
  /** In `unit`; a safe integer ≥ 0. */
  readonly limit: number;
  /** Whose spending it adds up. */
  readonly per: BudgetScope;
  /** Share of the limit (0 to 1) at which an event is raised. */
  readonly softLimit: number | undefined;
  /** IANA name of the zone in which days and months begin. */
  readonly timeZone: string;
  /** Shows in answers and is part of the ledger key. */
  readonly name: string;
}

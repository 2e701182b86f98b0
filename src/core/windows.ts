/** Budget windows: how hosts write them, and which bucket of the calendar an instant falls into. */
import { ConfigError } from '../errors.js';
import type { Budget, BudgetAmount, BudgetScope, BudgetWindow, ImageCount } from './caller.js';
import type { MicroUsd } from './image.js';

const MICRO = 1_000_000;

/**
 * US dollars as integer micro-dollars, rounded to the nearest; throws `ConfigError` for anything but a finite
 * number from 0 to 9 billion.
 */
export function usd(dollars: number): MicroUsd {
  const micro = typeof dollars === 'number' ? Math.round(dollars * MICRO) : Number.NaN;
  if (!(micro >= 0) || !Number.isSafeInteger(micro)) {
    throw new ConfigError('usd()', `expected an amount of US dollars from 0 to 9 billion, got ${dollars}`);
  }
  return micro as MicroUsd;
}

/** An amount of pictures; throws `ConfigError` for anything but a whole number of at least 1. */
export function imageCount(images: number): ImageCount {
  if (!Number.isSafeInteger(images) || images < 1) {
    throw new ConfigError('imageCount()', `expected a whole number of pictures, at least 1, got ${images}`);
  }
  return { images };
}

/** What a budget may be told beside its amount. */
export interface BudgetOptions {
  /** Whose spending it adds up. @defaultValue `'tenant'` */
  readonly per?: BudgetScope | undefined;
  /** Share of the limit, above 0 and at most 1, at which a `budget.soft_limit` event is raised. @defaultValue none */
  readonly softLimit?: number | undefined;
  /** IANA name of the zone in which days and months begin. @defaultValue `'UTC'` */
  readonly timeZone?: string | undefined;
  /**
   * Shows in answers and is part of the ledger key; letters, digits, `-` and `_`.
   * @defaultValue such as `daily-usd-user`
   */
  readonly name?: string | undefined;
}

const WINDOW_NAMES = {
  minute: 'per-minute',
  hour: 'hourly',
  day: 'daily',
  month: 'monthly',
  total: 'total',
} as const satisfies Record<BudgetWindow, string>;

const SCOPES: readonly BudgetScope[] = ['tenant', 'user', 'everyone'];

// Callers are checked on every request, and looking a time zone up costs far more than all the rest.
const CHECKED = Symbol('checked budget');

function createBudget(window: BudgetWindow, amount: BudgetAmount, options: BudgetOptions = {}): Budget {
  const unit = typeof amount === 'number' ? 'usd' : 'images';
  const limit = typeof amount === 'number' ? amount : amount.images;
  const per = options.per ?? 'tenant';
  const budget: Budget = {
    window,
    unit,
    limit,
    per,
    softLimit: options.softLimit,
    timeZone: options.timeZone ?? 'UTC',
    name: options.name ?? `${WINDOW_NAMES[window]}-${unit}-${per}`,
  };
  checkBudget(budget, `${WINDOW_NAMES[window]}()`);
  return Object.freeze(Object.defineProperty(budget, CHECKED, { value: true }));
}

/** Throws `ConfigError` at `path` when a budget is not one these functions could have made. */
export function checkBudget(budget: Budget, path: string): void {
  if (typeof budget !== 'object' || budget === null)
    throw new ConfigError(path, 'expected a budget such as daily(usd(5))');
  if (CHECKED in budget) return;
  if (!Object.hasOwn(WINDOW_NAMES, budget.window)) {
    throw new ConfigError(`${path}.window`, 'is not a known window');
  }
  if (budget.unit !== 'usd' && budget.unit !== 'images') {
    throw new ConfigError(`${path}.unit`, "expected 'usd' or 'images'");
  }
  if (!Number.isSafeInteger(budget.limit) || budget.limit < 0) {
    throw new ConfigError(`${path}.limit`, 'expected an amount made by usd() or imageCount()');
  }
  if (!SCOPES.includes(budget.per))
    throw new ConfigError(`${path}.per`, `expected one of ${SCOPES.join(', ')}`);
  if (budget.softLimit !== undefined && !(budget.softLimit > 0 && budget.softLimit <= 1)) {
    throw new ConfigError(`${path}.softLimit`, 'expected a share above 0 and at most 1');
  }
  if (!/^[A-Za-z0-9_-]{1,64}$/.test(budget.name)) {
    throw new ConfigError(`${path}.name`, 'expected 1 to 64 letters, digits, - or _');
  }
  if (budget.timeZone !== 'UTC') checkTimeZone(budget.timeZone, `${path}.timeZone`);
}

function checkTimeZone(timeZone: string, path: string): void {
  try {
    new Intl.DateTimeFormat('en-CA', { timeZone });
  } catch {
    throw new ConfigError(path, `expected an IANA time zone such as Europe/Berlin, got ${timeZone}`);
  }
}

/** A budget over one minute of the clock. Of pictures, it answers `RATE_LIMITED` when used up. */
export function perMinute(amount: BudgetAmount, options?: BudgetOptions): Budget {
  return createBudget('minute', amount, options);
}

/** A budget over one hour of the clock. Of pictures, it answers `RATE_LIMITED` when used up. */
export function hourly(amount: BudgetAmount, options?: BudgetOptions): Budget {
  return createBudget('hour', amount, options);
}

/** A budget over one day of `timeZone`. */
export function daily(amount: BudgetAmount, options?: BudgetOptions): Budget {
  return createBudget('day', amount, options);
}

/** A budget over one month of `timeZone`. */
export function monthly(amount: BudgetAmount, options?: BudgetOptions): Budget {
  return createBudget('month', amount, options);
}

/** A budget that never starts again. */
export function total(amount: BudgetAmount, options?: BudgetOptions): Budget {
  return createBudget('total', amount, options);
}

/** One turn of a window. */
export interface Turn {
  /** Names the turn within its window, such as `2026-11-22`. */
  readonly label: string;
  /** Epoch milliseconds at which the next turn begins; `null` never. */
  readonly resetsAt: number | null;
}

/** Finds the turn of a window an instant falls into. */
export interface Calendar {
  /** The turn of a budget's window at an instant (epoch milliseconds). */
  turn(budget: Pick<Budget, 'window' | 'timeZone'>, at: number): Turn;
}

const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;
const DAY_MS = 86_400_000;

function clockTurn(at: number, lengthMs: number): Turn {
  const start = Math.floor(at / lengthMs) * lengthMs;
  return { label: new Date(start).toISOString().slice(0, 16), resetsAt: start + lengthMs };
}

/**
 * Makes a calendar. It remembers formatters and boundaries of zones, because making one costs far more than asking it.
 */
export function createCalendar(): Calendar {
  const formatters = new Map<string, Intl.DateTimeFormat>();
  const boundaries = new Map<string, number>();

  function localDate(timeZone: string, at: number): string {
    if (timeZone === 'UTC') return new Date(at).toISOString().slice(0, 10);
    let formatter = formatters.get(timeZone);
    if (formatter === undefined) {
      // The Canadian locale writes dates as YYYY-MM-DD.
      formatter = new Intl.DateTimeFormat('en-CA', {
        timeZone,
        year: 'numeric',
        month: '2-digit',
        day: '2-digit',
      });
      formatters.set(timeZone, formatter);
    }
    return formatter.format(at);
  }

  function dateTurn(timeZone: string, at: number, labelLength: 7 | 10): Turn {
    const labelAt = (instant: number) => localDate(timeZone, instant).slice(0, labelLength);
    const label = labelAt(at);
    const memo = `${timeZone} ${label}`;
    let resetsAt = boundaries.get(memo);
    if (resetsAt === undefined) {
      // Searching for the first instant with another date needs no table of offsets, and is right where daylight
      // saving makes days of 23 or 25 hours or skips midnight itself.
      let before = at;
      let after = at + (labelLength === 10 ? 2 : 33) * DAY_MS;
      while (after - before > 1) {
        const middle = Math.floor((before + after) / 2);
        if (labelAt(middle) === label) before = middle;
        else after = middle;
      }
      resetsAt = after;
      if (boundaries.size > 1000) boundaries.clear();
      boundaries.set(memo, resetsAt);
    }
    return { label, resetsAt };
  }

  return {
    turn({ window, timeZone }, at) {
      if (window === 'minute') return clockTurn(at, MINUTE_MS);
      if (window === 'hour') return clockTurn(at, HOUR_MS);
      if (window === 'total') return { label: '-', resetsAt: null };
      return dateTurn(timeZone, at, window === 'day' ? 10 : 7);
    },
  };
}

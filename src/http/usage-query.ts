/** What the queries of usage ask for. */
import type { Caller } from '../core/caller.js';
import type { UsageFilter } from '../core/usage.js';
import { invalid } from '../core/validation.js';
import type { ErrorDetail } from '../errors.js';

/** A date, or a date and time with its zone: without one, nobody could say which instant is meant. */
const INSTANT = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d{1,3})?)?(Z|[+-]\d{2}:\d{2}))?$/;

const PERIODS: Readonly<Record<string, (now: Date) => number>> = {
  hour: (now) => startOfDay(now, 0) + now.getUTCHours() * 3_600_000,
  day: (now) => startOfDay(now, 0),
  // Weeks begin on Monday, as in ISO 8601.
  week: (now) => startOfDay(now, -((now.getUTCDay() + 6) % 7)),
  month: (now) => Date.UTC(now.getUTCFullYear(), now.getUTCMonth()),
};

const NAMES = { user_id: 'user', model: 'model', backend_id: 'backend' } as const;
const MAX_NAME = 256;

function startOfDay(now: Date, days: number): number {
  return Date.UTC(now.getUTCFullYear(), now.getUTCMonth(), now.getUTCDate() + days);
}

/** One of `choices`, or the first of them where the query says nothing. Throws `VALIDATION_ERROR`. */
export function choiceOf<Choice extends string>(
  query: URLSearchParams,
  field: string,
  choices: readonly [Choice, ...Choice[]],
): Choice {
  const given = query.get(field);
  const choice = given === null ? choices[0] : choices.find((known) => known === given);
  if (choice !== undefined) return choice;
  throw invalid([{ field, message: `expected ${choices.join(', ')}` }]);
}

/**
 * The rows of the caller's tenant that a query asks for: those of the present hour, day, week or month of UTC
 * (`period`), or from `start` to before `end`. Throws `VALIDATION_ERROR` with every fault.
 */
export function usageFilterOf(query: URLSearchParams, { tenant }: Caller): UsageFilter {
  const faults: ErrorDetail[] = [];
  const names: Record<string, string> = {};
  for (const [field, name] of Object.entries(NAMES)) {
    const value = query.get(field);
    if (value === null) continue;
    if (value.length < 1 || value.length > MAX_NAME) {
      faults.push({ field, message: `expected 1 to ${MAX_NAME} characters` });
    }
    names[name] = value;
  }
  const span = spanOf(query, faults);
  if (faults.length > 0) throw invalid(faults);
  return { tenant, ...names, ...span };
}

function spanOf(query: URLSearchParams, faults: ErrorDetail[]): Pick<UsageFilter, 'start' | 'end'> {
  const period = query.get('period');
  const start = instantOf(query, 'start', faults);
  const end = instantOf(query, 'end', faults);
  if (start !== undefined && end !== undefined && start >= end) {
    faults.push({ field: 'end', message: 'expected an instant after start' });
  }
  if (period === null) return { start, end };
  const startOf = Object.hasOwn(PERIODS, period) ? PERIODS[period] : undefined;
  if (startOf === undefined) faults.push({ field: 'period', message: 'expected hour, day, week or month' });
  if (query.has('start') || query.has('end')) {
    faults.push({ field: 'period', message: 'is the present one; leave it out, or start and end' });
  }
  return { start: startOf?.(new Date()) };
}

function instantOf(query: URLSearchParams, field: string, faults: ErrorDetail[]): number | undefined {
  const text = query.get(field);
  if (text === null) return undefined;
  const instant = INSTANT.test(text) ? Date.parse(text) : Number.NaN;
  // Dates such as the 30th of February are taken for the 2nd of March.
  const exists = !Number.isNaN(instant) && Date.parse(text.slice(0, 10)) >= 0 && isDay(text.slice(0, 10));
  if (exists && instant >= 0) return instant;
  const example = '2026-05-14 or 2026-05-14T12:00:00Z';
  faults.push({ field, message: `expected an instant of ISO 8601 since 1970, such as ${example}` });
  return undefined;
}

function isDay(text: string): boolean {
  const date = new Date(text);
  return !Number.isNaN(date.getTime()) && date.toISOString().startsWith(text);
}

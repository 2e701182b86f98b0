/** Days and months of UTC, and how a span of time is made up of them. */

/** From `start` to before `end`, in epoch milliseconds. */
export interface Span {
  /** The first instant. */
  readonly start: number;
  /** The instant after the last. */
  readonly end: number;
}

/** A span as whole months, whole days and what is left at its ends. Each part of it is in exactly one of them. */
export interface SpanParts {
  /** A span of whole months; empty where it starts at its end. */
  readonly months: Span;
  /** Spans of whole days before and after the months. */
  readonly days: readonly Span[];
  /** What is no whole day. */
  readonly rest: readonly Span[];
}

/** The last instant a date can have, and what stands for no end. */
export const LAST_INSTANT = 8.64e15;

const DAY_MS = 86_400_000;

/** The start of an instant's day. */
export function dayOf(at: number): number {
  return Math.floor(at / DAY_MS) * DAY_MS;
}

/** The start of an instant's month. */
export function monthOf(at: number): number {
  const date = new Date(at);
  return Date.UTC(date.getUTCFullYear(), date.getUTCMonth());
}

/** The first start of a day that is not before an instant. */
function dayFrom(at: number): number {
  return Math.ceil(at / DAY_MS) * DAY_MS;
}

/** The first start of a month that is not before an instant. */
function monthFrom(at: number): number {
  const date = new Date(at);
  const month = date.getUTCMonth();
  return monthOf(at) === at ? at : Date.UTC(date.getUTCFullYear(), month + 1);
}

/** `2026-05-14` for an instant of that day. */
export function dayName(at: number): string {
  return new Date(at).toISOString().slice(0, 10);
}

/** `2026-05` for an instant of that month. */
export function monthName(at: number): string {
  return new Date(at).toISOString().slice(0, 7);
}

/** Takes a span apart. Without `start` or `end` it has none. */
export function partsOf(start = 0, end: number = LAST_INSTANT): SpanParts {
  const days = { start: dayFrom(start), end: dayOf(end) };
  if (days.start > days.end) return { months: none(start), days: [], rest: notEmpty([{ start, end }]) };
  const months = { start: monthFrom(days.start), end: monthOf(days.end) };
  const rest = notEmpty([
    { start, end: days.start },
    { start: days.end, end },
  ]);
  if (months.start >= months.end) return { months: none(start), days: notEmpty([days]), rest };
  const others = [
    { start: days.start, end: months.start },
    { start: months.end, end: days.end },
  ];
  return { months, days: notEmpty(others), rest };
}

function none(at: number): Span {
  return { start: at, end: at };
}

function notEmpty(spans: readonly Span[]): readonly Span[] {
  return spans.filter(({ start, end }) => start < end);
}

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { BudgetWindow } from '../../src/core/caller.js';
import {
  createCalendar,
  daily,
  hourly,
  imageCount,
  monthly,
  perMinute,
  total,
  usd,
} from '../../src/core/windows.js';
import { ConfigError } from '../../src/errors.js';
import { runs } from '../support/runs.js';

const HOUR_MS = 3_600_000;

function turn(window: BudgetWindow, timeZone: string, at: string) {
  const { label, resetsAt } = createCalendar().turn({ window, timeZone }, Date.parse(at));
  return [label, resetsAt === null ? null : new Date(resetsAt).toISOString()];
}

for (const [window, timeZone, at, label, resetsAt] of [
  ['minute', 'UTC', '2026-11-22T14:30:59.999Z', '2026-11-22T14:30', '2026-11-22T14:31:00.000Z'],
  ['hour', 'Asia/Kolkata', '2026-11-22T14:45:00Z', '2026-11-22T14:00', '2026-11-22T15:00:00.000Z'],
  ['day', 'UTC', '2026-11-22T00:00:00Z', '2026-11-22', '2026-11-23T00:00:00.000Z'],
  ['day', 'Europe/Berlin', '2026-11-22T23:30:00Z', '2026-11-23', '2026-11-23T23:00:00.000Z'],
  ['day', 'America/New_York', '2026-11-23T04:59:59Z', '2026-11-22', '2026-11-23T05:00:00.000Z'],
  ['day', 'Asia/Kathmandu', '2026-06-01T18:15:00Z', '2026-06-02', '2026-06-02T18:15:00.000Z'],
  ['month', 'UTC', '2024-02-10T00:00:00Z', '2024-02', '2024-03-01T00:00:00.000Z'],
  ['month', 'UTC', '2026-12-31T23:59:59.999Z', '2026-12', '2027-01-01T00:00:00.000Z'],
  ['month', 'Europe/Berlin', '2026-03-31T22:00:00Z', '2026-04', '2026-04-30T22:00:00.000Z'],
  ['month', 'Pacific/Auckland', '2026-08-31T12:00:00Z', '2026-09', '2026-09-30T11:00:00.000Z'],
  ['total', 'UTC', '2026-11-22T00:00:00Z', '-', null],
] as const) {
  test(`the ${window} of ${at} in ${timeZone} is ${label}`, () => {
    assert.deepEqual(turn(window, timeZone, at), [label, resetsAt]);
  });
}

for (const [title, timeZone, noon, hours] of [
  ['clocks go forward', 'Europe/Berlin', '2026-03-29T12:00:00Z', 23],
  ['clocks go back', 'Europe/Berlin', '2026-10-25T12:00:00Z', 25],
  ['an ordinary one', 'Europe/Berlin', '2026-07-01T12:00:00Z', 24],
  ['midnight itself is skipped', 'America/Sao_Paulo', '2018-11-04T12:00:00Z', 23],
  ['the last hour comes twice', 'America/Sao_Paulo', '2018-02-17T12:00:00Z', 25],
  ['clocks go back half an hour', 'Australia/Lord_Howe', '2026-04-05T01:00:00Z', 24.5],
  ['far east', 'Pacific/Kiritimati', '2026-07-01T00:00:00Z', 24],
] as const) {
  test(`a day has ${hours} hours where ${title} (${timeZone})`, () => {
    const calendar = createCalendar();
    const at = Date.parse(noon);
    const { label, resetsAt } = calendar.turn({ window: 'day', timeZone }, at);
    assert.ok(resetsAt !== null);
    // The first instant of the day is the end of the one before.
    const before = calendar.turn({ window: 'day', timeZone }, at - 26 * HOUR_MS);
    const start = calendar.turn({ window: 'day', timeZone }, before.resetsAt ?? 0);
    assert.equal(start.label, label);
    assert.equal((resetsAt - (before.resetsAt ?? 0)) / HOUR_MS, hours);
  });
}

const ZONES = [
  ...['UTC', 'Europe/Berlin', 'America/New_York', 'America/Sao_Paulo', 'Asia/Kolkata', 'Asia/Tehran'],
  ...['Australia/Lord_Howe', 'Pacific/Apia', 'Pacific/Auckland', 'Africa/Cairo', 'Asia/Beirut'],
] as const;

const instants = fc.integer({ min: Date.UTC(2015, 0), max: Date.UTC(2040, 0) });

for (const window of ['minute', 'hour', 'day', 'month'] as const) {
  test(`turns of a ${window} tile time: each instant lies in one, and the next begins where it ends`, () => {
    fc.assert(
      fc.property(instants, fc.constantFrom(...ZONES), (at, timeZone) => {
        const calendar = createCalendar();
        const { label, resetsAt } = calendar.turn({ window, timeZone }, at);
        assert.ok(resetsAt !== null && resetsAt > at);
        const last = calendar.turn({ window, timeZone }, resetsAt - 1);
        assert.deepEqual(last, { label, resetsAt });
        const next = calendar.turn({ window, timeZone }, resetsAt);
        assert.ok(next.label > label, `${next.label} after ${label}`);
        assert.ok(next.resetsAt !== null && next.resetsAt > resetsAt);
      }),
      runs(60),
    );
  });

  test(`a calendar that remembers answers about a ${window} as one that was just made`, () => {
    const calendar = createCalendar();
    fc.assert(
      fc.property(instants, fc.constantFrom(...ZONES), (at, timeZone) => {
        assert.deepEqual(
          calendar.turn({ window, timeZone }, at),
          createCalendar().turn({ window, timeZone }, at),
        );
      }),
      runs(40),
    );
  });
}

test('budgets are what was said, with a name of their own by default', () => {
  const [budget] = [daily(usd(5), { per: 'user', softLimit: 0.8, timeZone: 'Europe/Berlin' })];
  assert.deepEqual(budget, {
    ...{ window: 'day', unit: 'usd', limit: 5_000_000, per: 'user', softLimit: 0.8 },
    ...{ timeZone: 'Europe/Berlin', name: 'daily-usd-user' },
  });
  const names = [perMinute, hourly, daily, monthly, total].map((make) => make(imageCount(3)).name);
  assert.deepEqual(names, [
    ...['per-minute-images-tenant', 'hourly-images-tenant', 'daily-images-tenant'],
    ...['monthly-images-tenant', 'total-images-tenant'],
  ]);
});

test('dollars become whole micro-dollars, to the nearest', () => {
  for (const [dollars, micro] of [
    ...([
      [0, 0],
      [0.04, 40_000],
      [0.1 + 0.2, 300_000],
      [1e-7, 0],
      [5e-7, 1],
    ] as const),
    [9e9, 9e15],
  ] as const) {
    assert.equal(usd(dollars), micro);
  }
});

for (const wrong of [-1, -1e-6, Number.NaN, Number.POSITIVE_INFINITY, 1e10, '5', null, undefined, [5], 5n]) {
  test(`usd(${typeof wrong === 'bigint' ? '5n' : JSON.stringify(wrong)}) of a ${typeof wrong} is refused`, () => {
    assert.throws(() => usd(wrong as number), ConfigError);
  });
}

for (const wrong of [0, -1, 1.5, Number.NaN, '3', 2 ** 53]) {
  test(`imageCount(${JSON.stringify(wrong)}) is refused`, () => {
    assert.throws(() => imageCount(wrong as number), ConfigError);
  });
}

for (const [title, options] of [
  ['a scope nobody knows', { per: 'team' }],
  ['a soft limit of nothing', { softLimit: 0 }],
  ['a soft limit above all', { softLimit: 1.1 }],
  ['a zone nobody knows', { timeZone: 'Europe/Atlantis' }],
  ['a name with a slash', { name: 'a/b' }],
  ['an empty name', { name: '' }],
] as const) {
  test(`a budget with ${title} is refused with its path`, () => {
    assert.throws(
      () => daily(usd(1), options as object),
      (error) => error instanceof ConfigError && error.path.startsWith('daily().'),
    );
  });
}

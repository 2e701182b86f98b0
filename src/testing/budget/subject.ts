/** What the budget checks share: how they get stores, name things and read answers. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type {
  BudgetStore,
  Hold,
  Once,
  ReserveLine,
  ReserveRequest,
  ReserveResult,
  Seen,
} from '../../core/budget.js';
import type { Check } from '../check.js';
import { type StoreCheck, storeCheck } from '../store-check.js';

/**
 * Opens the store under test. A check may call it several times: the answers are then instances over one backing
 * ledger, such as several connections to a database, or the same store again. Each distinct one is closed once, at
 * the end of the check. The ledger may be used by many checks, also at once: every check makes up its own names.
 */
export type CreateBudget = () => BudgetStore | Promise<BudgetStore>;

/** Makes a MUST check that opens its stores and closes them. */
export function must(check: StoreCheck<BudgetStore>): Check<CreateBudget> {
  return storeCheck(check);
}

/** A lease no check outlives. */
const LONG_LEASE_MS = 3_600_000;

/** A lease that {@link afterLapse} waits for. */
export const SHORT_LEASE_MS = 40;

/** Waits until a hold of {@link SHORT_LEASE_MS}, reserved before, has lapsed on any sane clock. */
export async function afterLapse(): Promise<void> {
  await sleep(3 * SHORT_LEASE_MS);
}

/** A name nobody used before; the label shows in messages. */
export function unique(label: string): string {
  return `${label}/${randomUUID()}`;
}

/** An expiry no check lives to see, though it will come. */
export function inAnHour(): number {
  return Date.now() + 3_600_000;
}

/** A line whose bucket never expires and has room for 1,000, unless told. */
export function line(parts: Partial<ReserveLine> = {}): ReserveLine {
  return { key: unique('bucket'), limit: 1_000, amount: 1, expiresAt: null, ...parts };
}

/** A reservation with a new id that outlives the check, unless told. */
export function request(parts: Partial<ReserveRequest> = {}): ReserveRequest {
  return { id: unique('hold'), lines: [], leaseMs: LONG_LEASE_MS, ...parts };
}

/** A `once` of its own. */
export function onceKey(parts: Partial<Once> = {}): Once {
  return { key: unique('once'), fingerprint: 'fingerprint', ...parts };
}

/** Reserves what must fit. */
export async function hold(store: BudgetStore, parts: Partial<ReserveRequest>): Promise<Hold> {
  const result = await store.reserve(request(parts));
  assert.ok(result.ok, `a reservation that fits was not granted: ${JSON.stringify(result)}`);
  return result.hold;
}

/** Reserves what must fit and waits until its lease is over. */
export async function lapsedHold(store: BudgetStore, parts: Partial<ReserveRequest>): Promise<Hold> {
  const held = await hold(store, { ...parts, leaseMs: SHORT_LEASE_MS });
  await afterLapse();
  return held;
}

/** Throws unless the balance of one bucket is as told. */
export async function expectBalance(
  store: BudgetStore,
  expected: { readonly key: string; readonly spent: number; readonly held: number },
): Promise<void> {
  const balances = await store.read([expected.key]);
  assert.deepEqual(plain(balances), [{ key: expected.key, spent: expected.spent, held: expected.held }]);
}

/** Throws unless a reservation was refused, with these lines and no other, in any order. */
export function expectRefused(
  result: ReserveResult,
  refused: readonly { readonly key: string; readonly left: number }[],
): void {
  assert.ok('refused' in result, `expected a refusal, got ${JSON.stringify(result)}`);
  assert.deepEqual(byKey(result.refused), byKey(refused));
}

/** Throws unless a reservation met another hold of its `once` key, known for this. */
export function expectSeen(result: ReserveResult, seen: Seen): void {
  assert.deepEqual(plain(result), { ok: false, seen: plain(seen) });
}

/** Throws unless a reservation was told that its id is closed. */
export function expectClosed(result: ReserveResult): void {
  assert.deepEqual(plain(result), { ok: false, closed: true });
}

/** The same as plain JSON: without the fields that are `undefined`. */
export function plain<T>(value: T): T {
  return value === undefined ? value : JSON.parse(JSON.stringify(value));
}

/** A plain copy in the order of the keys, for lists whose order says nothing. */
export function byKey<T extends { readonly key: string }>(items: readonly T[]): T[] {
  return plain([...items]).sort((a, b) => (a.key < b.key ? -1 : 1));
}

/** Throws unless the promise rejects with an error. */
export async function expectFault(promise: () => Promise<unknown>, what: string): Promise<void> {
  await assert.rejects(async () => promise(), Error, `${what} was not refused`);
}

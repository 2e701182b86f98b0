/**
 * Checks of buckets that expire: until then they count like any other. Budgets by the day or month are such buckets.
 */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Check } from '../check.js';
import {
  type CreateBudget,
  expectBalance,
  expectRefused,
  hold,
  inAnHour,
  line,
  must,
  request,
  unique,
} from './subject.js';

/** An expiry that is waited for. */
const SOON_MS = 200;

/** A bucket may be forgotten after its expiry, and never before it. */
export const expiryChecks: readonly Check<CreateBudget>[] = [
  must({
    id: 'expiry.counts-until-then',
    title: 'A bucket that has not expired yet holds, books, frees and refuses like one that never does.',
    async run({ store, another }) {
      const key = unique('bucket');
      const lineOf = (amount: number) => line({ key, amount, limit: 10, expiresAt: inAnHour() });
      const booked = await hold(store, { lines: [lineOf(6)] });
      await expectBalance(store, { key, spent: 0, held: 6 });
      expectRefused(await store.reserve(request({ lines: [lineOf(5)] })), [{ key, left: 4 }]);
      assert.equal(await store.commit(booked, [{ key, amount: 3 }]), 'settled');
      const freed = await hold(store, { lines: [lineOf(7)] });
      await expectBalance(store, { key, spent: 3, held: 7 });
      const over = await (await another()).reserve(request({ lines: [lineOf(1)] }));
      expectRefused(over, [{ key, left: 0 }]);
      assert.equal(await store.release(freed.id), 'released');
      await expectBalance(store, { key, spent: 3, held: 0 });
    },
  }),
  must({
    id: 'expiry.later-one-counts',
    title: 'A bucket that a later reserve gives a later expiry is kept until that one.',
    async run({ store }) {
      const key = unique('bucket');
      await hold(store, { lines: [line({ key, amount: 0, expiresAt: Date.now() + SOON_MS })] });
      const lines = [line({ key, amount: 7, limit: 10, expiresAt: inAnHour() })];
      const held = await hold(store, { lines });
      await sleep(1.5 * SOON_MS);
      // Stores tidy up as they reserve.
      for (let other = 0; other < 3; other += 1) await hold(store, { lines: [line()] });
      await expectBalance(store, { key, spent: 0, held: 7 });
      expectRefused(await store.reserve(request({ lines })), [{ key, left: 3 }]);
      assert.equal(await store.commit(held, [{ key, amount: 7 }]), 'settled');
      await expectBalance(store, { key, spent: 7, held: 0 });
    },
  }),
];

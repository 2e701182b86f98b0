/** Checks of leases. They wait for real ones, short enough, on the store's own clock. */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Check } from '../check.js';
import {
  type CreateBudget,
  expectBalance,
  expectClosed,
  expectRefused,
  expectSeen,
  hold,
  inAnHour,
  lapsedHold,
  line,
  must,
  onceKey,
  request,
  unique,
} from './subject.js';

/** A lease in which a hold can be settled, also on a busy machine. */
const SETTLED_WITHIN_MS = 1_000;

/** Longer than leases that somebody would think long enough, and much shorter than those of the router. */
const PATIENCE_MS = 5_500;

/** A lapsed hold counts as spent until a late commit or release says better. */
export const lapseChecks: readonly Check<CreateBudget>[] = [
  must({
    id: 'lapse.counts-as-spent',
    title: 'A hold whose lease is over counts as spent: in every balance, and against the limit.',
    async run({ store, another }) {
      const [key, other] = [unique('bucket'), unique('bucket')];
      await lapsedHold(store, {
        lines: [line({ key, amount: 7, limit: 10 }), line({ key: other, amount: 2 })],
      });
      const over = await (await another()).reserve(request({ lines: [line({ key, amount: 4, limit: 10 })] }));
      expectRefused(over, [{ key, left: 3 }]);
      await expectBalance(store, { key, spent: 7, held: 0 });
      await expectBalance(store, { key: other, spent: 2, held: 0 });
    },
  }),
  must({
    id: 'lapse.closes-the-id',
    title: 'A lapsed id is closed: it cannot be reserved again.',
    async run({ store }) {
      const lines = [line({ amount: 7, limit: 20 })];
      const held = await lapsedHold(store, { lines });
      expectClosed(await store.reserve(request({ id: held.id, lines })));
    },
  }),
  must({
    id: 'lapse.not-after-settling',
    title: 'What was committed or released before its lease is over stays so after it.',
    async run({ store }) {
      const [booked, free] = [unique('bucket'), unique('bucket')];
      const leased = (key: string) =>
        hold(store, { lines: [line({ key, amount: 7, limit: 20 })], leaseMs: SETTLED_WITHIN_MS });
      const [committed, released] = [await leased(booked), await leased(free)];
      assert.equal(await store.commit(committed, committed.lines), 'settled');
      assert.equal(await store.release(released.id), 'released');
      await sleep(1.2 * SETTLED_WITHIN_MS);
      await expectBalance(store, { key: booked, spent: 7, held: 0 });
      await expectBalance(store, { key: free, spent: 0, held: 0 });
    },
  }),
  must({
    id: 'lapse.not-before-its-time',
    title: 'A hold with a long lease is still pending after some seconds.',
    async run({ store }) {
      const [key, once] = [unique('bucket'), onceKey()];
      const lines = [line({ key, amount: 7, limit: 10, expiresAt: inAnHour() })];
      const held = await hold(store, { once, lines });
      await sleep(PATIENCE_MS);
      await expectBalance(store, { key, spent: 0, held: 7 });
      assert.equal((await store.recall(once))?.state, 'pending');
      assert.equal(await store.commit(held, [{ key, amount: 2 }]), 'settled');
      await expectBalance(store, { key, spent: 2, held: 0 });
    },
  }),
  must({
    id: 'lapse.late-commit-corrects',
    title:
      'A commit after the lease puts the real amount in place of the lapsed one, below or above it, once.',
    async run({ store }) {
      const [less, more, omitted] = [unique('bucket'), unique('bucket'), unique('bucket')];
      const lines = [less, more, omitted].map((key) => line({ key, amount: 7, limit: 10 }));
      const held = await lapsedHold(store, { lines });
      const booked = [
        { key: less, amount: 2 },
        { key: more, amount: 30 },
      ];
      assert.equal(await store.commit(held, booked), 'settled');
      assert.equal(await store.commit(held, booked), 'already');
      await expectBalance(store, { key: less, spent: 2, held: 0 });
      await expectBalance(store, { key: more, spent: 30, held: 0 });
      await expectBalance(store, { key: omitted, spent: 0, held: 0 });
    },
  }),
  must({
    id: 'lapse.late-release-frees',
    title: 'A release after the lease frees the amounts and the once key.',
    async run({ store }) {
      const [key, once] = [unique('bucket'), onceKey()];
      const held = await lapsedHold(store, { once, lines: [line({ key, amount: 7 })] });
      assert.equal(await store.release(held.id), 'released');
      assert.equal(await store.release(held.id), 'already');
      await expectBalance(store, { key, spent: 0, held: 0 });
      assert.equal(await store.recall(once), undefined);
    },
  }),
  must({
    id: 'lapse.once-is-known',
    title: 'The once key of a lapsed hold is known as `lapsed`, and as `settled` after a late commit.',
    async run({ store }) {
      const once = onceKey();
      const held = await lapsedHold(store, { once });
      assert.equal((await store.recall(once))?.state, 'lapsed');
      expectSeen(await store.reserve(request({ once })), { state: 'lapsed' });
      assert.equal(await store.commit(held, []), 'settled');
      assert.equal((await store.recall(once))?.state, 'settled');
    },
  }),
];

/** Checks of numbers: what is refused, and sums at the edge of the safe integers. */
import assert from 'node:assert/strict';
import type { Check } from '../check.js';
import {
  type CreateBudget,
  expectBalance,
  expectFault,
  expectRefused,
  hold,
  line,
  must,
  request,
  unique,
} from './subject.js';

const LARGEST = Number.MAX_SAFE_INTEGER;

const NOT_AMOUNTS: readonly number[] = [
  -1,
  0.5,
  1.000001,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  Number.NEGATIVE_INFINITY,
  LARGEST + 1,
  '1' as unknown as number,
  null as unknown as number,
];

/** Amounts are safe integers, and stay exact up to the largest of them. */
export const integerChecks: readonly Check<CreateBudget>[] = [
  must({
    id: 'integers.reserve-refuses-others',
    title: 'A reserve whose amount or limit is no safe integer of 0 or more throws and holds nothing.',
    async run({ store }) {
      const [key, sound] = [unique('bucket'), unique('bucket')];
      for (const wrong of NOT_AMOUNTS) {
        for (const part of [{ amount: wrong }, { limit: wrong }]) {
          const asked = request({ lines: [line({ key: sound }), line({ key, ...part })] });
          await expectFault(() => store.reserve(asked), `${Object.keys(part)} ${String(wrong)}`);
          await hold(store, { id: asked.id });
        }
      }
      for (const each of [key, sound]) await expectBalance(store, { key: each, spent: 0, held: 0 });
    },
  }),
  must({
    id: 'integers.commit-refuses-others',
    title: 'A commit whose amount is no safe integer of 0 or more throws and leaves the hold pending.',
    async run({ store }) {
      const [key, sound] = [unique('bucket'), unique('bucket')];
      const held = await hold(store, { lines: [line({ key: sound, amount: 2 }), line({ key, amount: 4 })] });
      for (const amount of NOT_AMOUNTS) {
        const lines = [
          { key: sound, amount: 1 },
          { key, amount },
        ];
        await expectFault(() => store.commit(held, lines), `amount ${String(amount)}`);
      }
      await expectBalance(store, { key: sound, spent: 0, held: 2 });
      await expectBalance(store, { key, spent: 0, held: 4 });
    },
  }),
  must({
    id: 'integers.keys-once-per-call',
    title: 'A key that is twice in one reserve or commit throws and changes nothing.',
    async run({ store }) {
      const key = unique('bucket');
      const twice = request({ lines: [line({ key, amount: 1 }), line({ key, amount: 2 })] });
      await expectFault(() => store.reserve(twice), 'a key that is twice in one reserve');
      const held = await hold(store, { lines: [line({ key, amount: 4 })] });
      const lines = [
        { key, amount: 1 },
        { key, amount: 2 },
      ];
      await expectFault(() => store.commit(held, lines), 'a key that is twice in one commit');
      await expectBalance(store, { key, spent: 0, held: 4 });
    },
  }),
  must({
    id: 'integers.exact-to-the-largest',
    title:
      'Amounts and limits are exact up to 2^53 - 1, and a sum beyond it never fits by wrapping or rounding.',
    async run({ store }) {
      const key = unique('bucket');
      const held = await hold(store, { lines: [line({ key, amount: LARGEST - 2, limit: LARGEST })] });
      await store.commit(held, [{ key, amount: LARGEST - 2 }]);
      await hold(store, { lines: [line({ key, amount: 1, limit: LARGEST })] });
      await expectBalance(store, { key, spent: LARGEST - 2, held: 1 });
      for (const amount of [2, LARGEST - 1, LARGEST]) {
        const over = await store.reserve(request({ lines: [line({ key, amount, limit: LARGEST })] }));
        expectRefused(over, [{ key, left: 1 }]);
      }
      await hold(store, { lines: [line({ key, amount: 1, limit: LARGEST })] });
      await expectBalance(store, { key, spent: LARGEST - 2, held: 2 });
    },
  }),
  must({
    id: 'integers.never-wraps',
    title: 'Booking beyond 2^53 - 1 is settled and stays at or above it, so that nothing fits any more.',
    async run({ store }) {
      const key = unique('bucket');
      const lines = [line({ key, amount: 1, limit: LARGEST })];
      const holds = [
        await hold(store, { lines }),
        await hold(store, { lines }),
        await hold(store, { lines }),
      ];
      for (const held of holds) assert.equal(await store.commit(held, [{ key, amount: LARGEST }]), 'settled');
      for (const { spent, held } of await store.read([key])) {
        assert.ok(spent >= LARGEST, `${spent} is spent, less than was booked`);
        assert.equal(held, 0);
      }
      expectRefused(await store.reserve(request({ lines })), [{ key, left: 0 }]);
    },
  }),
];

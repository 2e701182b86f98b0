/** Checks of `reserve` and `read`: what fits, what does not, and what is left behind. */
import assert from 'node:assert/strict';
import { hash, randomUUID } from 'node:crypto';
import type { Once } from '../../core/budget.js';
import type { Check } from '../check.js';
import {
  byKey,
  type CreateBudget,
  expectBalance,
  expectClosed,
  expectRefused,
  hold,
  line,
  must,
  onceKey,
  plain,
  request,
  unique,
} from './subject.js';

/** What fits is held, what does not fit leaves nothing behind, and repeating is harmless. */
export const reserveChecks: readonly Check<CreateBudget>[] = [
  must({
    id: 'reserve.holds-every-line',
    title: 'A granted reservation holds every line, and answers its hold and the balances after it.',
    async run({ store }) {
      const [pictures, money] = [line({ amount: 2 }), line({ amount: 80_000, limit: 5_000_000 })];
      await hold(store, { lines: [{ ...pictures, amount: 5 }] });
      const asked = request({ lines: [pictures, money] });
      const result = await store.reserve(asked);
      assert.ok(result.ok, 'a reservation that fits was not granted');
      assert.equal(result.hold.id, asked.id);
      assert.deepEqual(
        byKey(result.hold.lines),
        byKey([
          { key: pictures.key, amount: 2 },
          { key: money.key, amount: 80_000 },
        ]),
      );
      assert.deepEqual(
        byKey(result.balances),
        byKey([
          { key: pictures.key, spent: 0, held: 7 },
          { key: money.key, spent: 0, held: 80_000 },
        ]),
      );
      await expectBalance(store, { key: pictures.key, spent: 0, held: 7 });
      await expectBalance(store, { key: money.key, spent: 0, held: 80_000 });
    },
  }),
  must({
    id: 'reserve.up-to-the-limit',
    title: 'Spent and held may reach the limit together, and a line that would pass it is refused.',
    async run({ store }) {
      const key = unique('bucket');
      const spent = await hold(store, { lines: [line({ key, amount: 4, limit: 10 })] });
      await store.commit(spent, [{ key, amount: 4 }]);
      await hold(store, { lines: [line({ key, amount: 3, limit: 10 })] });
      const over = await store.reserve(request({ lines: [line({ key, amount: 4, limit: 10 })] }));
      expectRefused(over, [{ key, left: 3 }]);
      await hold(store, { lines: [line({ key, amount: 3, limit: 10 })] });
      await expectBalance(store, { key, spent: 4, held: 6 });
    },
  }),
  must({
    id: 'reserve.limit-of-the-call',
    title: 'The limit that counts is the one in the call, so that it can be raised and lowered.',
    async run({ store }) {
      const key = unique('bucket');
      await hold(store, { lines: [line({ key, amount: 6, limit: 10 })] });
      const lowered = await store.reserve(request({ lines: [line({ key, limit: 6 })] }));
      expectRefused(lowered, [{ key, left: 0 }]);
      await hold(store, { lines: [line({ key, amount: 10, limit: 16 })] });
    },
  }),
  must({
    id: 'reserve.left-not-negative',
    title: 'Where more than the limit is held or spent, 0 is left, never less; not even 0 fits.',
    async run({ store }) {
      const key = unique('bucket');
      await hold(store, { lines: [line({ key, amount: 9, limit: 10 })] });
      const lowered = await store.reserve(request({ lines: [line({ key, amount: 0, limit: 5 })] }));
      expectRefused(lowered, [{ key, left: 0 }]);
    },
  }),
  must({
    id: 'reserve.refuses-every-line-that-fails',
    title: 'A refusal names every line that did not fit, with what was left there, and no other line.',
    async run({ store }) {
      const [fits, short, full] = [line(), line({ amount: 5, limit: 4 }), line({ amount: 1, limit: 0 })];
      const result = await store.reserve(request({ lines: [short, fits, full] }));
      expectRefused(result, [
        { key: short.key, left: 4 },
        { key: full.key, left: 0 },
      ]);
    },
  }),
  must({
    id: 'reserve.all-or-nothing',
    title: 'A refused reservation holds nothing, on the lines that would have fitted too.',
    async run({ store }) {
      const [first, last] = [line(), line()];
      const full = line({ amount: 2, limit: 1 });
      const asked = request({ lines: [first, full, last] });
      expectRefused(await store.reserve(asked), [{ key: full.key, left: 1 }]);
      for (const { key } of asked.lines) await expectBalance(store, { key, spent: 0, held: 0 });
    },
  }),
  must({
    id: 'reserve.refused-is-forgotten',
    title: 'A refused reservation leaves no once key and no id: both can be reserved afterwards.',
    async run({ store }) {
      const once = onceKey();
      const asked = request({ once, lines: [line({ amount: 2, limit: 1 })] });
      await store.reserve(asked);
      assert.equal(await store.recall(once), undefined);
      await hold(store, { id: asked.id, once, lines: [line()] });
    },
  }),
  must({
    id: 'reserve.zero-fits-a-full-bucket',
    title: 'An amount of 0 fits where the limit is just reached.',
    async run({ store }) {
      const key = unique('bucket');
      await hold(store, { lines: [line({ key, amount: 3, limit: 3 })] });
      await hold(store, { lines: [line({ key, amount: 0, limit: 3 })] });
      await expectBalance(store, { key, spent: 0, held: 3 });
    },
  }),
  must({
    id: 'reserve.empty-lines',
    title: 'A reservation without lines is granted, keeps its once key, and is settled like any other.',
    async run({ store }) {
      const once = onceKey();
      const asked = request({ once });
      const result = await store.reserve(asked);
      assert.deepEqual(plain(result), { ok: true, hold: { id: asked.id, lines: [] }, balances: [] });
      assert.equal((await store.recall(once))?.state, 'pending');
      assert.equal(await store.commit({ id: asked.id, lines: [] }, []), 'settled');
      expectClosed(await store.reserve(asked));
    },
  }),
  must({
    id: 'reserve.repeat-is-the-same-hold',
    title: 'Reserving a pending id again answers the same hold and holds its amounts once.',
    async run({ store, another }) {
      const key = unique('bucket');
      const asked = request({ once: onceKey(), lines: [line({ key, amount: 7, limit: 10 })] });
      const first = await store.reserve(asked);
      const again = await (await another()).reserve(asked);
      assert.ok(first.ok && again.ok, 'a pending id was not granted again');
      assert.deepEqual(plain(again.hold), plain(first.hold));
      await expectBalance(store, { key, spent: 0, held: 7 });
    },
  }),
  must({
    id: 'reserve.id-decides-first',
    title: 'A pending id answers its hold whatever else the call says: other lines or another once key.',
    async run({ store }) {
      const [once, taken, fresh] = [onceKey(), onceKey(), onceKey()];
      await hold(store, { once: taken });
      const [kept, other] = [line({ amount: 7 }), line({ amount: 5, limit: 1 })];
      const first = await hold(store, { once, lines: [kept] });
      for (const also of [taken, fresh, undefined]) {
        const again = await store.reserve(request({ id: first.id, once: also, lines: [other] }));
        assert.ok(again.ok, `the repetition of a pending id was not granted: ${JSON.stringify(again)}`);
        assert.deepEqual(plain(again.hold), plain(first));
      }
      await expectBalance(store, { key: kept.key, spent: 0, held: 7 });
      await expectBalance(store, { key: other.key, spent: 0, held: 0 });
      assert.equal(await store.recall(fresh), undefined);
      assert.equal((await store.recall(once))?.state, 'pending');
    },
  }),
  must({
    id: 'read.never-seen',
    title: 'A bucket never seen has 0 and 0, and reading it leaves nothing behind.',
    async run({ store }) {
      const key = unique('bucket');
      await expectBalance(store, { key, spent: 0, held: 0 });
      await expectBalance(store, { key, spent: 0, held: 0 });
      assert.deepEqual(await store.read([]), []);
    },
  }),
  must({
    id: 'read.in-the-order-asked',
    title: 'Balances come in the order their keys were asked, known ones and unknown ones mixed.',
    async run({ store }) {
      const keys = ['m', 'z', 'a', 'k'].map(unique);
      const [first, , third] = keys as [string, string, string, string];
      await hold(store, { lines: [line({ key: third, amount: 3 }), line({ key: first, amount: 1 })] });
      const balances = await store.read(keys);
      assert.deepEqual(
        balances.map(({ key, held }) => [key, held]),
        keys.map((key) => [key, key === first ? 1 : key === third ? 3 : 0]),
      );
    },
  }),
  must({
    id: 'keys.are-opaque',
    title:
      'Buckets, ids and once keys that look alike are different things: case, wildcards, separators, Unicode.',
    async run({ store }) {
      const prefix = unique('bucket');
      const endings = ['a', 'A', 'a ', ' a', 'a/b', 'a:b', '%', '_', '*', '?', '{a}', '[a]', "'", '"', '\\'];
      endings.push('\u00e9', 'e\u0301', '\u{1f642}');
      const keys = [prefix, ...endings.map((ending) => `${prefix}/${ending}`)];
      for (const [index, key] of keys.entries()) {
        const once = { key, fingerprint: key };
        assert.equal(await store.recall(once), undefined, `${key} was seen before it was reserved`);
        await hold(store, { id: key, once, lines: [line({ key, amount: index + 1 })] });
      }
      const balances = await store.read(keys);
      assert.deepEqual(
        plain(balances),
        keys.map((key, index) => ({ key, spent: 0, held: index + 1 })),
      );
    },
  }),
  must({
    id: 'keys.are-whole',
    title: 'Buckets and once keys of the greatest length the router uses differ where only their end does.',
    async run({ store }) {
      // <per>/<owner>/<unit>/<name>/<start of the window>
      const prefix = `tenant/${randomUUID().replaceAll('-', '')}/images/${'n'.repeat(64)}/2026-05-14T12:3`;
      const lines = [0, 1, 2].map((minute) => line({ key: `${prefix}${minute}`, amount: minute + 1 }));
      const digest = hash('sha256', prefix).slice(1);
      const [once, other] = ['a', 'b'].map((end) => ({ key: digest + end, fingerprint: digest + end })) as [
        Once,
        Once,
      ];
      await hold(store, { once, lines });
      for (const { key, amount } of lines) await expectBalance(store, { key, spent: 0, held: amount });
      assert.equal(await store.recall(other), undefined);
      assert.equal((await store.recall({ ...once, fingerprint: other.fingerprint }))?.state, 'conflict');
    },
  }),
];

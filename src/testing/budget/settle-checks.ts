/** Checks of `commit` and `release`: what is booked or freed, and that it happens once. */
import assert from 'node:assert/strict';
import type { Hold } from '../../core/budget.js';
import type { Check } from '../check.js';
import {
  type CreateBudget,
  expectBalance,
  expectClosed,
  expectFault,
  expectSeen,
  hold,
  line,
  must,
  onceKey,
  request,
  unique,
} from './subject.js';

/** A commit books what it says in place of the hold, once, whoever makes it. */
export const commitChecks: readonly Check<CreateBudget>[] = [
  must({
    id: 'commit.books-in-place-of-the-hold',
    title: 'A commit books its amount, and what was held above it is free again.',
    async run({ store }) {
      const key = unique('bucket');
      const held = await hold(store, { lines: [line({ key, amount: 8, limit: 10 })] });
      assert.equal(await store.commit(held, [{ key, amount: 3 }]), 'settled');
      await expectBalance(store, { key, spent: 3, held: 0 });
      await hold(store, { lines: [line({ key, amount: 7, limit: 10 })] });
    },
  }),
  must({
    id: 'commit.above-the-hold',
    title: 'A commit above the hold, and above the limit, books in full.',
    async run({ store }) {
      const key = unique('bucket');
      const held = await hold(store, { lines: [line({ key, amount: 4, limit: 10 })] });
      assert.equal(await store.commit(held, [{ key, amount: 25 }]), 'settled');
      await expectBalance(store, { key, spent: 25, held: 0 });
    },
  }),
  must({
    id: 'commit.left-out-books-nothing',
    title: 'A key of the hold that the commit leaves out books 0.',
    async run({ store }) {
      const [named, omitted] = [unique('bucket'), unique('bucket')];
      const lines = [line({ key: named, amount: 4 }), line({ key: omitted, amount: 6 })];
      const held = await hold(store, { lines });
      assert.equal(await store.commit(held, [{ key: named, amount: 4 }]), 'settled');
      await expectBalance(store, { key: named, spent: 4, held: 0 });
      await expectBalance(store, { key: omitted, spent: 0, held: 0 });
    },
  }),
  must({
    id: 'commit.foreign-key-throws',
    title: 'A commit with a key that is not in the hold throws, books nothing and leaves the hold pending.',
    async run({ store }) {
      const [key, foreign] = [unique('bucket'), unique('bucket')];
      const held = await hold(store, { lines: [line({ key, amount: 4 })] });
      const lines = [key, foreign].map((each) => ({ key: each, amount: 1 }));
      await expectFault(() => store.commit(held, lines), 'a key that is not in the hold');
      await expectBalance(store, { key, spent: 0, held: 4 });
      await expectBalance(store, { key: foreign, spent: 0, held: 0 });
      assert.equal(await store.commit(held, [{ key, amount: 4 }]), 'settled');
    },
  }),
  must({
    id: 'commit.first-one-wins',
    title: 'The second commit of a hold is `already` and books nothing.',
    async run({ store }) {
      const key = unique('bucket');
      const held = await hold(store, { lines: [line({ key, amount: 4 })] });
      assert.equal(await store.commit(held, [{ key, amount: 3 }]), 'settled');
      assert.equal(await store.commit(held, [{ key, amount: 4 }]), 'already');
      await expectBalance(store, { key, spent: 3, held: 0 });
    },
  }),
  must({
    id: 'commit.unknown-id',
    title:
      'A commit of an id not known is `unknown` and changes nothing, so that the id can still be reserved.',
    async run({ store }) {
      const key = unique('bucket');
      const stranger: Hold = { id: unique('hold'), lines: [{ key, amount: 4 }] };
      assert.equal(await store.commit(stranger, [{ key, amount: 4 }]), 'unknown');
      await expectBalance(store, { key, spent: 0, held: 0 });
      await hold(store, { id: stranger.id, lines: [line({ key })] });
    },
  }),
  must({
    id: 'commit.after-release',
    title: 'A commit of a released hold is `already` and books nothing.',
    async run({ store }) {
      const key = unique('bucket');
      const held = await hold(store, { lines: [line({ key, amount: 4 })] });
      await store.release(held.id);
      assert.equal(await store.commit(held, [{ key, amount: 4 }]), 'already');
      await expectBalance(store, { key, spent: 0, held: 0 });
    },
  }),
  must({
    id: 'commit.by-another-instance',
    title: 'A hold is plain JSON that another instance over the same ledger can settle.',
    async run({ store, another }) {
      const key = unique('bucket');
      const held = await hold(store, { lines: [line({ key, amount: 4 })] });
      const copy: Hold = JSON.parse(JSON.stringify(held));
      assert.equal(await (await another()).commit(copy, [{ key, amount: 4 }]), 'settled');
      await expectBalance(store, { key, spent: 4, held: 0 });
    },
  }),
  must({
    id: 'commit.closes-the-id',
    title: 'A settled id is closed: it cannot be reserved again, even where nothing else would fit.',
    async run({ store }) {
      const key = unique('bucket');
      const asked = request({ once: onceKey(), lines: [line({ key, amount: 4, limit: 4 })] });
      await store.reserve(asked);
      await store.commit({ id: asked.id, lines: asked.lines }, [{ key, amount: 4 }]);
      expectClosed(await store.reserve(asked));
      await expectBalance(store, { key, spent: 4, held: 0 });
    },
  }),
  must({
    id: 'commit.row-expired',
    title:
      'A hold whose bucket has expired, purged or not, is settled like any other; no balance is below 0.',
    async run({ store }) {
      const [key, lasting] = [unique('bucket'), unique('bucket')];
      const expiresAt = Date.now() - 60_000;
      const lines = [line({ key, amount: 4, expiresAt }), line({ key: lasting, amount: 4 })];
      const [settled, freed] = [await hold(store, { lines }), await hold(store, { lines })];
      await hold(store, { lines: [line()] });
      const amounts = lines.map((each) => ({ key: each.key, amount: 1 }));
      assert.equal(await store.commit(settled, amounts), 'settled');
      assert.equal(await store.release(freed.id), 'released');
      for (const { spent, held } of await store.read([key])) {
        assert.ok(spent === 0 || spent === 1, `${spent} is spent, where 1 was booked in an expired bucket`);
        assert.equal(held, 0);
      }
      await expectBalance(store, { key: lasting, spent: 1, held: 0 });
    },
  }),
];

/** A release frees a hold and its key, once, and keeps the id closed. */
export const releaseChecks: readonly Check<CreateBudget>[] = [
  must({
    id: 'release.frees-every-line',
    title: 'A release frees every line of the hold.',
    async run({ store }) {
      const lines = [line({ amount: 4, limit: 4 }), line({ amount: 9, limit: 9 })];
      const held = await hold(store, { lines });
      assert.equal(await store.release(held.id), 'released');
      for (const { key } of lines) await expectBalance(store, { key, spent: 0, held: 0 });
      await hold(store, { lines });
    },
  }),
  must({
    id: 'release.repeat',
    title: 'A second release is `already` and frees nothing more.',
    async run({ store }) {
      const key = unique('bucket');
      await hold(store, { lines: [line({ key, amount: 5 })] });
      const held = await hold(store, { lines: [line({ key, amount: 4 })] });
      assert.equal(await store.release(held.id), 'released');
      assert.equal(await store.release(held.id), 'already');
      await expectBalance(store, { key, spent: 0, held: 5 });
    },
  }),
  must({
    id: 'release.after-commit',
    title: 'A release of a settled hold is `already`: what was booked stays booked, and its once key known.',
    async run({ store }) {
      const [key, once] = [unique('bucket'), onceKey()];
      const held = await hold(store, { once, lines: [line({ key, amount: 4 })] });
      await store.commit(held, [{ key, amount: 4 }]);
      assert.equal(await store.release(held.id), 'already');
      await expectBalance(store, { key, spent: 4, held: 0 });
      assert.equal((await store.recall(once))?.state, 'settled');
    },
  }),
  must({
    id: 'release.closes-the-id',
    title: 'A released id is closed: a late repetition of its reserve holds nothing.',
    async run({ store }) {
      const key = unique('bucket');
      const asked = request({ lines: [line({ key, amount: 4 })] });
      await store.reserve(asked);
      await store.release(asked.id);
      expectClosed(await store.reserve(asked));
      await expectBalance(store, { key, spent: 0, held: 0 });
    },
  }),
  must({
    id: 'release.unknown-leaves-a-tombstone',
    title: 'A release that comes before its reserve is `unknown`, then `already`, and the reserve is closed.',
    async run({ store, another }) {
      const [key, once] = [unique('bucket'), onceKey()];
      const asked = request({ once, lines: [line({ key, amount: 4 })] });
      assert.equal(await store.release(asked.id), 'unknown');
      assert.equal(await store.release(asked.id), 'already');
      expectClosed(await (await another()).reserve(asked));
      await expectBalance(store, { key, spent: 0, held: 0 });
      assert.equal(await store.recall(once), undefined);
    },
  }),
  must({
    id: 'release.frees-the-once-key',
    title: 'A release frees the once key: it is not known any more, and another hold may take it.',
    async run({ store }) {
      const once = onceKey();
      const held = await hold(store, { once });
      await store.release(held.id);
      assert.equal(await store.recall(once), undefined);
      await hold(store, { once: { ...once, fingerprint: 'another' } });
    },
  }),
  must({
    id: 'release.only-its-own-once-key',
    title:
      'A late release frees no once key that another hold has: neither repeated, nor of an id that lost.',
    async run({ store }) {
      const once = onceKey();
      const first = await hold(store, { once });
      await store.release(first.id);
      await hold(store, { once });
      const loser = request({ once });
      expectSeen(await store.reserve(loser), { state: 'pending' });
      assert.equal(await store.release(loser.id), 'unknown');
      assert.equal(await store.release(first.id), 'already');
      assert.equal((await store.recall(once))?.state, 'pending');
    },
  }),
];

/** Checks of `once` and `recall`: one hold per key, fingerprints, outcomes. */
import assert from 'node:assert/strict';
import type { Check } from '../check.js';
import {
  type CreateBudget,
  expectBalance,
  expectSeen,
  hold,
  lapsedHold,
  line,
  must,
  onceKey,
  plain,
  request,
  unique,
} from './subject.js';

const OUTCOME_BYTES = 65_536;

/** A JSON string of exactly 64 KiB with what encodings stumble over: quotes, escapes, line separators, emoji. */
function largestOutcome(): string {
  const text = '"\\\n\t\u2028\u007f\u00e9e\u0301\u6f22\u{1f642}\u{1f468}\u200d\u{1f680}{}[]%s$1\':;--';
  const whole = JSON.stringify(text.repeat(700));
  return whole + ' '.repeat(OUTCOME_BYTES - Buffer.byteLength(whole));
}

/** A once key is one hold's, and tells a second request what became of it. */
export const onceChecks: readonly Check<CreateBudget>[] = [
  must({
    id: 'once.pending',
    title: 'A second reserve with a once key in use is not granted, holds nothing, and is told `pending`.',
    async run({ store, another }) {
      const [key, once] = [unique('bucket'), onceKey()];
      await hold(store, { once, lines: [line({ key, amount: 4 })] });
      const twin = request({ once, lines: [line({ key, amount: 4 })] });
      expectSeen(await (await another()).reserve(twin), { state: 'pending' });
      assert.deepEqual(plain(await store.recall(once)), { state: 'pending' });
      await expectBalance(store, { key, spent: 0, held: 4 });
    },
  }),
  must({
    id: 'once.settled-with-outcome',
    title: 'After the commit the once key is known as `settled`, with the outcome as it was given.',
    async run({ store, another }) {
      const outcome = '{"pictures":["img_1"]}';
      const once = onceKey();
      const held = await hold(store, { once });
      await store.commit(held, [], outcome);
      expectSeen(await store.reserve(request({ once })), { state: 'settled', outcome });
      assert.deepEqual(plain(await (await another()).recall(once)), { state: 'settled', outcome });
    },
  }),
  must({
    id: 'once.outcome-is-verbatim',
    title: 'An outcome of 64 KiB with any Unicode comes back exactly, an empty one as empty, none as none.',
    async run({ store }) {
      for (const outcome of [largestOutcome(), '', undefined]) {
        const once = onceKey();
        await store.commit(await hold(store, { once }), [], outcome);
        const seen = await store.recall(once);
        assert.equal(seen?.state, 'settled');
        assert.ok(seen.outcome === outcome, 'the outcome came back changed');
      }
    },
  }),
  must({
    id: 'once.first-outcome-wins',
    title: 'A second commit does not replace the outcome of the first.',
    async run({ store }) {
      const once = onceKey();
      const held = await hold(store, { once });
      await store.commit(held, [], 'first');
      await store.commit(held, [], 'second');
      assert.deepEqual(plain(await store.recall(once)), { state: 'settled', outcome: 'first' });
    },
  }),
  must({
    id: 'once.late-outcome',
    title: 'The outcome of a commit after the lease is kept too.',
    async run({ store }) {
      const once = onceKey();
      const held = await lapsedHold(store, { once });
      await store.commit(held, [], 'late');
      expectSeen(await store.reserve(request({ once })), { state: 'settled', outcome: 'late' });
    },
  }),
  must({
    id: 'once.conflict',
    title:
      'Another fingerprint under a once key in use is a `conflict`, pending or settled, and learns no outcome.',
    async run({ store }) {
      const once = onceKey();
      const other = { ...once, fingerprint: 'another' };
      const held = await hold(store, { once });
      expectSeen(await store.reserve(request({ once: other })), { state: 'conflict' });
      assert.deepEqual(plain(await store.recall(other)), { state: 'conflict' });
      await store.commit(held, [], 'secret');
      expectSeen(await store.reserve(request({ once: other })), { state: 'conflict' });
      assert.deepEqual(plain(await store.recall(other)), { state: 'conflict' });
    },
  }),
  must({
    id: 'once.lapsed-conflict',
    title: 'Another fingerprint is a `conflict` after the lease as well.',
    async run({ store }) {
      const once = onceKey();
      await lapsedHold(store, { once });
      const other = { ...once, fingerprint: 'another' };
      expectSeen(await store.reserve(request({ once: other })), { state: 'conflict' });
      assert.deepEqual(plain(await store.recall(other)), { state: 'conflict' });
    },
  }),
  must({
    id: 'once.before-the-limits',
    title:
      'A once key in use decides before the lines do: a twin that would not fit is still told what is known.',
    async run({ store }) {
      const [key, once] = [unique('bucket'), onceKey()];
      const lines = [line({ key, amount: 4, limit: 4 })];
      await hold(store, { once, lines });
      expectSeen(await store.reserve(request({ once, lines })), { state: 'pending' });
    },
  }),
  must({
    id: 'once.loser-is-forgotten',
    title: 'A reserve that met a once key in use leaves no id behind: it can be reserved without the key.',
    async run({ store }) {
      const once = onceKey();
      await hold(store, { once });
      const loser = request({ once, lines: [line()] });
      await store.reserve(loser);
      await hold(store, { id: loser.id, lines: loser.lines });
    },
  }),
  must({
    id: 'once.recall-only-reads',
    title: 'Recalling a once key nobody has answers undefined, every time, and does not take it.',
    async run({ store }) {
      const once = onceKey();
      assert.equal(await store.recall(once), undefined);
      assert.equal(await store.recall(once), undefined);
      await hold(store, { once });
    },
  }),
];

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import type { BudgetStore } from '../../src/core/budget.js';

/** Texts that databases refuse, cut off or take for each other. */
const ODD_TEXTS = ['a', 'a\0', 'a\0b', '\ud800', '\udfff', '\\ud800', '\\', '"', "'", '%', 'é', 'e\u0301'];

/** Throws unless a store keeps odd keys, ids and outcomes apart and answers them as they were. */
export async function keepOddTexts(store: BudgetStore): Promise<void> {
  const texts = ODD_TEXTS.map((text) => text + randomUUID().slice(0, 4) + text);
  for (const [amount, text] of texts.entries()) {
    const once = { key: text, fingerprint: text };
    const lines = [{ key: text, amount, limit: 100, expiresAt: null }];
    const reserve = () => store.reserve({ id: text, once, lines, leaseMs: 60_000 });
    for (const result of [await reserve(), await reserve()]) {
      assert.deepEqual(result, {
        ok: true,
        hold: { id: text, lines: [{ key: text, amount }] },
        balances: [{ key: text, spent: 0, held: amount }],
      });
    }
    const refused = await store.reserve({
      ...{ id: `${text}2`, leaseMs: 60_000 },
      lines: [{ key: text, amount: 101, limit: 100, expiresAt: null }],
    });
    assert.deepEqual(refused, { ok: false, refused: [{ key: text, left: 100 - amount }] });
    assert.equal(await store.commit({ id: text, lines }, [{ key: text, amount }], text), 'settled');
    assert.deepEqual(await store.recall(once), { state: 'settled', outcome: text });
  }
  const balances = texts.map((key, spent) => ({ key, spent, held: 0 }));
  assert.deepEqual(await store.read(texts), balances);
}

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createDeadlines, type Timed } from '../../src/budgets/deadlines.js';

test('gives out what is due, earliest first, and nothing that left or is not due yet', () => {
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.record({ add: fc.nat(50) }) },
    { weight: 2, arbitrary: fc.record({ remove: fc.nat() }) },
    { weight: 1, arbitrary: fc.record({ takeDue: fc.nat(50) }) },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200, size: 'max' }), (steps) => {
      const deadlines = createDeadlines<Timed>();
      const inside: Timed[] = [];
      const drain = steps.map(() => ({ takeDue: 50 }));
      for (const each of [...steps, ...drain]) {
        if ('add' in each) {
          const item = { dueAt: each.add, position: 0 };
          deadlines.add(item);
          inside.push(item);
        } else if ('remove' in each) {
          const [item] = inside.splice(each.remove % inside.length, 1);
          if (item) deadlines.remove(item);
        } else {
          const earliest = Math.min(...inside.map(({ dueAt }) => dueAt));
          const taken = deadlines.takeDue(each.takeDue);
          assert.equal(taken?.dueAt, earliest <= each.takeDue ? earliest : undefined);
          if (taken) assert.equal(inside.splice(inside.indexOf(taken), 1)[0], taken);
        }
      }
    }),
  );
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ConfigError } from '../../src/errors.js';
import { usageChecks } from '../../src/testing/usage-checks.js';
import { memoryUsage } from '../../src/usage/memory.js';
import { testChecks } from '../support/run-checks.js';
import { usageRow } from '../support/usage.js';

const shared = memoryUsage();
testChecks('memory', usageChecks, () => shared);

test('of more rows than it keeps the oldest are forgotten', async () => {
  const store = memoryUsage({ maxRows: 3 });
  const rows = [1, 2, 3, 4, 5].map((at) => usageRow({ at }));
  await store.append(rows.slice(2));
  await store.append(rows.slice(0, 2));
  assert.deepEqual(
    (await store.query({ tenant: 'acme' }, { limit: 9 })).map(({ at }) => at),
    [5, 4, 3],
  );
  assert.equal((await store.summarize({ tenant: 'acme' }, 'tenant'))[0]?.requests, 3);
});

test('a bound that is none is refused at once', () => {
  for (const maxRows of [0, -1, 1.5, Number.NaN, '10']) {
    const make = () => memoryUsage({ maxRows: maxRows as number });
    assert.throws(make, (error) => error instanceof ConfigError && error.path === 'maxRows');
  }
});

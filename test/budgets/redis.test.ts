import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { after, describe, mock, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { redisBudget, type SendCommand } from '../../src/budgets/redis.js';
import type { BudgetStore, ReserveLine, ReserveRequest } from '../../src/core/budget.js';
import { ConfigError } from '../../src/errors.js';
import { budgetChecks } from '../../src/testing/budget-checks.js';
import { followUnhurried, trySchedules, unhurriedSchedules } from '../support/budget-schedules.js';
import { keepOddTexts } from '../support/odd-texts.js';
import { startRedis, withoutRedis } from '../support/redis.js';
import { testChecks } from '../support/run-checks.js';

const RACER = fileURLToPath(new URL('redis-racer.ts', import.meta.url));
const ROUNDS = process.env.SOAK ? 20 : 1;
const HOUR_MS = 3_600_000;

function line(key: string, parts: Partial<ReserveLine> = {}): ReserveLine {
  return { key, amount: 4, limit: 10, expiresAt: null, ...parts };
}

function request(lines: readonly ReserveLine[], parts: Partial<ReserveRequest> = {}): ReserveRequest {
  return { id: randomUUID(), lines, leaseMs: 60_000, ...parts };
}

/** Reserves what must fit. */
async function hold(store: BudgetStore, asked: ReserveRequest) {
  const result = await store.reserve(asked);
  assert.ok(result.ok, `not granted: ${JSON.stringify(result)}`);
  return result.hold;
}

for (const prefix of ['', '{a', 'a}', 'a{b}c']) {
  test(`a prefix that is ${JSON.stringify(prefix)} is refused`, () => {
    assert.throws(() => redisBudget({ send: async () => [], prefix }), ConfigError);
  });
}

test('a reply that is no script’s grants nothing', async () => {
  for (const reply of [undefined, 'OK', 1, [], ['held'], ['granted'], { ok: true }]) {
    const store = redisBudget({ send: async () => reply });
    await assert.rejects(store.reserve(request([line('k')])), Error, JSON.stringify(reply));
  }
});

describe('a budget in Redis', { skip: withoutRedis }, async () => {
  const server = await startRedis({ after });
  const send = await server.connect();

  for (const client of ['redis', 'ioredis'] as const) {
    const connected = await server.connect(client);
    testChecks(client, budgetChecks, () => redisBudget({ send: connected, prefix: `kit-${client}` }));
  }

  for (const client of ['redis-resp3', 'ioredis-buffers'] as const) {
    test(`replies as ${client} gives them are understood`, async () => {
      const store = redisBudget({ send: await server.connect(client), prefix: client });
      const once = { key: 'once', fingerprint: 'é' };
      const held = await hold(store, request([line('ключ')], { once }));
      assert.equal(await store.commit(held, [{ key: 'ключ', amount: 3 }], '{"n":"é"}'), 'settled');
      assert.deepEqual(await store.recall(once), { state: 'settled', outcome: '{"n":"é"}' });
      assert.deepEqual(await store.read(['ключ']), [{ key: 'ключ', spent: 3, held: 0 }]);
      const refused = await store.reserve(request([line('ключ', { amount: 8 })]));
      assert.deepEqual(refused, { ok: false, refused: [{ key: 'ключ', left: 7 }] });
    });
  }

  test('keys, ids and outcomes with NUL and lone surrogates are kept apart and come back', () =>
    keepOddTexts(redisBudget({ send })));

  test('a server that has forgotten the scripts is sent them again', async () => {
    const store = redisBudget({ send });
    const key = randomUUID();
    await hold(store, request([line(key)]));
    await send('SCRIPT', 'FLUSH');
    await hold(store, request([line(key)]));
    assert.deepEqual(await store.read([key]), [{ key, spent: 0, held: 8 }]);
  });

  test('the text of a script is sent once, not with each call', async () => {
    const names: string[] = [];
    await send('SCRIPT', 'FLUSH');
    const counting: SendCommand = (...command) => {
      names.push(command[0]);
      return send(...command);
    };
    const store = redisBudget({ send: counting });
    for (let call = 0; call < 5; call += 1) await store.release(randomUUID());
    assert.equal(names.filter((name) => name === 'EVAL').length, 1);
    assert.equal(names.filter((name) => name === 'EVALSHA').length, 5);
  });

  test('what was held in a bucket that is gone is not taken out of the one made anew in its place', async () => {
    const store = redisBudget({ send, prefix: 'gone' });
    const key = randomUUID();
    const freed = await hold(store, request([line(key)]));
    const booked = await hold(store, request([line(key, { amount: 3 })]));
    const lapsing = await hold(store, request([line(key, { amount: 2 })], { leaseMs: 40 }));
    await send('DEL', `{gone}:bucket:${key}`);
    assert.deepEqual(await store.read([key]), [{ key, spent: 0, held: 0 }]);
    const anew = await hold(store, request([line(key, { amount: 1 })]));
    await sleep(120);
    assert.deepEqual(await store.read([key]), [{ key, spent: 0, held: 1 }]);
    assert.equal(await store.release(freed.id), 'released');
    assert.equal(await store.commit(booked, [{ key, amount: 3 }]), 'settled');
    assert.equal(await store.release(lapsing.id), 'released');
    assert.deepEqual(await store.read([key]), [{ key, spent: 0, held: 1 }]);
    const refused = await store.reserve(request([line(key, { amount: 10 })]));
    assert.deepEqual(refused, { ok: false, refused: [{ key, left: 9 }] });
    assert.equal(await store.commit(anew, [{ key, amount: 1 }]), 'settled');
    assert.deepEqual(await store.read([key]), [{ key, spent: 1, held: 0 }]);
  });

  test('a sum that would pass 2^53 - 1 stays there, by a commit as by a lapse', async () => {
    const store = redisBudget({ send });
    const [key, largest] = [randomUUID(), Number.MAX_SAFE_INTEGER];
    const lines = [line(key, { amount: 5, limit: largest })];
    const [first, second] = [await hold(store, request(lines)), await hold(store, request(lines))];
    await hold(store, request(lines, { leaseMs: 1_000 }));
    for (const held of [first, second]) await store.commit(held, [{ key, amount: largest - 1 }]);
    assert.deepEqual(await store.read([key]), [{ key, spent: largest, held: 5 }]);
    await sleep(1_200);
    assert.deepEqual(await store.read([key]), [{ key, spent: largest, held: 0 }]);
  });

  test('any schedule is answered as by a reference ledger, and leaves no hold behind', (t) =>
    trySchedules(t, {
      schedules: unhurriedSchedules(),
      follow: (schedule) => followUnhurried(redisBudget({ send, prefix: 'schedules' }), schedule),
      few: 10,
      lanes: 10,
    }));

  test('two prefixes are two ledgers', async () => {
    const stores = ['one', 'two'].map((prefix) => redisBudget({ send, prefix }));
    const asked = request([line('k', { amount: 10 })], { once: { key: 'o', fingerprint: 'f' } });
    for (const store of stores) await hold(store, asked);
    for (const store of stores) assert.equal(await store.release(asked.id), 'released');
  });

  test('the server’s clock decides leases, not the process’s', async (t) => {
    t.after(() => mock.timers.reset());
    const store = redisBudget({ send });
    const key = randomUUID();
    await hold(store, request([line(key)]));
    mock.timers.enable({ apis: ['Date'], now: Date.now() + 48 * HOUR_MS });
    assert.deepEqual(await store.read([key]), [{ key, spent: 0, held: 4 }]);
  });

  test('the hold on record decides which keys a commit may have, not the one handed in', async () => {
    const store = redisBudget({ send });
    const [key, other] = [randomUUID(), randomUUID()];
    const { id } = await hold(store, request([line(key)]));
    const forged = { id, lines: [{ key: other, amount: 4 }] };
    await assert.rejects(store.commit(forged, [{ key: other, amount: 4 }]), TypeError);
    assert.deepEqual(await store.read([key, other]), [
      { key, spent: 0, held: 4 },
      { key: other, spent: 0, held: 0 },
    ]);
    assert.equal(await store.commit(forged, [{ key, amount: 2 }]), 'settled');
    assert.deepEqual(await store.read([key]), [{ key, spent: 2, held: 0 }]);
  });

  test('a bucket whose expiry is already past is still not overspent, nor lost before its holds', async () => {
    const store = redisBudget({ send });
    const key = randomUUID();
    const lines = [line(key, { amount: 6, expiresAt: 0 })];
    const held = await hold(store, request(lines));
    assert.deepEqual(await store.reserve(request(lines)), { ok: false, refused: [{ key, left: 4 }] });
    assert.equal(await store.commit(held, [{ key, amount: 9 }]), 'settled');
    assert.deepEqual(await store.read([key]), [{ key, spent: 9, held: 0 }]);
  });

  test('a bucket is kept until the latest expiry anybody named, and a day longer than its holds', async () => {
    const store = redisBudget({ send, prefix: 'expiry' });
    const [soon, late] = [Date.now() + HOUR_MS, Date.now() + 90 * HOUR_MS];
    await hold(store, request([line('late', { amount: 1, expiresAt: soon })]));
    await hold(store, request([line('late', { amount: 1, expiresAt: late })]));
    await hold(store, request([line('late', { amount: 1, expiresAt: soon })]));
    await hold(store, request([line('soon', { expiresAt: soon })], { leaseMs: 2 * HOUR_MS }));
    await hold(store, request([line('never')]));
    await hold(store, request([line('never', { expiresAt: soon })]));
    for (const [key, hours] of [
      ['soon', 26],
      ['late', 90],
      ['never', 1e9],
    ] as const) {
      for (const kind of ['bucket', 'pending']) {
        const kept = Number(await send('PTTL', `{expiry}:${kind}:${key}`)) / HOUR_MS;
        const asExpected = hours === 1e9 ? kept > hours : Math.abs(kept - hours) < 0.5;
        assert.ok(asExpected, `${kind}:${key} is kept for ${kept} hours`);
      }
    }
  });

  test('every key has the prefix and an expiry, and none has more than its purpose needs', async () => {
    const prefix = 'bounded';
    const store = redisBudget({ send, prefix });
    const once = (key: string) => ({ key, fingerprint: 'f' });
    const expiresAt = Date.now() + HOUR_MS;
    const lines = [line('k', { amount: 0, expiresAt })];
    const held = await hold(store, request(lines, { id: 'settled', once: once('settled') }));
    await store.commit(held, lines, 'outcome');
    await hold(store, request(lines, { id: 'released', once: once('released') }));
    await store.release('released');
    await store.release('unknown');
    await hold(store, request(lines, { id: 'pending', once: once('pending') }));
    await store.reserve(request(lines, { id: 'loser', once: once('pending') }));
    await store.reserve(request([line('refused', { amount: 11 })]));
    await store.commit({ id: 'stranger', lines: [] }, []);
    await store.recall(once('nobody'));
    await store.read(['nobody']);

    const keys = (await send('KEYS', '*')) as string[];
    const own = keys.filter((key) => key.startsWith(`{${prefix}}:`)).map((key) => key.split(':', 3).slice(1));
    assert.deepEqual(
      own.map((parts) => parts.join(':')).sort(),
      ['bucket:k', 'hold:pending', 'hold:released', 'hold:settled', 'hold:unknown', 'once:pending'].concat([
        'once:settled',
        'pending:k',
      ]),
    );
    for (const key of keys) assert.ok(Number(await send('PTTL', key)) > 0, `${key} never expires`);
    const hours = async (name: string) => Number(await send('PTTL', `{${prefix}}:${name}`)) / HOUR_MS;
    for (const name of ['hold:settled', 'once:settled', 'hold:pending', 'once:pending']) {
      assert.ok((await hours(name)) > 23.9, `${name} is kept for a day`);
    }
    for (const name of ['hold:released', 'hold:unknown']) {
      const kept = await hours(name);
      assert.ok(kept > 0.9 && kept <= 1, `${name} is kept for ${kept} hours`);
    }
    assert.deepEqual(await send('HKEYS', `{${prefix}}:hold:settled`), ['state']);
  });

  test('a late commit is kept for a day from then, and its once key with it', async () => {
    const store = redisBudget({ send, prefix: 'late' });
    const once = { key: 'o', fingerprint: 'f' };
    const held = await hold(store, request([], { id: 'a', once, leaseMs: 1 }));
    // As if the day after its lease were nearly over.
    for (const name of ['hold:a', 'once:o']) await send('PEXPIRE', `{late}:${name}`, '60000');
    assert.equal(await store.commit(held, [], 'late'), 'settled');
    assert.deepEqual(await store.recall(once), { state: 'settled', outcome: 'late' });
    for (const name of ['hold:a', 'once:o']) {
      const kept = Number(await send('PTTL', `{late}:${name}`)) / HOUR_MS;
      assert.ok(kept > 23.9, `${name} is kept for ${kept} hours`);
    }
  });

  for (const next of ['granted', 'refused'] as const) {
    test(`lapsed holds are taken off a bucket's list by the next reserve, here one that is ${next}`, async () => {
      const store = redisBudget({ send, prefix: `lapse-${next}` });
      for (let count = 0; count < 10; count += 1) {
        await hold(store, request([line('k', { amount: 1 })], { leaseMs: 1 }));
      }
      await sleep(50);
      assert.deepEqual(await store.read(['k']), [{ key: 'k', spent: 10, held: 0 }]);
      const result = await store.reserve(request([line('k', { limit: next === 'granted' ? 14 : 13 })]));
      assert.equal(result.ok, next === 'granted');
      assert.equal(await send('ZCARD', `{lapse-${next}}:pending:k`), result.ok ? 1 : 0);
      assert.deepEqual(await store.read(['k']), [{ key: 'k', spent: 10, held: result.ok ? 4 : 0 }]);
    });
  }

  test(`two processes that race for a budget of 10 get 10 together (${ROUNDS} rounds)`, async () => {
    for (let round = 0; round < ROUNDS; round += 1) {
      const key = randomUUID();
      const racers = [1, 2].map(() => {
        const args = ['--import', 'tsx', RACER, String(server.port), key, '10', '200'];
        return spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] });
      });
      for (const { stdout } of racers) await once(stdout, 'data');
      const answers = racers.map(({ stdout }) => once(stdout, 'data'));
      for (const { stdin } of racers) stdin.write('go\n');
      const granted = (await Promise.all(answers)).map(([text]) => Number(text));
      assert.equal(
        granted.reduce((sum, count) => sum + count, 0),
        10,
        `granted: ${granted}`,
      );
      assert.deepEqual(await redisBudget({ send }).read([key]), [{ key, spent: 10, held: 0 }]);
    }
  });
});

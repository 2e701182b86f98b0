import assert from 'node:assert/strict';
import { randomInt, randomUUID } from 'node:crypto';
import { after, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { redisBudget, type SendCommand } from '../../src/budgets/redis.js';
import { findRisks } from '../../src/budgets/redis-durability.js';
import type { BudgetStore, Hold, ReserveLine, ReserveRequest } from '../../src/core/budget.js';
import { imageCount, monthly, total, usd } from '../../src/core/windows.js';
import { budgetChecks } from '../../src/testing/budget-checks.js';
import { createTestApp, until } from '../support/app.js';
import { freePort } from '../support/free-port.js';
import { startRedis, withoutRedis } from '../support/redis.js';
import { testChecks } from '../support/run-checks.js';

const KILLS = process.env.SOAK ? 100 : 3;
const LASTING = { key: 'k', limit: 1_000_000, amount: 3, expiresAt: null };

function request(lines: readonly ReserveLine[] = [LASTING], id: string = randomUUID()): ReserveRequest {
  return { id, lines, leaseMs: 600_000 };
}

/** Reserves what must fit. */
async function hold(store: BudgetStore, asked: ReserveRequest = request()): Promise<Hold> {
  const result = await store.reserve(asked);
  assert.ok(result.ok, `not granted: ${JSON.stringify(result)}`);
  return result.hold;
}

/** What a client knows of its operations: only what was answered counts as known. */
interface Log {
  readonly asked: string[];
  readonly granted: Set<string>;
  readonly settled: Set<string>;
  readonly released: Set<string>;
}

/** Reserves, and then books 2, releases or leaves pending, until the server is gone. */
async function spend(store: BudgetStore, log: Log): Promise<void> {
  for (let turn = 0; ; turn += 1) {
    const asked = request();
    log.asked.push(asked.id);
    const held = await hold(store, asked);
    log.granted.add(held.id);
    if (turn % 3 === 0) continue;
    if (turn % 3 === 1) {
      await store.commit(held, [{ key: 'k', amount: 2 }]);
      log.settled.add(held.id);
    } else {
      await store.release(held.id);
      log.released.add(held.id);
    }
  }
}

/** Asks the ledger about every id. Answers how many it books, after freeing everything that was pending. */
async function findSettled(store: BudgetStore, log: Log): Promise<number> {
  let settled = 0;
  for (const id of log.asked) {
    const again = await store.reserve(request([{ ...LASTING, limit: 0 }], id));
    const known = again.ok ? 'pending' : 'closed' in again ? 'closed' : 'unknown';
    if (log.granted.has(id)) assert.notEqual(known, 'unknown', 'a granted hold was forgotten');
    if (log.settled.has(id) || log.released.has(id))
      assert.equal(known, 'closed', 'a settlement was forgotten');
    if (known === 'closed' && !log.released.has(id)) {
      assert.equal(await store.release(id), 'already');
      settled += 1;
    }
    if (known === 'pending') await store.release(id);
  }
  return settled;
}

describe('Redis that fails', { skip: withoutRedis }, () => {
  test(`kill -9 in mid-flight, ${KILLS} times, loses nothing that was acknowledged`, async (t) => {
    const server = await startRedis(t);
    for (let kill = 0; kill < KILLS; kill += 1) {
      const log: Log = { asked: [], granted: new Set(), settled: new Set(), released: new Set() };
      const prefix = `kill-${kill}`;
      const store = redisBudget({ send: await server.connect(), prefix });
      const workers = Promise.allSettled(Array.from({ length: 8 }, () => spend(store, log)));
      await until(() => log.settled.size > 10);
      await sleep(randomInt(50));
      await server.kill();
      await workers;
      await server.start();
      const afterwards = redisBudget({ send: await server.connect(), prefix });
      const before = await afterwards.read(['k']);
      const settled = await findSettled(afterwards, log);
      const [balance] = await afterwards.read(['k']);
      t.diagnostic(`${log.asked.length} holds, ${settled} booked, ${before[0]?.held} were held at the crash`);
      assert.ok(balance, 'a balance');
      assert.equal(balance.held, 0, 'what no hold accounts for is held');
      // Among the closed ones a release may be whose answer was lost; it books nothing.
      assert.ok(balance.spent >= 2 * log.settled.size, `${balance.spent} for ${log.settled.size} commits`);
      assert.ok(balance.spent <= 2 * settled, `${balance.spent} for ${settled} at most`);
    }
  });

  test('a server whose memory is full grants nothing, leaves nothing half held, and still settles', async (t) => {
    const server = await startRedis(t);
    const send = await server.connect();
    const store = redisBudget({ send });
    const once = { key: 'o', fingerprint: 'f' };
    const [booked, freed] = [await hold(store, { ...request(), once }), await hold(store)];
    const lapsed = await hold(store, { ...request(), leaseMs: 1 });
    await sleep(20);
    await send('CONFIG', 'SET', 'maxmemory', '1');
    await assert.rejects(store.reserve(request()), /OOM/);
    await assert.rejects(store.reserve(request([{ ...LASTING, limit: 0 }])), /OOM/);
    assert.deepEqual(await store.read(['k']), [{ key: 'k', spent: 3, held: 6 }]);
    assert.equal(await store.commit(booked, [{ key: 'k', amount: 2 }], 'outcome'), 'settled');
    assert.equal(await store.commit(lapsed, [{ key: 'k', amount: 1 }]), 'settled');
    assert.equal(await store.release(freed.id), 'released');
    assert.deepEqual(await store.read(['k']), [{ key: 'k', spent: 3, held: 0 }]);
    assert.deepEqual(await store.recall(once), { state: 'settled', outcome: 'outcome' });
  });

  test('a server that takes no writes grants and settles nothing', async (t) => {
    const server = await startRedis(t);
    const send = await server.connect();
    const store = redisBudget({ send });
    const held = await hold(store);
    await send('CONFIG', 'SET', 'min-replicas-to-write', '1');
    await assert.rejects(store.reserve(request()), /NOREPLICAS/);
    await assert.rejects(store.commit(held, held.lines), /NOREPLICAS/);
    await assert.rejects(store.release(held.id), /NOREPLICAS/);
    assert.deepEqual(await store.read(['k']), [{ key: 'k', spent: 0, held: 3 }]);
  });
});

describe('Redis that may forget', { skip: withoutRedis }, async () => {
  const FORGETFUL = {
    ...{ appendonly: 'no', appendfsync: 'everysec' },
    ...{ maxmemory: '100mb', 'maxmemory-policy': 'allkeys-lru' },
  };
  const server = await startRedis({ after }, FORGETFUL);
  const send = await server.connect();
  const ALL = [
    /"appendonly yes"/,
    /"appendfsync always", not everysec/,
    /"maxmemory-policy noeviction", not allkeys-lru/,
  ];

  test('is told of once, after the first operation, in one sentence for each setting', async () => {
    const warnings: string[] = [];
    const store = redisBudget({ send, onWarning: (message) => warnings.push(message) });
    await Promise.all(Array.from({ length: 5 }, () => store.read(['k'])));
    await until(() => warnings.length > 0);
    await store.read(['k']);
    await findRisks(send);
    assert.equal(warnings.length, 1);
    for (const words of ALL) assert.match(warnings[0] ?? '', words);
  });

  test('is a warning of the process by default', async () => {
    const warned = new Promise<Error & { code?: string }>((resolve) => {
      process.on('warning', function listen(warning: Error & { code?: string }) {
        if (warning.code !== 'IMAGES_ROUTER_BUDGET') return;
        process.off('warning', listen);
        resolve(warning);
      });
    });
    await redisBudget({ send }).read(['k']);
    assert.match((await warned).message, /appendonly/);
  });

  test('does not fail the operation, also when who is told throws', async () => {
    let told = false;
    const onWarning = () => {
      told = true;
      throw new Error('thrown by the host');
    };
    await redisBudget({ send, onWarning }).read(['k']);
    await until(() => told);
  });

  for (const client of ['redis-resp3', 'ioredis', 'ioredis-buffers'] as const) {
    test(`is found out through ${client}`, async () => {
      const risks = await findRisks(await server.connect(client));
      assert.equal(risks.length, ALL.length);
      for (const [place, words] of ALL.entries()) assert.match(risks[place] ?? '', words);
    });
  }

  test('is not claimed where the server does not say, and the rest is', async () => {
    await send('ACL', 'SETUSER', 'managed', 'on', 'nopass', '~*', '&*', '+@all', '-config');
    const managed = await server.connect();
    await managed('AUTH', 'managed', '');
    const risks = await findRisks(managed);
    assert.equal(risks.length, 1);
    assert.match(risks[0] ?? '', /maxmemory-policy/);
    await send('ACL', 'SETUSER', 'managed', '-info');
    assert.deepEqual(await findRisks(managed), []);
  });

  test('is not claimed of a server that is fit for money, or whose memory has no limit', async (t) => {
    assert.deepEqual(await findRisks(await (await startRedis(t)).connect()), []);
    const unlimited = await startRedis(t, { 'maxmemory-policy': 'allkeys-lru' });
    assert.deepEqual(await findRisks(await unlimited.connect()), []);
  });
});

describe('Redis as a cluster', { skip: withoutRedis }, async () => {
  const node = async () =>
    startRedis({ after }, { 'cluster-enabled': 'yes', 'cluster-port': String(await freePort()) });
  const [from, to] = [await node(), await node()];
  const [atFrom, atTo] = [await from.connect(), await to.connect()];
  await atFrom('CLUSTER', 'ADDSLOTSRANGE', '0', '16383');
  const ok = async (send: SendCommand) => String(await send('CLUSTER', 'INFO')).includes('cluster_state:ok');
  await until(() => ok(atFrom));
  const send = await from.connect('redis-cluster');

  testChecks('cluster', budgetChecks, () => redisBudget({ send }));

  test('a bucket on its way to another node is never mistaken for an empty one', async () => {
    const [slot, idFrom, idTo] = (
      await Promise.all([
        atFrom('CLUSTER', 'KEYSLOT', '{moved}:'),
        atFrom('CLUSTER', 'MYID'),
        atTo('CLUSTER', 'MYID'),
      ])
    ).map(String) as [string, string, string];
    await atFrom('CLUSTER', 'MEET', '127.0.0.1', String(to.port), await busPort(atTo));
    await until(async () => (await ok(atTo)) && String(await atFrom('CLUSTER', 'NODES')).includes(idTo));
    // This client also follows a key to a node that has no slots yet.
    const store = redisBudget({ send: await from.connect('ioredis-cluster'), prefix: 'moved' });
    const lines = [{ ...LASTING, limit: 3 }];
    const held = await hold(store, request(lines));
    await atTo('CLUSTER', 'SETSLOT', slot, 'IMPORTING', idFrom);
    await atFrom('CLUSTER', 'SETSLOT', slot, 'MIGRATING', idTo);
    const names = (await atFrom('CLUSTER', 'GETKEYSINSLOT', slot, '100')) as string[];
    assert.equal(names.length, 3);
    for (const name of names) {
      const other = await store.reserve(request(lines)).catch(() => undefined);
      assert.notEqual(other?.ok, true, `granted before ${name} moved`);
      await atFrom('MIGRATE', '127.0.0.1', String(to.port), name, '0', '5000');
    }
    const last = await store.reserve(request(lines)).catch(() => undefined);
    assert.notEqual(last?.ok, true, 'granted before the slot had moved');
    for (const each of [atTo, atFrom]) await each('CLUSTER', 'SETSLOT', slot, 'NODE', idTo);
    assert.deepEqual(await store.reserve(request(lines)), { ok: false, refused: [{ key: 'k', left: 0 }] });
    assert.equal(await store.commit(held, [{ key: 'k', amount: 1 }]), 'settled');
    assert.deepEqual(await store.read(['k']), [{ key: 'k', spent: 1, held: 0 }]);
  });
});

describe('Redis as a cluster of three', { skip: withoutRedis }, async () => {
  const starting = ['0-5460', '5461-10922', '10923-16383'].map(async (slots) => {
    const settings = { 'cluster-enabled': 'yes', 'cluster-port': String(await freePort()) };
    const server = await startRedis({ after }, settings);
    const send = await server.connect();
    await send('CLUSTER', 'ADDSLOTSRANGE', ...slots.split('-'));
    return { server, send };
  });
  const nodes = await Promise.all(starting);
  const [first] = nodes;
  for (const { server, send } of nodes) {
    await first?.send('CLUSTER', 'MEET', '127.0.0.1', String(server.port), await busPort(send));
  }
  const ok = async (send: SendCommand) => String(await send('CLUSTER', 'INFO')).includes('cluster_state:ok');
  for (const { send } of nodes) await until(() => ok(send));

  for (const client of ['redis-cluster', 'ioredis-cluster'] as const) {
    test(`keeps budgets of a user, a tenant and everyone in one step, whichever node ${client} asks`, async (t) => {
      for (const [place, { server }] of nodes.entries()) {
        const budget = redisBudget({ send: await server.connect(client), prefix: `${client}-${place}` });
        const budgets = [
          monthly(imageCount(100)),
          monthly(usd(1), { per: 'user' }),
          total(usd(0.08), { per: 'everyone' }),
        ] as const;
        const app = await createTestApp(t, { budget, caller: { budgets: [...budgets] } });
        const body = { model: 'placeholder/sketch', prompt: 'a lighthouse', response_format: 'b64_json' };
        const statuses: number[] = [];
        for (let request = 0; request < 3; request += 1) statuses.push((await app.native(body)).status);
        assert.deepEqual(statuses, [200, 200, 402]);
        const spent = Object.values(await app.balances()).map((balance) => balance.spent);
        assert.deepEqual(spent, [2, 80_000, 80_000]);
      }
    });
  }
});

async function busPort(send: SendCommand): Promise<string> {
  const [, port] = (await send('CONFIG', 'GET', 'cluster-port')) as [string, string];
  return port;
}

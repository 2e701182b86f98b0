import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import Database from 'libsql';
import { sqliteBudget } from '../../src/budgets/sqlite.js';
import { runs } from '../support/runs.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const KILLS = runs(3).numRuns;
const PROGRAM = fileURLToPath(new URL('sqlite-process.ts', import.meta.url));

interface Server {
  readonly process: ChildProcess;
  /** Resolves when it has ended and everything it said is here. */
  readonly ended: Promise<unknown>;
  /** Everything it has said so far. */
  said(): string;
  /** Waits until it has said something. */
  says(text: string): Promise<void>;
  /** Lets it begin. */
  begin(): void;
}

async function startServer(file: string, job: 'race' | 'book' | 'lock'): Promise<Server> {
  const child = spawn(process.execPath, ['--import', 'tsx', PROGRAM, file, job], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const ended = once(child, 'close');
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  const says = async (text: string) => {
    while (!output.includes(text)) {
      assert.ok(child.stdout.readable, `${job} ended and never said ${text}`);
      await Promise.race([once(child.stdout, 'data'), once(child.stdout, 'end')]);
    }
  };
  await says('ready\n');
  return { process: child, ended, said: () => output, says, begin: () => child.stdin.write('go\n') };
}

test('three processes that race for a budget of ten are granted exactly ten', async (t) => {
  const file = join(await temporaryFolder(t), 'budget.db');
  for (let round = 0; round < runs(1).numRuns; round += 1) {
    const raced = `${file}${round}`;
    const servers = await Promise.all([1, 2, 3].map(() => startServer(raced, 'race')));
    for (const server of servers) server.begin();
    await Promise.all(servers.map(({ ended }) => ended));
    const granted = servers.map((server) => Number(server.said().replace('ready', '')));
    t.diagnostic(`granted: ${granted.join(', ')}`);
    assert.equal(
      granted.reduce((sum, count) => sum + count, 0),
      10,
    );
    const store = sqliteBudget({ database: new Database(raced) });
    assert.deepEqual(await store.read(['everyone']), [{ key: 'everyone', spent: 0, held: 10 }]);
  }
});

test('while another process has the lock the event loop goes on, reads are answered, and a reserve waits', async (t) => {
  const file = join(await temporaryFolder(t), 'budget.db');
  const store = sqliteBudget({ database: new Database(file) });
  const lines = [{ key: 'k', limit: 10, amount: 1, expiresAt: null }];
  await store.reserve({ id: 'first', leaseMs: 60_000, lines });
  const locker = await startServer(file, 'lock');
  locker.begin();
  await locker.says('locked\n');

  const delay = monitorEventLoopDelay({ resolution: 5 });
  delay.enable();
  const reserved = store.reserve({ id: 'second', leaseMs: 60_000, lines });
  await sleep(1_000);
  assert.deepEqual(await store.read(['k']), [{ key: 'k', spent: 0, held: 1 }]);
  delay.disable();
  locker.begin();
  assert.equal((await reserved).ok, true);
  assert.deepEqual(await store.read(['k']), [{ key: 'k', spent: 0, held: 2 }]);
  const longestMs = delay.max / 1e6;
  t.diagnostic(`longest turn of the event loop: ${longestMs.toFixed(0)} ms of 1000`);
  assert.ok(longestMs < 500, `the event loop stood still for ${longestMs} ms`);
  await locker.ended;
});

test('a lock that stays is given up after two seconds, with the error of the driver, and works afterwards', async (t) => {
  const file = join(await temporaryFolder(t), 'budget.db');
  const store = sqliteBudget({ database: new Database(file) });
  await store.read([]);
  const locker = await startServer(file, 'lock');
  locker.begin();
  await locker.says('locked\n');
  const start = performance.now();
  await assert.rejects(store.release('a'), { code: 'SQLITE_BUSY' });
  const waitedMs = performance.now() - start;
  assert.ok(waitedMs > 1_900 && waitedMs < 20_000, `it waited for ${waitedMs} ms`);
  locker.begin();
  await locker.ended;
  assert.equal(await store.release('a'), 'unknown');
});

test(`after kill -9, ${KILLS} times, nothing that was answered is lost and what was held counts as spent`, async (t) => {
  const file = join(await temporaryFolder(t), 'budget.db');
  const reserved: string[] = [];
  const committed = new Set<string>();
  for (let kill = 0; kill < KILLS; kill += 1) {
    const server = await startServer(file, 'book');
    server.begin();
    await server.says('committed');
    await sleep(randomInt(100));
    server.process.kill('SIGKILL');
    await server.ended;
    for (const [, what, id = ''] of server.said().matchAll(/^(reserved|committed) (\S+)\n/gm)) {
      if (what === 'reserved') reserved.push(id);
      else committed.add(id);
    }
  }
  await sleep(1_000);

  const database = new Database(file);
  const store = sqliteBudget({ database });
  const [balance] = await store.read(['everyone']);
  const holds = database.prepare('SELECT id, state FROM images_router_holds').all();
  const known = holds as { id: string; state: string }[];
  const states = new Map(known.map(({ id, state }) => [id, state]));
  assert.deepEqual(balance, { key: 'everyone', spent: known.length, held: 0 });
  assert.deepEqual(
    reserved.filter((id) => !states.has(id)),
    [],
    'reserves that were answered and are lost',
  );
  assert.deepEqual(
    [...committed].filter((id) => states.get(id) !== 'settled'),
    [],
    'commits that were answered and are lost',
  );
  const unsettled = known.filter(({ state }) => state !== 'settled');
  t.diagnostic(`${committed.size} commits answered, ${unsettled.length} holds left behind`);
  assert.ok(unsettled.length > 0, 'a kill came between reserve and commit');
  for (const { id } of unsettled) {
    const again = await store.reserve({ id, leaseMs: 60_000, lines: [] });
    assert.deepEqual(again, { ok: false, closed: true });
  }
});

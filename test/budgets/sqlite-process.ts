/**
 * A server process on a SQLite file: `sqlite-process.ts <file> <job>`. Says `ready` on standard output, and begins
 * when something comes on standard input.
 */
import { randomInt, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import Database from 'libsql';
import { sqliteBudget } from '../../src/budgets/sqlite.js';

const [file = '', job = ''] = process.argv.slice(2);
const database = new Database(file);
const store = sqliteBudget({ database });

const say = (text: string) => process.stdout.write(`${text}\n`);
const reserve = (id: string, leaseMs: number, limit: number) =>
  store.reserve({ id, leaseMs, lines: [{ key: 'everyone', limit, amount: 1, expiresAt: null }] });

const jobs: Readonly<Record<string, () => Promise<unknown>>> = {
  /** A hundred reserves in a tenth of a second on a budget for ten; says how many were granted. */
  async race() {
    const asked = Array.from({ length: 100 }, async () => {
      await sleep(randomInt(100));
      return reserve(randomUUID(), 60_000, 10);
    });
    const granted = (await Promise.all(asked)).filter(({ ok }) => ok);
    say(`${granted.length}`);
  },
  /** Books as fast as it can, from six requests at a time, and says what was answered. */
  async book() {
    const work = async () => {
      for (;;) {
        const id = randomUUID();
        const result = await reserve(id, 500, Number.MAX_SAFE_INTEGER);
        if (!result.ok) throw new Error(JSON.stringify(result));
        say(`reserved ${id}`);
        await sleep(randomInt(20));
        await store.commit(result.hold, result.hold.lines);
        say(`committed ${id}`);
      }
    };
    await Promise.all(Array.from({ length: 6 }, work));
  },
  /** Has the lock until something more comes on standard input. */
  async lock() {
    database.exec('BEGIN IMMEDIATE');
    say('locked');
    await once(process.stdin, 'data');
    database.exec('COMMIT');
  },
};

await store.read([]);
say('ready');
await once(process.stdin, 'data');
await jobs[job]?.();
process.stdin.destroy();

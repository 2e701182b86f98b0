/**
 * A process that wants one unit of a bucket many times at once: `redis-racer.ts <port> <key> <limit> <times>`. Says
 * `ready`, starts at a line on its standard input, books what it was granted and says how often that was.
 */
import { once } from 'node:events';
import { createClient } from 'redis';
import { redisBudget } from '../../src/budgets/redis.js';

const [port, key = '', limit, times] = process.argv.slice(2);
const client = await createClient({ socket: { host: '127.0.0.1', port: Number(port) } }).connect();
const store = redisBudget({ send: (...command) => client.sendCommand(command) });

process.stdout.write('ready\n');
await once(process.stdin, 'data');
const lines = [{ key, amount: 1, limit: Number(limit), expiresAt: null }];
const granted = await Promise.all(
  Array.from({ length: Number(times) }, async () => {
    const result = await store.reserve({ id: crypto.randomUUID(), lines, leaseMs: 60_000 });
    if (result.ok) await store.commit(result.hold, result.hold.lines);
    return result.ok;
  }),
);
process.stdout.write(`${granted.filter(Boolean).length}\n`);
process.stdin.destroy();
client.destroy();

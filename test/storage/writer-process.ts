/**
 * A process that stores the same few keys again and again, several at once, and sweeps in between:
 * `writer-process.ts <root> <puts>`. Says `ready` when the first object is stored.
 */
import { randomBytes, randomInt } from 'node:crypto';
import { filesystem } from '../../src/storage/filesystem.js';
import { factsOf, SHARED_KEYS } from './samples.js';

const [root = '', puts = '0'] = process.argv.slice(2);
const storage = filesystem({ root });
let left = Number(puts);

async function write(): Promise<void> {
  while (left > 0) {
    left -= 1;
    const body = randomBytes(randomInt(1, 1_500_000));
    const key = SHARED_KEYS[randomInt(SHARED_KEYS.length)] ?? '';
    await storage.put(key, body, factsOf(body));
    process.stdout.write('ready\n');
    if (left % 5 === 0) await storage.sweep?.({ before: Date.now() });
  }
}

await Promise.all(Array.from({ length: 6 }, write));

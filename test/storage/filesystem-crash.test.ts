import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { readdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { MediaStorage } from '../../src/core/storage.js';
import { filesystem } from '../../src/storage/filesystem.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import { readAndHash, SHARED_KEYS } from './samples.js';

const WRITER = fileURLToPath(new URL('writer-process.ts', import.meta.url));
const KILLS = process.env.SOAK ? 200 : 4;
const PUTS = process.env.SOAK ? 2000 : 60;
const TWO_HOURS_MS = 7_200_000;

function startWriter(root: string, puts: number): ChildProcess {
  const args = ['--import', 'tsx', WRITER, root, String(puts)];
  return spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
}

/** Reads every key; each is absent, or whole with its own facts. Answers how many there are. */
async function countWhole(storage: MediaStorage): Promise<number> {
  let whole = 0;
  for (const key of SHARED_KEYS) {
    const found = await readAndHash(storage, key);
    if (found === undefined) continue;
    assert.equal(found.digest, found.sha256, `${key} has the bytes its facts speak of`);
    assert.equal(found.read, found.size);
    assert.equal(found.metadata.bytes, found.size, `${key} has the facts of one put`);
    whole += 1;
  }
  return whole;
}

test(`after kill -9 in mid-write, ${KILLS} times, every readable object is whole and the rest is swept`, async (t) => {
  const root = await temporaryFolder(t);
  const storage = filesystem({ root });
  const incoming = join(root, '@incoming');
  const brokenOff = () => readdir(incoming).catch(() => []);
  // A few kills may all fall between two writes.
  for (let kill = 0; kill < KILLS || (kill < 10 * KILLS && (await brokenOff()).length === 0); kill += 1) {
    const writer = startWriter(root, Number.MAX_SAFE_INTEGER);
    assert.ok(writer.stdout);
    await once(writer.stdout, 'data');
    await sleep(randomInt(100));
    writer.kill('SIGKILL');
    await once(writer, 'exit');
    assert.ok((await countWhole(storage)) > 0, 'objects were stored');
  }

  const orphans = await brokenOff();
  t.diagnostic(`${orphans.length} broken-off writes`);
  assert.ok(orphans.length > 0, 'writes were broken off');
  for (const name of orphans) {
    const aged = name.replace(/^\d+/, String(Date.now() - TWO_HOURS_MS));
    await rename(join(incoming, name), join(incoming, aged));
  }
  const swept = await storage.sweep?.({ before: Date.now() });
  assert.deepEqual(swept, { removed: 0, orphans: orphans.length });
  assert.deepEqual(await readdir(incoming), []);
  assert.ok((await countWhole(storage)) > 0, 'objects were stored');
});

test('two processes write the same keys and sweep while a third reads only whole objects', async (t) => {
  const root = await temporaryFolder(t);
  const storage = filesystem({ root });
  const writers = [startWriter(root, PUTS), startWriter(root, PUTS)];
  const exits = Promise.all(writers.map((writer) => once(writer, 'exit')));
  let running = true;
  const reading = (async () => {
    let rounds = 0;
    while (running) {
      await countWhole(storage);
      rounds += 1;
      await sleep(1);
    }
    return rounds;
  })();
  for (const writer of writers) writer.stdout?.resume();
  const codes = (await exits.finally(() => {
    running = false;
  })) as [number | null][];
  assert.deepEqual(
    codes.map(([code]) => code),
    [0, 0],
  );
  assert.ok((await reading) > 1);
  assert.equal(await countWhole(storage), SHARED_KEYS.length);
  assert.deepEqual(await readdir(join(root, '@incoming')), []);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { createGroupCommit } from '../../src/storage/group-commit.js';

/** Work that ends when it is told to, and answers which time it was. */
function workByHand() {
  const ends: (() => void)[] = [];
  const keys: string[] = [];
  const share = createGroupCommit(async (key: string) => {
    keys.push(key);
    const time = keys.length;
    await new Promise<void>((resolve) => ends.push(resolve));
    if (key === 'broken') throw new Error(`time ${time}`);
    return time;
  });
  return { share, keys, end: (time: number) => ends[time - 1]?.() };
}

test('those who ask while it is being done share one that begins after it', async () => {
  const { share, keys, end } = workByHand();
  const first = share('a');
  const late = [share('a'), share('a'), share('a')];
  await turn();
  assert.deepEqual(keys, ['a'], 'the next waits for the first');
  end(1);
  assert.equal(await first, 1);
  await turn();
  const later = share('a');
  end(2);
  assert.deepEqual(await Promise.all(late), [2, 2, 2]);
  await turn();
  end(3);
  assert.equal(await later, 3);
  await turn();
  const alone = share('a');
  end(4);
  assert.equal(await alone, 4);
});

test('one key does not wait for another', async () => {
  const { share, keys, end } = workByHand();
  const both = Promise.all([share('a'), share('b')]);
  assert.deepEqual(keys, ['a', 'b']);
  end(1);
  end(2);
  assert.deepEqual(await both, [1, 2]);
});

test('a failure is told to those who shared it, and keeps nobody from the next time', async () => {
  const { share, end } = workByHand();
  const first = assert.rejects(share('broken'), /time 1/);
  const late = [share('broken'), share('broken')].map((shared) => assert.rejects(shared, /time 2/));
  end(1);
  await first;
  await turn();
  end(2);
  await Promise.all(late);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { abortable, merge } from '../../src/core/iterate.js';
import { runs } from '../support/runs.js';

async function collect<T>(source: AsyncIterable<T>): Promise<T[]> {
  const values: T[] = [];
  for await (const value of source) values.push(value);
  return values;
}

async function* yielding<T>(
  values: readonly T[],
  closed: () => void = () => undefined,
): AsyncGenerator<T, string> {
  try {
    for (const value of values) {
      await sleep(0);
      yield value;
    }
    return `${values.length}`;
  } finally {
    closed();
  }
}

/** Never answers, and does not care. */
function hanging(): AsyncIterable<number> & { returned: number } {
  const source = {
    returned: 0,
    [Symbol.asyncIterator]: () => ({
      next: () => new Promise<IteratorResult<number>>(() => undefined),
      return: () => {
        source.returned += 1;
        return new Promise<IteratorResult<number>>(() => undefined);
      },
    }),
  };
  return source;
}

test('abortable yields what its source yields', async () => {
  const { signal } = new AbortController();
  assert.deepEqual(await collect(abortable(yielding([1, 2, 3]), signal)), [1, 2, 3]);
});

test('abortable throws the reason itself and closes a source that never answers', async () => {
  const controller = new AbortController();
  const source = hanging();
  const reason = new Error('enough');
  setTimeout(() => controller.abort(reason), 10);
  await assert.rejects(collect(abortable(source, controller.signal)), (error) => error === reason);
  assert.equal(source.returned, 1);
});

test('abortable does not start a source once it is aborted', async () => {
  let started = false;
  const source: AsyncIterable<number> = {
    [Symbol.asyncIterator]: () => {
      started = true;
      return yielding([1]);
    },
  };
  const signal = AbortSignal.abort(new Error('before'));
  await assert.rejects(collect(abortable(source, signal)), /before/);
  assert.equal(started, false);
});

test('abortable closes its source when the loop is left, and passes its error on', async () => {
  const { signal } = new AbortController();
  let closed = 0;
  for await (const value of abortable(
    yielding([1, 2], () => (closed += 1)),
    signal,
  )) {
    assert.equal(value, 1);
    break;
  }
  await sleep(5);
  assert.equal(closed, 1);
  const failing = (async function* () {
    yield 1;
    throw new Error('broken');
  })();
  await assert.rejects(collect(abortable(failing, signal)), /broken/);
});

test('an abort while the loop body works is seen at the next value', async () => {
  const controller = new AbortController();
  const seen: number[] = [];
  await assert.rejects(async () => {
    for await (const value of abortable(yielding([1, 2, 3]), controller.signal)) {
      seen.push(value);
      controller.abort(new Error('now'));
    }
  }, /now/);
  assert.deepEqual(seen, [1]);
});

test('abortable leaves no listener behind', async () => {
  const controller = new AbortController();
  let listeners = 0;
  const { signal } = controller;
  const add = signal.addEventListener.bind(signal);
  const remove = signal.removeEventListener.bind(signal);
  signal.addEventListener = (...given: Parameters<typeof add>) => {
    listeners += 1;
    add(...given);
  };
  signal.removeEventListener = (...given: Parameters<typeof remove>) => {
    listeners -= 1;
    remove(...given);
  };
  await collect(abortable(yielding([1]), signal));
  assert.equal(listeners, 0);
});

test('merge yields every value of every source once, in each source’s order, and what they return', () =>
  fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(fc.nat(9), { maxLength: 5 }), { maxLength: 6 }),
      fc.integer({ min: 1, max: 4 }),
      async (lists, limit) => {
        let running = 0;
        let most = 0;
        const sources = lists.map((list, place) => () => {
          running += 1;
          most = Math.max(most, running);
          return yielding(
            list.map((value) => ({ place, value })),
            () => (running -= 1),
          );
        });
        const merged = await collect(merge(sources, limit));
        const values = merged.flatMap((item) => ('value' in item ? [item.value] : []));
        for (const [place, list] of lists.entries()) {
          assert.deepEqual(
            values.filter((value) => value.place === place).map(({ value }) => value),
            list,
          );
        }
        const returned = merged.flatMap((item) => ('returned' in item ? [item.returned] : []));
        assert.deepEqual(returned.sort(), lists.map((list) => `${list.length}`).sort());
        assert.ok(most <= limit, `${most} ran at once`);
      },
    ),
    runs(40),
  ));

test('merge ends all sources when the loop is left early, and starts no more', async () => {
  let closed = 0;
  let started = 0;
  const sources = Array.from({ length: 4 }, () => () => {
    started += 1;
    return yielding([1, 2, 3], () => (closed += 1));
  });
  for await (const _ of merge(sources, 2)) break;
  assert.deepEqual([started, closed], [2, 2]);
});

test('merge ends all sources with the first error', async () => {
  let closed = 0;
  const sources = [
    () => yielding([1, 2, 3, 4, 5], () => (closed += 1)),
    async function* () {
      yield 1;
      throw new Error('broken');
    },
  ];
  await assert.rejects(collect(merge<number, unknown>(sources, 2)), /broken/);
  assert.equal(closed, 1);
});

test('a fast source is not held up by a slow one', async () => {
  let release: () => void = () => undefined;
  const gate = new Promise<void>((resolve) => {
    release = resolve;
  });
  const slow = async function* () {
    await gate;
    yield 'slow';
  };
  const seen: string[] = [];
  for await (const item of merge<string, unknown>([slow, () => yielding(['a', 'b', 'c'])], 2)) {
    if ('value' in item) seen.push(item.value);
    if (seen.length === 3) release();
  }
  assert.deepEqual(seen, ['a', 'b', 'c', 'slow']);
});

test('merge of nothing is nothing', async () => {
  assert.deepEqual(await collect(merge([], 3)), []);
});

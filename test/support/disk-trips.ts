/** How often work goes to the disk. */
import { createHook } from 'node:async_hooks';
import type { TestContext } from 'node:test';

/** Starts to count the calls of asynchronous `node:fs`, each a trip to the thread pool. Answers how many there were. */
export function countDiskTrips(t: TestContext): () => number {
  let trips = 0;
  const hook = createHook({
    init(_id, type) {
      if (type.startsWith('FSREQ')) trips += 1;
    },
  }).enable();
  t.after(() => hook.disable());
  return () => trips;
}

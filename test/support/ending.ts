import { after } from 'node:test';

/** Ends what a test file starts, after its tests: the last thing started first, so that nothing loses what it uses. */
export function endLastFirst(): { after(end: () => Promise<void>): void } {
  const ends: (() => Promise<void>)[] = [];
  after(async () => {
    for (const end of ends) await end();
  });
  return { after: (end) => void ends.unshift(end) };
}

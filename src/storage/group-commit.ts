/** Work that several ask for at the same time, done fewer times than it is asked for. */

/**
 * Makes the function that does `work` for a key. Who asks while it is being done shares the next time with all others
 * who do: what they want it to see may have come too late for this one.
 */
export function createGroupCommit<T>(work: (key: string) => Promise<T>): (key: string) => Promise<T> {
  const running = new Map<string, Promise<T>>();
  const waiting = new Map<string, Promise<T>>();

  function start(key: string): Promise<T> {
    waiting.delete(key);
    const result = work(key).finally(() => running.delete(key));
    running.set(key, result);
    return result;
  }

  return (key) => {
    const current = running.get(key);
    if (current === undefined) return start(key);
    const again = () => start(key);
    const next = waiting.get(key) ?? current.then(again, again);
    waiting.set(key, next);
    return next;
  };
}

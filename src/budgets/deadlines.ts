/** Things in the order they fall due: a binary heap whose members know their place, so that any can leave early. */

/** Something with a deadline. */
export interface Timed {
  /** Epoch milliseconds. Only changes while the item is in no heap. */
  dueAt: number;
  /** Where the heap keeps it; the heap's own business. */
  position: number;
}

/** A set of items that gives out those that are due, earliest first. Each operation is O(log n). */
export interface Deadlines<T extends Timed> {
  /** Takes an item in. It must be in no other set. */
  add(item: T): void;
  /** Takes an item out before it is due. It must be in this set. */
  remove(item: T): void;
  /** Takes out and returns the earliest item whose `dueAt` has come, or `undefined`. */
  takeDue(now: number): T | undefined;
}

/** Makes an empty set. */
export function createDeadlines<T extends Timed>(): Deadlines<T> {
  const heap: T[] = [];

  function place(item: T, position: number): void {
    heap[position] = item;
    item.position = position;
  }

  function rise(item: T, from: number): void {
    let position = from;
    while (position > 0) {
      const above = (position - 1) >> 1;
      const parent = heap[above] as T;
      if (parent.dueAt <= item.dueAt) break;
      place(parent, position);
      position = above;
    }
    place(item, position);
  }

  function sink(item: T, from: number): void {
    let position = from;
    for (;;) {
      let below = 2 * position + 1;
      let child = heap[below];
      const sibling = heap[below + 1];
      if (child !== undefined && sibling !== undefined && sibling.dueAt < child.dueAt) {
        below += 1;
        child = sibling;
      }
      if (child === undefined || child.dueAt >= item.dueAt) break;
      place(child, position);
      position = below;
    }
    place(item, position);
  }

  function remove(item: T): void {
    const last = heap.pop();
    if (last === undefined || last === item) return;
    sink(last, item.position);
    rise(last, last.position);
  }

  return {
    add(item) {
      rise(item, heap.length);
    },
    remove,
    takeDue(now) {
      const first = heap[0];
      if (first === undefined || first.dueAt > now) return undefined;
      remove(first);
      return first;
    },
  };
}

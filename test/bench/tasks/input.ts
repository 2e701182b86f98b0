/** How tasks are told what to do, and how they answer. */

/** What the harness passed on. */
export function readInput<Input>(): Input {
  return JSON.parse(process.argv[2] ?? '{}');
}

/** Answers the harness. */
export function answer<Result>(result: Result): void {
  process.send?.(result);
}

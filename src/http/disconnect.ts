/** Ties requests to their connections and to the router's shutdown. */
import type { Request, Response } from 'express';
import { type Deadline, type Deadlines, shuttingDown } from '../core/deadline.js';

/** How work is bound to its request. */
export interface Binding {
  /** Bounds it in time. */
  readonly deadlines: Deadlines;
  /** True goes on when the client leaves: somebody will ask for the outcome. */
  readonly survives: boolean;
}

/**
 * Closes a response whose client leaves while it stands in line: a client may send its next requests before the first
 * is answered. Node 20 closes only the one that is being sent, and the others would wait for ever.
 */
export function closeInLine({ socket }: Request, res: Response): void {
  if (res.socket !== null) return;
  const close = () => {
    // Its turn had come, or Node has closed it.
    if (res.socket !== null || res.closed) return;
    res.destroy();
    res.emit('close');
  };
  // The host may have taken its time.
  if (socket.destroyed) {
    close();
    return;
  }
  // Not before Node has done what it does.
  const closed = () => setImmediate(close);
  socket.once('close', closed);
  res.once('close', () => socket.off('close', closed));
}

/**
 * Resolves once nothing stands before a response on its connection any more, or it is closed. Whoever opens what is
 * large waits for it: one client could otherwise have hundreds open at once and read none.
 */
export function turnOf(res: Response): Promise<void> | undefined {
  if (res.socket !== null || res.destroyed) return undefined;
  return new Promise((resolve) => {
    const go = () => {
      res.off('socket', go);
      res.off('close', go);
      resolve();
    };
    res.on('socket', go);
    res.on('close', go);
  });
}

/** Runs work under a deadline that also ends when the client leaves before its answer is whole. */
export async function withDeadline<T>(
  res: Response,
  { deadlines, survives }: Binding,
  work: (deadline: Deadline) => Promise<T>,
): Promise<T> {
  // It may have begun while this request was identified.
  if (deadlines.draining) throw shuttingDown();
  const deadline = deadlines.start();
  const closed = () => {
    if (!res.writableFinished && !survives) deadline.disconnect();
  };
  if (res.destroyed) closed();
  else res.once('close', closed);
  try {
    return await work(deadline);
  } finally {
    res.off('close', closed);
    deadline.end();
  }
}

/**
 * Runs work that has no time limit of its own, such as sending a picture. Shutdown waits for it, and then has the
 * promise reject while the work goes on. Work that is done at once answers with `undefined`.
 */
export function untilCutOff(
  deadlines: Deadlines,
  work: () => Promise<void> | undefined,
): Promise<void> | undefined {
  if (deadlines.draining) throw shuttingDown();
  const working = work();
  if (working === undefined) return undefined;
  return new Promise((resolve, reject) => {
    const release = deadlines.hold(reject);
    working.finally(release).then(resolve, reject);
  });
}

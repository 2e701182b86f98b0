/**
 * The one gate in front of every sharp job. sharp works on libuv's pool, which file reads share: four jobs at once
 * on a pool of four take a 50 KB read from under a millisecond to hundreds. So jobs never take the last thread.
 * The gate is process-wide, because the pool is.
 */
import { availableParallelism } from 'node:os';
import { createGate, type Gate } from '../core/gate.js';

const poolThreads = Number(process.env.UV_THREADPOOL_SIZE) || 4;

/** The process's gate for sharp jobs: `max(1, min(cores, pool − 1))` at once. */
export const imageJobs: Gate = createGate({
  limit: Math.max(1, Math.min(availableParallelism(), poolThreads - 1)),
});

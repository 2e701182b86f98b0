/** Keeps what is measured on one core, and everything else on another. */
import { execFileSync, spawnSync } from 'node:child_process';
import { availableParallelism } from 'node:os';

/** The core of the server being measured. */
export const SERVER_CORE = 0;

/** The core of the load, the upstream and the harness. */
const LOAD_CORE = 1;

/** Whether this machine can keep them apart; figures of one that cannot say little. */
export const CAN_PIN: boolean =
  availableParallelism() > 1 && spawnSync('taskset', ['--version']).error === undefined;

/** Moves this process to the core of the load; processes it starts are born there. */
export function pinHarness(): void {
  if (!CAN_PIN) return;
  execFileSync('taskset', ['--all-tasks', '--cpu-list', '--pid', String(LOAD_CORE), String(process.pid)]);
}

/** A command that runs on the core of the server. */
export function onServerCore(command: readonly string[]): readonly string[] {
  return CAN_PIN ? ['taskset', '--cpu-list', String(SERVER_CORE), ...command] : command;
}

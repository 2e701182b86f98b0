/** Loaded into every measured Node process: tells over IPC what it costs, and ends when the harness does. */
import { monitorEventLoopDelay } from 'node:perf_hooks';

/** What a process has cost since it was asked to begin. */
export interface ProbeReport {
  /** Of all its threads, user and system, in milliseconds. */
  readonly cpuMs: number;
  /** The longest stall of the event loop, in milliseconds. */
  readonly stallMs: number;
}

/** What the harness asks. */
export type ProbeQuestion = 'begin' | 'end';

const RESOLUTION_MS = 10;
const delays = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
let before = process.cpuUsage();

function begin(): ProbeReport {
  before = process.cpuUsage();
  delays.enable();
  delays.reset();
  return { cpuMs: 0, stallMs: 0 };
}

function end(): ProbeReport {
  const { user, system } = process.cpuUsage(before);
  // The histogram counts the time between its ticks, which are `RESOLUTION_MS` apart when nothing stalls.
  const stallMs = Math.max(0, delays.max / 1e6 - RESOLUTION_MS);
  delays.disable();
  return { cpuMs: (user + system) / 1000, stallMs };
}

process.on('message', (question: ProbeQuestion) => process.send?.(question === 'begin' ? begin() : end()));
process.on('disconnect', () => process.exit());

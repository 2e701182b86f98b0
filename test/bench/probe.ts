/**
 * Loaded into every measured Node process: tells over IPC what it costs, and ends when the harness does. Where
 * `BENCH_PROFILES` names a folder it leaves a CPU profile of what was measured there.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { Session } from 'node:inspector/promises';
import { basename, join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** What a process has cost since it was asked to begin. */
export interface ProbeReport {
  /** Of all its threads, user and system, in milliseconds. */
  readonly cpuMs: number;
  /** The longest stall of the event loop, in milliseconds. */
  readonly stallMs: number;
}

/** What the harness asks. */
export type ProbeQuestion = 'rest' | 'begin' | 'end';

const RESOLUTION_MS = 10;
const delays = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
let before = process.cpuUsage();

const { BENCH_PROFILES: profiles } = process.env;
const inspector = new Session();

/**
 * What V8 does in a server that has been idle: it collects all it can, and from then on little has to come until it
 * does so again. Whether that happened would otherwise depend on how long others were measured before.
 */
function rest(): ProbeReport {
  setFlagsFromString('--expose-gc');
  runInNewContext('gc')();
  return { cpuMs: 0, stallMs: 0 };
}

async function begin(): Promise<ProbeReport> {
  if (profiles !== undefined) {
    inspector.connect();
    await inspector.post('Profiler.enable');
    await inspector.post('Profiler.start');
  }
  delays.enable();
  delays.reset();
  before = process.cpuUsage();
  return { cpuMs: 0, stallMs: 0 };
}

async function end(): Promise<ProbeReport> {
  const { user, system } = process.cpuUsage(before);
  // The histogram counts the time between its ticks, which are `RESOLUTION_MS` apart when nothing stalls.
  const stallMs = Math.max(0, delays.max / 1e6 - RESOLUTION_MS);
  delays.disable();
  if (profiles !== undefined) await saveProfile(profiles);
  return { cpuMs: (user + system) / 1000, stallMs };
}

async function saveProfile(folder: string): Promise<void> {
  const { profile } = await inspector.post('Profiler.stop');
  inspector.disconnect();
  mkdirSync(folder, { recursive: true });
  const server = basename(process.argv[1] ?? '', '.ts');
  writeFileSync(join(folder, `${server}-${process.pid}.cpuprofile`), JSON.stringify(profile));
}

const ANSWERS = { rest, begin, end };

process.on('message', async (question: ProbeQuestion) => {
  process.send?.(await ANSWERS[question]());
});
process.on('disconnect', () => process.exit());

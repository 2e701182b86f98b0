/** Results on disk, out of version control: what the README's tables are made of. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { arch, cpus, platform } from 'node:os';
import type { Samples } from './bench.js';
import { CAN_PIN } from './cores.js';
import { ROOT } from './processes.js';

/** A run. */
export interface Report {
  /** Whether it was all of the long form. */
  readonly isFull: boolean;
  /** What was sampled, by suite, one entry for each round. */
  readonly suites: Readonly<Record<string, readonly Samples[]>>;
}

/** A run, and where and when it was. */
export interface SavedReport extends Report {
  /** Day of the run, as `2026-01-31`. */
  readonly day: string;
  /** The machine in words. */
  readonly machine: string;
  /** Whether servers had a core of their own. */
  readonly pinned: boolean;
}

const FOLDER = `${ROOT}.cache`;

const FULL = `${FOLDER}/bench.json`;
const PARTIAL = `${FOLDER}/bench-partial.json`;

/** Writes a run and returns where. Only a full run replaces the last full run. */
export async function saveReport(report: Report): Promise<string> {
  const file = report.isFull ? FULL : PARTIAL;
  const saved: SavedReport = {
    day: new Date().toISOString().slice(0, 10),
    machine: `${cpus()[0]?.model.trim()}, ${cpus().length} cores, ${platform()} ${arch()}, Node ${process.version}`,
    pinned: CAN_PIN,
    ...report,
  };
  await mkdir(FOLDER, { recursive: true });
  await writeFile(file, `${JSON.stringify(saved, undefined, 2)}\n`);
  return file;
}

/** Reads the last full run. Throws when there was none. */
export async function readReport(): Promise<SavedReport> {
  const text = await readFile(FULL, 'utf8').catch((cause) => {
    throw new Error('there was no full run yet: npm run bench', { cause });
  });
  return JSON.parse(text);
}

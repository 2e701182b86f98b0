/**
 * The benchmark: `npm run bench`, or `npm run bench -- --quick`. Each server has a process and a core of its own; load
 * and upstream have the other. `--only <suite>` runs one, `--readme` writes the last full run into the README. With
 * `BENCH_PROFILES=<folder>` in the environment each server leaves a CPU profile of what was measured, at some cost.
 */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { Round, Samples, Suite } from './bench.js';
import { CAN_PIN, pinHarness } from './cores.js';
import { generation } from './generation.js';
import { growth } from './growth.js';
import { media } from './media.js';
import { micro } from './micro.js';
import { drawPhotograph, PHOTOGRAPHS, type Photograph } from './photographs.js';
import { benchServer, startServer } from './processes.js';
import { updateReadme } from './readme.js';
import { tableOf } from './report.js';
import { type Report, saveReport } from './results.js';
import { installRivals } from './rivals.js';
import { saturation } from './saturation.js';

const SUITES: readonly Suite[] = [generation, media, saturation, micro, growth];

const { values: wanted } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string', multiple: true, default: SUITES.map(({ name }) => name) },
    readme: { type: 'boolean', default: false },
  },
});

/** The short form has one short round: it shows that everything works, and large changes. */
const ROUNDS = wanted.quick ? 1 : 3;
const SECONDS = wanted.quick ? 0.5 : 2;

async function drawAll(folder: string): Promise<void> {
  for (const name of Object.keys(PHOTOGRAPHS) as Photograph[]) {
    await writeFile(join(folder, `${name}.png`), await drawPhotograph(name));
  }
}

async function runSuites(suites: readonly Suite[], round: Round): Promise<Report['suites']> {
  const samples = new Map<string, Samples[]>(suites.map(({ name }) => [name, []]));
  for (let count = 1; count <= ROUNDS; count += 1) {
    for (const suite of suites) {
      const begun = performance.now();
      samples.get(suite.name)?.push(await suite.run(round));
      const seconds = ((performance.now() - begun) / 1000).toFixed(0);
      console.log(`round ${count} of ${ROUNDS}, ${suite.name}: ${seconds} s`);
    }
  }
  return Object.fromEntries(samples);
}

async function bench(): Promise<void> {
  if (!CAN_PIN) console.error('NOT PINNED: this needs two cores and taskset, or figures say little.');
  installRivals();
  pinHarness();
  const suites = SUITES.filter(({ name }) => wanted.only.includes(name));
  const scratch = await mkdtemp(join(tmpdir(), 'images-bench-'));
  try {
    const photographs = join(scratch, 'photographs');
    await mkdir(photographs);
    await drawAll(photographs);
    const upstream = await startServer({ ...benchServer('upstream', { photographs }), besideHarness: true });
    const round = { quick: wanted.quick, seconds: SECONDS, upstream: upstream.url, photographs, scratch };
    const rounds = await runSuites(suites, round).finally(upstream.stop);
    for (const suite of suites)
      console.log(`\n${suite.title}\n\n${tableOf(suite, rounds[suite.name] ?? [])}`);
    const isFull = !wanted.quick && suites.length === SUITES.length;
    const file = await saveReport({ isFull, suites: rounds });
    console.log(`\nAll samples are in ${file}`);
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

if (wanted.readme) await updateReadme(SUITES);
else await bench();

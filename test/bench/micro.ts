/** What the small steps of every request cost, and what importing the package costs. */
import { execFileSync } from 'node:child_process';
import {
  figure,
  medianOf,
  OURS,
  type Reading,
  type Round,
  ratio,
  type Samples,
  type Suite,
} from './bench.js';
import { onServerCore } from './cores.js';
import { ROOT, runTask } from './processes.js';
import type { MicroCosts } from './tasks/micro.js';

/** What is imported, in a process each. */
const IMPORTS = {
  alone: ['express', 'ajv', 'sharp', 'openai'],
  root: ['express-images-router'],
  working: [
    'express-images-router',
    'express-images-router/providers/openai',
    'express-images-router/storage/filesystem',
  ],
} as const;

type ImportName = keyof typeof IMPORTS;

function imported(name: ImportName): Reading {
  return figure(`import ${name} ms`);
}

/** CPU milliseconds of importing modules in a new process. */
function importCost(modules: readonly string[]): number {
  const program = `const before = process.cpuUsage();
    for (const module of ${JSON.stringify(modules)}) await import(module);
    const { user, system } = process.cpuUsage(before);
    console.log((user + system) / 1000);`;
  const [file = '', ...args] = onServerCore([process.execPath, '--input-type=module', '--eval', program]);
  return Number(execFileSync(file, args, { cwd: ROOT, encoding: 'utf8' }));
}

function importCosts(times: number): Samples {
  const rounds = Array.from({ length: times }, () =>
    Object.fromEntries(
      Object.entries(IMPORTS).map(([name, modules]) => [`import ${name} ms`, importCost(modules)]),
    ),
  );
  const names = Object.keys(rounds[0] ?? {});
  return Object.fromEntries(names.map((name) => [name, medianOf(figure(name), rounds) ?? Number.NaN]));
}

async function run({ quick }: Round): Promise<Samples> {
  const { token, budget, ajv } = await runTask<MicroCosts>('micro', { quick });
  return { token, budget, ajv, ...importCosts(quick ? 3 : 9) };
}

/** Small steps. */
export const micro: Suite = {
  name: 'micro',
  title: 'Small steps',
  columns: [OURS],
  rows: [
    { what: 'sign and verify a token, CPU µs', target: { atMost: 8 }, readings: { [OURS]: figure('token') } },
    {
      what: 'reserve and commit in the memory store, CPU µs',
      target: { atMost: 3 },
      readings: { [OURS]: figure('budget') },
    },
    { what: 'validate a body, CPU µs', target: { atMost: 3 }, readings: { [OURS]: figure('ajv') } },
    {
      what: 'CPU to import the root module ÷ express, ajv, sharp and openai alone',
      target: { atMost: 1.1 },
      readings: { [OURS]: ratio(imported('root'), imported('alone')) },
    },
    {
      what: 'the same with /providers/openai and /storage/filesystem',
      target: { atMost: 1.1 },
      readings: { [OURS]: ratio(imported('working'), imported('alone')) },
    },
  ],
  run,
};

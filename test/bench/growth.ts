/** How costs grow: with pictures, connections, history and providers. */
import assert from 'node:assert/strict';
import {
  figure,
  OURS,
  type Reading,
  type Round,
  type Row,
  ratio,
  type Samples,
  type Suite,
} from './bench.js';
import { REQUEST_HEADERS } from './gateways.js';
import { runLoad } from './load.js';
import { measureGateways, type NamedAsk } from './measure-gateway.js';
import { benchServer, runTask, startInFolder } from './processes.js';
import type { HistoryCosts } from './tasks/history.js';
import { warmth } from './warmth.js';

const PICTURES = [1, 4, 8] as const;
const CONNECTIONS = [1, 16, 64] as const;
const IN_FLIGHT = [8, 32, 64] as const;
const PROVIDERS = [1, 10, 100] as const;
/** Of a request every minute and a half: the first are more than a week's, the last a year's. */
const RECORDS = [10_000, 50_000, 350_000] as const;

/** The short form looks at both ends only, and not at a year. */
function stepsOf<Step>(steps: readonly Step[], { quick }: Round): readonly Step[] {
  return quick ? steps.filter((_, at) => at === 0 || at === steps.length - 1) : steps;
}

function asksOf(round: Round): readonly NamedAsk[] {
  const photo = { photograph: 'photo' } as const;
  return [
    ...stepsOf(PICTURES, round).map((n) => [`n=${n}`, { ...photo, connections: 4, n }] as const),
    ...stepsOf(CONNECTIONS, round).map(
      (connections) => [`c=${connections}`, { ...photo, connections }] as const,
    ),
    ...stepsOf(IN_FLIGHT, round).map(
      (connections) => [`in flight=${connections}`, { ...photo, connections, n: 4, burst: true }] as const,
    ),
  ];
}

/** A row of one figure at several steps. */
function growing<Step extends number>(
  what: string,
  steps: readonly Step[],
  read: (step: Step) => Reading,
): Row {
  const numbers = steps.map((step) => step.toLocaleString('en'));
  return { what: `${what}: ${numbers.join(' · ')}`, readings: { [OURS]: steps.map(read) } };
}

/** Of all requests in flight together. */
function grownMb(count: number): Reading {
  return (samples) => {
    const each = samples[`container in flight=${count} grownMb`];
    return each === undefined ? undefined : each * count;
  };
}

/** Of each request more, between the fewest and the most. */
function slope(samples: Samples): number | undefined {
  const [fewest, most] = [Math.min(...IN_FLIGHT), Math.max(...IN_FLIGHT)];
  const [low, high] = [grownMb(fewest)(samples), grownMb(most)(samples)];
  return low === undefined || high === undefined ? undefined : (high - low) / (most - fewest);
}

const ROWS: readonly Row[] = [
  growing('CPU ms per picture, `n`', PICTURES, (n) => ratio(figure(`container n=${n} cpuMs`), () => n)),
  growing('CPU ms per picture, connections', CONNECTIONS, (count) => figure(`container c=${count} cpuMs`)),
  growing('MB of memory, requests of `n: 4` in flight', IN_FLIGHT, grownMb),
  { what: 'MB for each request more, of those', readings: { [OURS]: slope } },
  growing('CPU µs of reserve and commit in memory, requests before', RECORDS, (count) =>
    figure(`memory ${count}`),
  ),
  growing('the same in SQLite, its database in memory', RECORDS, (count) => figure(`sqlite ${count}`)),
  growing('CPU µs of a row of usage there, rows before', RECORDS, (count) => figure(`append ${count}`)),
  growing('CPU µs of the sums of the last 7 days there', RECORDS, (count) => figure(`summary ${count}`)),
  growing('CPU µs of `GET /v1/models?limit=5`, providers with models of their own', PROVIDERS, (count) =>
    figure(`models ${count}`),
  ),
];

async function historyCosts({ quick }: Round): Promise<Samples> {
  const records = RECORDS.slice(0, quick ? 2 : undefined);
  const costs = await runTask<HistoryCosts>('history', { records });
  const samples = Object.entries(costs).flatMap(([name, figures]: [string, readonly number[]]) =>
    records.map((count, at) => [`${name} ${count}`, figures[at] ?? Number.NaN]),
  );
  return Object.fromEntries(samples);
}

async function listingCost(round: Round, providers: number): Promise<Samples> {
  const { upstream, scratch, seconds } = round;
  const server = await startInFolder(scratch, (folder) =>
    benchServer('ours', { upstream, folder, verify: 'container', providers }),
  );
  assert.ok(server, 'ours is always there');
  try {
    const list = { url: `${server.url}/v1/models?limit=5`, headers: REQUEST_HEADERS, connections: 4 };
    await runLoad({ ...list, until: warmth(round, 'small') });
    const { result, cost } = await server.measure(() => runLoad({ ...list, until: { seconds } }));
    return { [`models ${providers}`]: (1000 * cost.cpuMs) / result.answers };
  } finally {
    await server.stop();
  }
}

async function run(round: Round): Promise<Samples> {
  const asks = asksOf(round).map(([name, ask]) => [name, ask, ['container']] as const);
  const samples = [await historyCosts(round), await measureGateways(round, asks)];
  for (const count of stepsOf(PROVIDERS, round)) samples.push(await listingCost(round, count));
  return Object.assign({}, ...samples);
}

/** Growth. */
export const growth: Suite = {
  name: 'growth',
  title: 'How costs grow',
  columns: [OURS],
  rows: ROWS,
  run,
};

/** How costs grow: with pictures, connections, history and providers. */
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
import { type Ask, inFolder, measureGateway } from './measure-gateway.js';
import { benchServer, runTask, withServer } from './processes.js';
import type { HistoryCosts } from './tasks/history.js';

const PICTURES = [1, 2, 4, 8] as const;
const CONNECTIONS = [1, 4, 16, 64] as const;
const IN_FLIGHT = [8, 16, 32, 64] as const;
const PROVIDERS = [1, 10, 100] as const;
/** The last is a year of a request every minute and a half. */
const RECORDS = [2_000, 20_000, 200_000, 350_000] as const;

/** The short form looks at both ends only, and not at a year. */
function stepsOf<Step>(steps: readonly Step[], { quick }: Round): readonly Step[] {
  return quick ? steps.filter((_, at) => at === 0 || at === steps.length - 1) : steps;
}

function asksOf(round: Round): readonly (readonly [name: string, ask: Ask])[] {
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
  return { what: `${what} = ${steps.join(' · ')}`, readings: { [OURS]: steps.map(read) } };
}

const ROWS: readonly Row[] = [
  growing('CPU ms per picture, n', PICTURES, (n) => ratio(figure(`container n=${n} cpuMs`), () => n)),
  growing('CPU ms per picture, connections', CONNECTIONS, (count) => figure(`container c=${count} cpuMs`)),
  growing('MB of memory per request (n=4), requests in flight', IN_FLIGHT, (count) =>
    figure(`container in flight=${count} grownMb`),
  ),
  growing('CPU µs of reserve and commit in memory, records', RECORDS, (count) => figure(`memory ${count}`)),
  growing('CPU µs of reserve and commit in SQLite, records', RECORDS, (count) => figure(`sqlite ${count}`)),
  growing('CPU µs of GET /v1/models?limit=5, providers', PROVIDERS, (count) => figure(`models ${count}`)),
];

async function historyCosts({ quick }: Round): Promise<Samples> {
  const records = RECORDS.slice(0, quick ? 1 : undefined);
  const { memory, sqlite } = await runTask<HistoryCosts>('history', { records });
  const pairs = records.flatMap((count, at) => [
    [`memory ${count}`, memory[at]],
    [`sqlite ${count}`, sqlite[at]],
  ]);
  return Object.fromEntries(pairs);
}

async function listingCost(round: Round, providers: number): Promise<Samples> {
  const { upstream, seconds } = round;
  return await inFolder(round, (folder) =>
    withServer(benchServer('ours', { upstream, folder, verify: 'container', providers }), async (server) => {
      const list = { url: `${server.url}/v1/models?limit=5`, headers: REQUEST_HEADERS, connections: 4 };
      await runLoad({ ...list, until: { seconds: seconds / 2 } });
      const { result, cost } = await server.measure(() => runLoad({ ...list, until: { seconds } }));
      return { [`models ${providers}`]: (1000 * cost.cpuMs) / result.answers };
    }),
  );
}

async function run(round: Round): Promise<Samples> {
  let samples = await historyCosts(round);
  for (const ask of asksOf(round)) {
    samples = { ...samples, ...(await measureGateway(round, 'container', ask)) };
  }
  for (const count of stepsOf(PROVIDERS, round))
    samples = { ...samples, ...(await listingCost(round, count)) };
  return samples;
}

/** Growth. */
export const growth: Suite = {
  name: 'growth',
  title: 'How costs grow',
  columns: [OURS],
  rows: ROWS,
  run,
};

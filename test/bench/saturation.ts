/** How long reading a picture takes while the encoders have all they can do, beside what the machine itself allows. */
import assert from 'node:assert/strict';
import { type Ask, bodyOf } from './ask.js';
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
import { GATEWAYS, REQUEST_HEADERS } from './gateways.js';
import { type Load, percentile, runLoad } from './load.js';
import { benchServer, startInFolder, startServer } from './processes.js';

const STORED: Ask = { photograph: 'small', connections: 1, format: 'url' };
const ENCODING: Ask = { photograph: 'photo', connections: 16, outputFormat: 'webp' };

const FLOOR = 'send beside bare sharp';

/** What is read, and what keeps the encoders busy. */
interface Loads {
  readonly reading: Pick<Load, 'url'>;
  readonly encoding: Pick<Load, 'url' | 'headers' | 'body'>;
}

async function readWhile({ reading, encoding }: Loads, seconds: number): Promise<readonly number[]> {
  const read = (until: Load['until']) => runLoad({ ...reading, connections: 1, until });
  await read({ seconds: seconds / 2 });
  const idle = await read({ seconds });
  const { connections } = ENCODING;
  const busy = runLoad({ ...encoding, connections, until: { seconds: seconds * 2 } });
  const saturated = await read({ seconds: seconds * 2 });
  await busy;
  return [idle, saturated].flatMap(({ latenciesMs }) => [
    percentile(latenciesMs, 0.5),
    percentile(latenciesMs, 0.99),
  ]);
}

const FIGURES = ['idle p50', 'idle p99', 'saturated p50', 'saturated p99'] as const;

async function latencies(column: string, loads: Loads, { seconds }: Round): Promise<Samples> {
  const figures = await readWhile(loads, seconds);
  return Object.fromEntries(FIGURES.map((name, at) => [`${column} ${name}`, figures[at] ?? Number.NaN]));
}

/** Ours: a picture it stored, and requests that are encoded anew. */
async function runOurs(round: Round): Promise<Samples> {
  const { upstream, scratch } = round;
  const server = await startInFolder(scratch, (folder) => GATEWAYS.decode.start({ upstream, folder }));
  assert.ok(server, 'ours is always there');
  try {
    const api = { url: server.url + GATEWAYS.decode.path, headers: REQUEST_HEADERS };
    const answer = await fetch(api.url, { method: 'POST', headers: api.headers, body: bodyOf(STORED) });
    const { data } = (await answer.json()) as { data: readonly { url: string }[] };
    const loads = { reading: { url: data[0]?.url ?? '' }, encoding: { ...api, body: bodyOf(ENCODING) } };
    return await latencies(OURS, loads, round);
  } finally {
    await server.stop();
  }
}

/** The same from a server that does nothing else. */
async function runFloor(round: Round): Promise<Samples> {
  const { photographs: folder } = round;
  const server = await startServer(benchServer('saturated', { folder }));
  const loads = { reading: { url: `${server.url}/small.png` }, encoding: { url: server.url, body: '' } };
  return await latencies(FLOOR, loads, round).finally(server.stop);
}

const COLUMNS = [OURS, FLOOR];
type FigureName = (typeof FIGURES)[number];

function row(what: string, read: (of: (name: FigureName) => Reading) => Row['readings'][string]): Row {
  const readings = COLUMNS.map((column) => [column, read((name) => figure(`${column} ${name}`))]);
  return { what, readings: Object.fromEntries(readings) };
}

/** Reading under load. */
export const saturation: Suite = {
  name: 'saturation',
  title: 'Reading 24 KB while 16 requests are re-encoded on the same core',
  columns: COLUMNS,
  rows: [
    {
      ...row('p50 ÷ idle', (of) => ratio(of('saturated p50'), of('idle p50'))),
      target: { atMost: 1.2 },
    },
    {
      ...row('p99 ÷ idle', (of) => ratio(of('saturated p99'), of('idle p99'))),
      target: { atMost: 3 },
    },
    row('p50 and p99, idle and saturated, ms', (of) => FIGURES.map(of)),
  ],
  async run(round) {
    return { ...(await runOurs(round)), ...(await runFloor(round)) };
  },
};

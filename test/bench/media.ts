/** What serving a stored picture costs, beside servers of plain files that check no link. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
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
import { FILE_SERVERS, HAS_NGINX } from './files.js';
import { GATEWAYS, REQUEST_HEADERS } from './gateways.js';
import { type Load, runLoad } from './load.js';
import { bodyOf, inFolder } from './measure-gateway.js';
import type { Photograph } from './photographs.js';
import { type RunningServer, type ServerCommand, withServer } from './processes.js';

const COLUMNS = [OURS, ...Object.keys(FILE_SERVERS)];
const PICTURES = ['photo', 'middle'] as const satisfies readonly Photograph[];
const CONNECTIONS = 16;

/** Where a server has each picture. */
type Links = Readonly<Record<(typeof PICTURES)[number], string>>;

/** Has the router draw and store both pictures. */
async function storePictures({ url }: RunningServer): Promise<Links> {
  const store = async (photograph: keyof Links) => {
    const body = bodyOf({ photograph, connections: 1, format: 'url' });
    const answer = await fetch(url + GATEWAYS.decode.path, {
      method: 'POST',
      headers: REQUEST_HEADERS,
      body,
    });
    const { data } = (await answer.json()) as { data: readonly { url: string }[] };
    return [photograph, data[0]?.url ?? ''] as const;
  };
  return Object.fromEntries(await Promise.all(PICTURES.map(store))) as Links;
}

/** Samples, each after `<column> <picture>`: `cpuMs` of an answer and `mbPerCpuSecond`; and `<column> 304 cpuMs`. */
async function serve(column: string, server: RunningServer, links: Links, round: Round): Promise<Samples> {
  const samples: Record<string, number> = {};
  async function cost(load: Omit<Load, 'connections' | 'until'>) {
    const run = (seconds: number) => runLoad({ ...load, connections: CONNECTIONS, until: { seconds } });
    await run(round.seconds / 2);
    const { result, cost: spent } = await server.measure(() => run(round.seconds));
    return { cpuMs: spent.cpuMs / result.answers, mbPerCpuSecond: result.bytes / 1000 / spent.cpuMs };
  }
  for (const picture of PICTURES) {
    const { cpuMs, mbPerCpuSecond } = await cost({ url: links[picture] });
    samples[`${column} ${picture} cpuMs`] = cpuMs;
    samples[`${column} ${picture} mbPerCpuSecond`] = mbPerCpuSecond;
  }
  const { headers } = await fetch(links.photo, { method: 'HEAD' });
  const conditions = { 'if-none-match': headers.get('etag') ?? '' };
  const unchanged = await cost({ url: links.photo, headers: conditions, status: 304 });
  return { ...samples, [`${column} 304 cpuMs`]: unchanged.cpuMs };
}

/** Measures ours, and copies the very bytes it serves for the others. */
async function serveOurs(round: Round, copies: string): Promise<Samples> {
  return await inFolder(round, (folder) => {
    const command = GATEWAYS.decode.start({ upstream: round.upstream, folder });
    return withServer(command, async (server) => {
      const links = await storePictures(server);
      for (const picture of PICTURES) {
        const bytes = Buffer.from(await (await fetch(links[picture])).arrayBuffer());
        await writeFile(join(copies, `${picture}.png`), bytes);
      }
      return await serve(OURS, server, links, round);
    });
  });
}

async function run(round: Round): Promise<Samples> {
  if (!HAS_NGINX) console.error('NOT MEASURED: there is no nginx here (Debian: apt-get install nginx-light)');
  return await inFolder(round, async (folder) => {
    let samples = await serveOurs(round, folder);
    for (const [column, start] of Object.entries(FILE_SERVERS)) {
      const command: ServerCommand | undefined = start(folder);
      if (command === undefined) continue;
      samples = {
        ...samples,
        ...(await withServer(command, (server) => {
          const links = Object.fromEntries(
            PICTURES.map((name) => [name, `${server.url}/${name}.png`]),
          ) as Links;
          return serve(column, server, links, round);
        })),
      };
    }
    return samples;
  });
}

function readings(read: (column: string) => Reading): Row['readings'] {
  return Object.fromEntries(COLUMNS.map((column) => [column, read(column)]));
}

const of = (column: string, what: string) => figure(`${column} ${what}`);

/** Serving stored pictures. */
export const media: Suite = {
  name: 'media',
  title: 'Serving stored pictures at 16 connections; the others check no link',
  columns: COLUMNS,
  rows: [
    {
      what: '1.6 MB: bytes per CPU-second ÷ send',
      target: { atLeast: 1.6 },
      readings: readings((column) =>
        ratio(of(column, 'photo mbPerCpuSecond'), of('send', 'photo mbPerCpuSecond')),
      ),
    },
    { what: '1.6 MB: MB per CPU-second', readings: readings((column) => of(column, 'photo mbPerCpuSecond')) },
    {
      what: '50 KB: CPU ÷ send',
      target: { atMost: 0.9 },
      readings: readings((column) => ratio(of(column, 'middle cpuMs'), of('send', 'middle cpuMs'))),
    },
    { what: '50 KB: CPU ms', readings: readings((column) => of(column, 'middle cpuMs')) },
    {
      what: '304: CPU ÷ send',
      target: { atMost: 0.8 },
      readings: readings((column) => ratio(of(column, '304 cpuMs'), of('send', '304 cpuMs'))),
    },
    { what: '304: CPU ms', readings: readings((column) => of(column, '304 cpuMs')) },
  ],
  run,
};

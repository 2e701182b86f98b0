/** What serving a stored picture costs, beside servers of plain files that check no link. */
import assert from 'node:assert/strict';
import { mkdtemp, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { bodyOf } from './ask.js';
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
import type { Photograph } from './photographs.js';
import { type RunningServer, type ServerCommand, startInFolder, startServer } from './processes.js';
import { warmth } from './warmth.js';

const COLUMNS = [OURS, ...Object.keys(FILE_SERVERS)];
const PICTURES = ['photo', 'middle'] as const satisfies readonly Photograph[];
const CONNECTIONS = 16;

/** Where a server has each picture. */
type Links = Readonly<Record<(typeof PICTURES)[number], string>>;

/** A server of pictures. */
interface Subject {
  readonly column: string;
  readonly server: RunningServer;
  readonly links: Links;
}

/** Starts ours, has it draw and store the pictures, and copies the very bytes it serves for the others. */
async function startOurs({ upstream, scratch }: Round, copies: string): Promise<Subject> {
  const server = await startInFolder(scratch, (folder) => GATEWAYS.decode.start({ upstream, folder }));
  assert.ok(server, 'ours is always there');
  const links = await linksOf(async (photograph) => {
    const body = bodyOf({ photograph, connections: 1, format: 'url' });
    const api = server.url + GATEWAYS.decode.path;
    const answer = await fetch(api, { method: 'POST', headers: REQUEST_HEADERS, body });
    const { data } = (await answer.json()) as { data: readonly { url: string }[] };
    const link = data[0]?.url ?? '';
    const bytes = Buffer.from(await (await fetch(link)).arrayBuffer());
    await writeFile(join(copies, `${photograph}.png`), bytes);
    return link;
  });
  return { column: OURS, server, links };
}

async function linksOf(link: (photograph: keyof Links) => Promise<string>): Promise<Links> {
  const links = PICTURES.map(async (name) => [name, await link(name)] as const);
  return Object.fromEntries(await Promise.all(links)) as Links;
}

/** Starts those of the others that are installed. */
async function startOther(column: string, command: ServerCommand | undefined): Promise<Subject | undefined> {
  if (command === undefined) return undefined;
  const server = await startServer(command);
  const links = await linksOf(async (name) => `${server.url}/${name}.png`);
  return { column, server, links };
}

/** What one server needs for answers of one kind: `cpuMs` of each, and `mbPerCpuSecond`. */
async function costOf(
  { column, server }: Subject,
  load: Pick<Load, 'url' | 'headers' | 'status'> & { readonly what: string },
  round: Round,
): Promise<Samples> {
  const run = (until: Load['until']) => runLoad({ ...load, connections: CONNECTIONS, until });
  await server.rest();
  await run(warmth(round, load.what === 'photo' ? 'photo' : 'small'));
  const { result, cost } = await server.measure(() => run({ seconds: round.seconds }));
  return {
    [`${column} ${load.what} cpuMs`]: cost.cpuMs / result.answers,
    [`${column} ${load.what} mbPerCpuSecond`]: result.bytes / 1000 / cost.cpuMs,
  };
}

/** All servers run at once and are asked one after another, so that they are compared at about the same time. */
async function measureAll(subjects: readonly Subject[], round: Round): Promise<Samples> {
  const samples: Samples[] = [];
  for (const what of PICTURES) {
    for (const subject of subjects) {
      samples.push(await costOf(subject, { what, url: subject.links[what] }, round));
    }
  }
  for (const subject of subjects) {
    const url = subject.links.photo;
    const { headers } = await fetch(url, { method: 'HEAD' });
    const conditions = { 'if-none-match': headers.get('etag') ?? '' };
    samples.push(await costOf(subject, { what: '304', url, headers: conditions, status: 304 }, round));
  }
  return Object.assign({}, ...samples);
}

async function run(round: Round): Promise<Samples> {
  if (!HAS_NGINX) console.error('NOT MEASURED: there is no nginx here (Debian: apt-get install nginx-light)');
  const copies = await mkdtemp(join(round.scratch, 'copies-'));
  const subjects = [await startOurs(round, copies)];
  try {
    for (const [column, start] of Object.entries(FILE_SERVERS)) {
      const other = await startOther(column, start(copies));
      if (other !== undefined) subjects.push(other);
    }
    return await measureAll(subjects, round);
  } finally {
    for (const { server } of subjects) await server.stop();
  }
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

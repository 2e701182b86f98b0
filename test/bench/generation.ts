/** What making pictures costs, beside other gateways. */
import type { Ask } from './ask.js';
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
import { GATEWAYS, type GatewayName } from './gateways.js';
import { measureGateways } from './measure-gateway.js';
import { runTask } from './processes.js';
import type { SharpCosts } from './tasks/sharp-alone.js';

/** In this order: what is held against sharp alone comes right after it. */
const ASKS = {
  'b64 c=16': { photograph: 'photo', connections: 16 },
  'webp c=16': { photograph: 'photo', connections: 16, outputFormat: 'webp' },
  'b64 chunked c=16': { photograph: 'photo', connections: 16, framing: 'chunked' },
  'b64 24 KB c=16': { photograph: 'small', connections: 16 },
  'events c=16': { photograph: 'photo', connections: 16, stream: true },
  'url c=1': { photograph: 'photo', connections: 1, format: 'url' },
  'url c=16': { photograph: 'photo', connections: 16, format: 'url' },
  'burst of 64': { photograph: 'photo', connections: 64, n: 4, burst: true },
} as const satisfies Readonly<Record<string, Ask>>;

type AskName = keyof typeof ASKS;

/** Who is asked what: rows below read nothing else. */
const MEASURED: Readonly<Record<AskName, readonly GatewayName[]>> = {
  'b64 c=16': ['decode', 'proxy', 'container', 'bareWork', 'middleware', 'passedOn', 'byHand', 'portkey'],
  'webp c=16': ['decode'],
  'b64 chunked c=16': ['proxy', 'container'],
  'b64 24 KB c=16': ['proxy', 'container', 'bareWork', 'middleware', 'passedOn', 'byHand', 'portkey'],
  'events c=16': ['proxy', 'container', 'middleware'],
  'url c=1': ['proxy', 'container', 'bareWork'],
  'url c=16': ['proxy', 'container', 'bareWork', 'byHand'],
  'burst of 64': ['proxy', 'container', 'decode', 'middleware', 'byHand', 'portkey'],
};

type Figure = 'cpuMs' | 'grownMb' | 'stallMs';

const OTHERS = ['proxy', 'bareWork', 'middleware', 'passedOn', 'byHand', 'portkey'] as const;
const BURST = 'burst of 64';

function of(gateway: GatewayName, ask: AskName, what: Figure): Reading {
  return figure(`${gateway} ${ask} ${what}`);
}

const SHARP_DECODE = figure('sharp decode cpuMs');
const SHARP_WEBP = figure('sharp webp cpuMs');
const PROXY = of('proxy', 'b64 c=16', 'cpuMs');

/** A row in which everybody is read who was asked this. */
function beside(ask: AskName, read: (gateway: GatewayName) => Reading): Row['readings'] {
  const others = OTHERS.filter((name) => MEASURED[ask].includes(name));
  const readings = others.map((name) => [GATEWAYS[name].title, read(name)]);
  return { [OURS]: read('container'), ...Object.fromEntries(readings) };
}

function absolute(ask: AskName, what: Figure): Row['readings'] {
  return beside(ask, (gateway) => of(gateway, ask, what));
}

function overProxy(ask: AskName): Row['readings'] {
  return beside(ask, (gateway) => ratio(of(gateway, ask, 'cpuMs'), of('proxy', ask, 'cpuMs')));
}

const ROWS: readonly Row[] = [
  { what: 'CPU ms of a `b64_json` answer, c=16', readings: absolute('b64 c=16', 'cpuMs') },
  { what: 'the same ÷ bare proxy', target: { atMost: 1.6 }, readings: overProxy('b64 c=16') },
  { what: 'the same, where the upstream sends chunks', readings: overProxy('b64 chunked c=16') },
  { what: 'the same, 24 KB picture', target: { atMost: 3.3 }, readings: overProxy('b64 24 KB c=16') },
  { what: 'CPU of a stream with one preview ÷ bare proxy, c=16', readings: overProxy('events c=16') },
  {
    what: 'CPU of a stored `url` answer ÷ bare proxy, c=1',
    target: { atMost: 2.2 },
    readings: overProxy('url c=1'),
  },
  {
    what: 'the same, c=16 (by hand: re-encoded)',
    target: { atMost: 3.5 },
    readings: overProxy('url c=16'),
  },
  {
    what: 'CPU with full decode ÷ (one sharp decode + bare proxy), c=16',
    target: { atMost: 1.2 },
    readings: { [OURS]: ratio(of('decode', 'b64 c=16', 'cpuMs'), SHARP_DECODE, PROXY) },
  },
  {
    what: 'CPU with re-encode to WebP ÷ (that sharp call + bare proxy), c=16',
    target: { atMost: 1.05 },
    readings: { [OURS]: ratio(of('decode', 'webp c=16', 'cpuMs'), SHARP_WEBP, PROXY) },
  },
  {
    what: 'MB of memory for each of 64 requests of `n: 4` in flight',
    target: { atMost: 2 },
    readings: absolute(BURST, 'grownMb'),
  },
  {
    what: 'the same with full decode',
    target: { atMost: 3 },
    readings: { [OURS]: of('decode', BURST, 'grownMb') },
  },
  {
    what: 'longest stall of the event loop in that load, ms',
    target: { atMost: 40 },
    readings: absolute(BURST, 'stallMs'),
  },
  {
    what: 'the same ÷ bare proxy',
    target: { atMost: 1 },
    readings: { [OURS]: ratio(of('container', BURST, 'stallMs'), of('proxy', BURST, 'stallMs')) },
  },
];

/** The short form leaves most bursts out, which would take half its time. */
function askedIn({ quick }: Round, name: AskName): readonly GatewayName[] {
  return quick && name === BURST ? ['proxy', 'container'] : MEASURED[name];
}

async function run(round: Round): Promise<Samples> {
  const { photographs, quick } = round;
  const costs = await runTask<SharpCosts>('sharp-alone', { photographs, quick });
  const names = Object.keys(ASKS) as AskName[];
  const asks = names.map((name) => [name, ASKS[name], askedIn(round, name)] as const);
  const samples = await measureGateways(round, asks);
  return { ...samples, 'sharp decode cpuMs': costs.decodeMs, 'sharp webp cpuMs': costs.webpMs };
}

/** Gateways side by side. */
export const generation: Suite = {
  name: 'generation',
  title: 'Making pictures of 1.6 MB, with their containers checked unless said',
  columns: [OURS, ...OTHERS.map((name) => GATEWAYS[name].title)],
  rows: ROWS,
  run,
};

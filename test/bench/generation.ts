/** What making pictures costs, beside other gateways. */
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
import { type Ask, measureGateway } from './measure-gateway.js';
import { runTask } from './processes.js';
import type { SharpCosts } from './tasks/sharp-alone.js';

const ASKS = {
  'b64 c=16': { photograph: 'photo', connections: 16 },
  'b64 c=64': { photograph: 'photo', connections: 64 },
  'b64 chunked c=16': { photograph: 'photo', connections: 16, framing: 'chunked' },
  'b64 24 KB c=16': { photograph: 'small', connections: 16 },
  'events c=16': { photograph: 'photo', connections: 16, stream: true },
  'url c=1': { photograph: 'photo', connections: 1, format: 'url' },
  'url c=16': { photograph: 'photo', connections: 16, format: 'url' },
  'webp c=16': { photograph: 'photo', connections: 16, outputFormat: 'webp' },
  'burst of 64': { photograph: 'photo', connections: 64, n: 4, burst: true },
} as const satisfies Readonly<Record<string, Ask>>;

type AskName = keyof typeof ASKS;

/** Who is asked what: rows below read nothing else. */
const MEASURED: Readonly<Record<AskName, readonly GatewayName[]>> = {
  'b64 c=16': ['proxy', 'container', 'decode', 'middleware', 'byHand', 'portkey'],
  'b64 c=64': ['proxy', 'container', 'middleware', 'byHand', 'portkey'],
  'b64 chunked c=16': ['proxy', 'container'],
  'b64 24 KB c=16': ['proxy', 'container', 'middleware', 'byHand', 'portkey'],
  'events c=16': ['proxy', 'container', 'middleware'],
  'url c=1': ['proxy', 'container', 'byHand'],
  'url c=16': ['proxy', 'container', 'byHand'],
  'webp c=16': ['decode'],
  'burst of 64': ['proxy', 'container', 'decode', 'middleware', 'byHand', 'portkey'],
};

type Figure = 'cpuMs' | 'grownMb' | 'stallMs';

const RIVALS = ['middleware', 'byHand', 'portkey'] as const;
const SHARP_DECODE = figure('sharp decode cpuMs');
const SHARP_WEBP = figure('sharp webp cpuMs');

function of(gateway: GatewayName, ask: AskName, what: Figure): Reading {
  return figure(`${gateway} ${ask} ${what}`);
}

/** The columns of the rivals that were asked this. */
function beside(ask: AskName, read: (gateway: GatewayName) => Reading): Readonly<Record<string, Reading>> {
  const asked = RIVALS.filter((name) => MEASURED[ask].includes(name));
  return Object.fromEntries(asked.map((name) => [GATEWAYS[name].title, read(name)]));
}

function overProxy(ask: AskName, what: string, atMost?: number): Row {
  const read = (gateway: GatewayName) => ratio(of(gateway, ask, 'cpuMs'), of('proxy', ask, 'cpuMs'));
  return {
    what: `CPU ${what} ÷ bare proxy`,
    target: atMost === undefined ? undefined : { atMost },
    readings: { [OURS]: read('container'), ...beside(ask, read) },
  };
}

const PROXY = of('proxy', 'b64 c=16', 'cpuMs');
const BURST = 'burst of 64';

const ROWS: readonly Row[] = [
  overProxy('b64 c=16', 'per `b64_json` answer, container check, c=16', 1.6),
  overProxy('b64 c=64', 'the same, c=64'),
  overProxy('b64 chunked c=16', 'the same, c=16, upstream sends chunks'),
  overProxy('b64 24 KB c=16', 'the same, c=16, 24 KB picture', 3.3),
  overProxy('events c=16', 'per stream of events with one preview, container check, c=16'),
  overProxy('url c=1', 'per stored `url` answer, container check (by hand: re-encoded), c=1', 2.2),
  overProxy('url c=16', 'the same, c=16', 3.5),
  {
    what: 'CPU with full decode, c=16 ÷ (one sharp decode + bare proxy)',
    target: { atMost: 1.2 },
    readings: { [OURS]: ratio(of('decode', 'b64 c=16', 'cpuMs'), SHARP_DECODE, PROXY) },
  },
  {
    what: 'CPU with re-encode to WebP, c=16 ÷ (that sharp call + bare proxy)',
    target: { atMost: 1.05 },
    readings: { [OURS]: ratio(of('decode', 'webp c=16', 'cpuMs'), SHARP_WEBP, PROXY) },
  },
  {
    what: 'MB of memory per request in flight, 64 × n=4, container check',
    target: { atMost: 2 },
    readings: {
      [OURS]: of('container', BURST, 'grownMb'),
      ...beside(BURST, (name) => of(name, BURST, 'grownMb')),
    },
  },
  {
    what: 'the same, full decode',
    target: { atMost: 3 },
    readings: { [OURS]: of('decode', BURST, 'grownMb') },
  },
  {
    what: 'longest stall in that load, ms',
    target: { atMost: 40 },
    readings: {
      [OURS]: of('container', BURST, 'stallMs'),
      ...beside(BURST, (name) => of(name, BURST, 'stallMs')),
    },
  },
  {
    what: 'the same ÷ bare proxy',
    target: { atMost: 1 },
    readings: { [OURS]: ratio(of('container', BURST, 'stallMs'), of('proxy', BURST, 'stallMs')) },
  },
  {
    what: 'bare proxy itself: CPU ms per answer c=16, 24 KB, and stall in ms and MB per request in that load',
    readings: {
      [OURS]: [
        PROXY,
        of('proxy', 'b64 24 KB c=16', 'cpuMs'),
        of('proxy', BURST, 'stallMs'),
        of('proxy', BURST, 'grownMb'),
      ],
    },
  },
];

async function run(round: Round): Promise<Samples> {
  const costs = await runTask<SharpCosts>('sharp-alone', {
    photographs: round.photographs,
    quick: round.quick,
  });
  let samples: Samples = {
    'sharp decode cpuMs': costs.decodeMs,
    'sharp webp cpuMs': costs.webpMs,
  };
  for (const [name, gateways] of Object.entries(MEASURED) as [AskName, readonly GatewayName[]][]) {
    for (const gateway of gateways) {
      samples = { ...samples, ...(await measureGateway(round, gateway, [name, ASKS[name]])) };
    }
  }
  return samples;
}

/** Gateways side by side. */
export const generation: Suite = {
  name: 'generation',
  title: 'Making pictures',
  columns: [OURS, ...RIVALS.map((name) => GATEWAYS[name].title)],
  rows: ROWS,
  run,
};

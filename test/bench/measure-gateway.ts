/** Measures gateways under loads. */
import { type Ask, bodyOf, checkAnswer } from './ask.js';
import type { Round, Samples } from './bench.js';
import { holdFreeMemory } from './free-memory.js';
import { GATEWAYS, type Gateway, type GatewayName, REQUEST_HEADERS } from './gateways.js';
import { type Load, percentile, runLoad } from './load.js';
import { type RunningServer, startInFolder } from './processes.js';
import { warmth } from './warmth.js';

/** An ask, and what samples call it. */
export type NamedAsk = readonly [name: string, ask: Ask];

/** Answers that warm a server up before a burst: of small pictures, one at a time. */
const BURST_WARMTH = 30;

/** A gateway that runs. */
interface RunningGateway {
  readonly name: GatewayName;
  readonly server: RunningServer;
  /** What every load of it has in common. */
  readonly target: Pick<Load, 'url' | 'headers'>;
}

/** Starts a gateway; `undefined` where it is not installed. */
async function startGateway(
  { upstream, scratch }: Round,
  name: GatewayName,
): Promise<RunningGateway | undefined> {
  const gateway: Gateway = GATEWAYS[name];
  const server = await startInFolder(scratch, (folder) => gateway.start({ upstream, folder }));
  if (server === undefined) return undefined;
  const headers = { ...REQUEST_HEADERS, ...gateway.headers(upstream) };
  return { name, server, target: { url: server.url + gateway.path, headers } };
}

/**
 * Runs a gateway in a process of its own and asks. Samples, each after `<gateway> <ask>`: `cpuMs` of an answer,
 * `grownMb` of memory for each connection, `stallMs` and `latencyMs` (the median). None where it is not installed.
 */
export async function measureGateway(round: Round, name: GatewayName, ask: NamedAsk): Promise<Samples> {
  const gateway = await startGateway(round, name);
  if (gateway === undefined) return {};
  return await measure(gateway, ask, round).finally(gateway.server.stop);
}

/**
 * The same for many asks, each put to several gateways one right after another, so that they are compared at about the
 * same time. A gateway is one process for all of them, but for bursts, which begin with fresh memory.
 */
export async function measureGateways(
  round: Round,
  asks: readonly (readonly [...NamedAsk, gateways: readonly GatewayName[]])[],
): Promise<Samples> {
  const running = new Map<GatewayName, RunningGateway | undefined>();
  const samples: Samples[] = [];
  try {
    for (const [askName, ask, names] of asks) {
      for (const name of names) {
        if (ask.burst) {
          samples.push(await measureGateway(round, name, [askName, ask]));
          continue;
        }
        if (!running.has(name)) running.set(name, await startGateway(round, name));
        const gateway = running.get(name);
        if (gateway !== undefined) samples.push(await measure(gateway, [askName, ask], round));
      }
    }
  } finally {
    for (const gateway of running.values()) await gateway?.server.stop();
  }
  return Object.assign({}, ...samples);
}

async function measure(gateway: RunningGateway, named: NamedAsk, round: Round): Promise<Samples> {
  const { name, server, target } = gateway;
  const [askName, ask] = named;
  const { connections } = ask;
  const load = { ...target, body: bodyOf(ask), connections, until: { seconds: round.seconds } };
  await checkAnswer(load, ask);
  await server.rest();
  for (const warmUp of warmUpsOf(ask, round)) await runLoad({ ...load, ...warmUp });
  await holdFreeMemory(round.scratch, round.seconds);
  const cost = await costOf(server, ask, load);
  return Object.fromEntries(Object.entries(cost).map(([key, value]) => [`${name} ${askName} ${key}`, value]));
}

/**
 * In the full form small pictures come first, which take the same way: what V8 compiles while large ones are measured
 * would count as their cost.
 */
function warmUpsOf(ask: Ask, round: Round): readonly Pick<Load, 'body' | 'connections' | 'until'>[] {
  const { connections, photograph } = ask;
  const little = bodyOf({ ...ask, photograph: 'small', n: 1 });
  if (ask.burst) return [{ connections: 1, body: little, until: { answers: BURST_WARMTH } }];
  const own = { connections, body: bodyOf(ask), until: warmth(round, photograph) };
  if (round.quick || photograph === 'small') return [own];
  return [{ connections, body: little, until: warmth(round, 'small') }, own];
}

async function costOf(server: RunningServer, ask: Ask, load: Load): Promise<Record<string, number>> {
  const until = ask.burst ? { answers: ask.connections } : load.until;
  const { result, cost } = await server.measure(() => runLoad({ ...load, until }));
  return {
    cpuMs: cost.cpuMs / result.answers,
    grownMb: cost.grownBytes / 1e6 / ask.connections,
    latencyMs: percentile(result.latenciesMs, 0.5),
    ...(cost.stallMs !== undefined && { stallMs: cost.stallMs }),
  };
}

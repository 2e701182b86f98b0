/** Measures one gateway under one load. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Round, Samples } from './bench.js';
import { GATEWAYS, type Gateway, type GatewayName, REQUEST_HEADERS } from './gateways.js';
import { type Load, percentile, runLoad } from './load.js';
import type { Photograph } from './photographs.js';
import { type RunningServer, withServer } from './processes.js';

/** What is asked of gateways. */
export interface Ask {
  /** Which picture the upstream answers with. */
  readonly photograph: Photograph;
  /** Connections at once. */
  readonly connections: number;
  /** How the picture is wanted. @defaultValue `'b64_json'` */
  readonly format?: 'b64_json' | 'url' | undefined;
  /** Pictures in one answer. @defaultValue `1` */
  readonly n?: number | undefined;
  /** What the picture is wanted as. @defaultValue what the upstream sends */
  readonly outputFormat?: 'webp' | undefined;
  /** Whether the upstream says how long its answer is, or sends pieces. @defaultValue `'plain'` */
  readonly framing?: 'plain' | 'chunked' | undefined;
  /** Whether a stream of events is wanted, with one preview. @defaultValue `false` */
  readonly stream?: boolean | undefined;
  /** Each connection asks just once, after a warm-up that leaves memory as it is. @defaultValue `false` */
  readonly burst?: boolean | undefined;
}

/** Answers that warm a server up before a burst: of small pictures, one at a time. */
const BURST_WARMTH = 30;
/** Answers before which code is not compiled, whose compiling would be measured. The short form has not the time. */
const WARMTH = 200;
const QUICK_WARMTH = 16;

/**
 * Runs a gateway in a process of its own and asks. Samples, each after `<gateway> <ask>`: `cpuMs` of an answer,
 * `grownMb` of memory for each connection, `stallMs` and `latencyMs` (the median). None where it is not installed.
 */
export async function measureGateway(
  round: Round,
  name: GatewayName,
  [askName, ask]: readonly [string, Ask],
): Promise<Samples> {
  const gateway: Gateway = GATEWAYS[name];
  return await inFolder(round, async (folder) => {
    const settings = { upstream: round.upstream, folder };
    const command = gateway.start(settings);
    if (command === undefined) return {};
    return await withServer(command, async (server) => {
      const loadOf = (what: Ask): Load => ({
        url: server.url + gateway.path,
        headers: { ...REQUEST_HEADERS, ...gateway.headers(settings) },
        body: bodyOf(what),
        connections: what.connections,
        until: { seconds: round.seconds },
      });
      await checkAnswer(loadOf(ask), ask, gateway);
      await warmUp(ask, loadOf, round);
      const cost = await costOf(server, ask, loadOf(ask));
      return Object.fromEntries(
        Object.entries(cost).map(([key, value]) => [`${name} ${askName} ${key}`, value]),
      );
    });
  });
}

/** A folder for what one server stores. */
export async function inFolder<T>({ scratch }: Round, use: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(scratch, 'server-'));
  return await use(folder).finally(() => rm(folder, { recursive: true, force: true }));
}

async function warmUp(ask: Ask, loadOf: (ask: Ask) => Load, { seconds, quick }: Round): Promise<void> {
  if (!ask.burst) {
    await runLoad({
      ...loadOf(ask),
      until: { seconds: seconds / 2, answers: quick ? QUICK_WARMTH : WARMTH },
    });
    return;
  }
  const little = { ...ask, photograph: 'small', n: 1, connections: 1 } as const;
  await runLoad({ ...loadOf(little), until: { answers: BURST_WARMTH } });
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

/** The body of a request. */
export function bodyOf({
  photograph,
  framing = 'plain',
  n = 1,
  format = 'b64_json',
  outputFormat,
  stream = false,
}: Ask): string {
  return JSON.stringify({
    model: 'gpt-image-2',
    prompt: `${photograph} ${framing}: a lighthouse at dawn`,
    ...{ n, size: '1024x1024', output_format: outputFormat },
    ...(stream ? { stream, partial_images: 1 } : { response_format: format }),
  });
}

/** A gateway that answers something else would be measured all the same. */
async function checkAnswer({ url, headers, body }: Load, ask: Ask, { title }: Gateway): Promise<void> {
  const answer = await fetch(url, { method: 'POST', headers: { ...headers }, body: body ?? null });
  const text = await answer.text();
  assert.equal(answer.status, 200, `${title} answers ${text.slice(0, 500)}`);
  if (ask.stream) {
    assert.match(text, /image_generation\.completed/, `${title} answers with the picture`);
    return;
  }
  const { data } = JSON.parse(text);
  assert.equal(data.length, ask.n ?? 1, `${title} answers with every picture`);
  for (const { b64_json: base64, url } of data) {
    assert.ok(typeof url === 'string' || base64.length > 1000, `${title} answers with pictures`);
  }
}

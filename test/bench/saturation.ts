/** How long reading a picture takes while the encoders have all they can do. */
import { figure, OURS, type Round, ratio, type Samples, type Suite } from './bench.js';
import { GATEWAYS, REQUEST_HEADERS } from './gateways.js';
import { percentile, runLoad } from './load.js';
import { type Ask, bodyOf, inFolder } from './measure-gateway.js';
import { type RunningServer, withServer } from './processes.js';

const STORED: Ask = { photograph: 'small', connections: 1, format: 'url' };
const ENCODING: Ask = { photograph: 'photo', connections: 16, outputFormat: 'webp' };

/** Stores a picture and returns its link. */
async function storePicture(url: string): Promise<string> {
  const answer = await fetch(url, { method: 'POST', headers: REQUEST_HEADERS, body: bodyOf(STORED) });
  const { data } = (await answer.json()) as { data: readonly { url: string }[] };
  return data[0]?.url ?? '';
}

async function readWhile(server: RunningServer, seconds: number): Promise<Samples> {
  const api = server.url + GATEWAYS.decode.path;
  const link = await storePicture(api);
  const read = (until: { seconds: number }) => runLoad({ url: link, connections: 1, until });
  await read({ seconds: seconds / 2 });
  const idle = await read({ seconds });
  const encoding = { url: api, headers: REQUEST_HEADERS, body: bodyOf(ENCODING), connections: 16 };
  const busy = runLoad({ ...encoding, until: { seconds: seconds * 2 } });
  const saturated = await read({ seconds: seconds * 2 });
  await busy;
  return {
    'idle p50 ms': percentile(idle.latenciesMs, 0.5),
    'idle p99 ms': percentile(idle.latenciesMs, 0.99),
    'saturated p50 ms': percentile(saturated.latenciesMs, 0.5),
    'saturated p99 ms': percentile(saturated.latenciesMs, 0.99),
  };
}

function run(round: Round): Promise<Samples> {
  return inFolder(round, (folder) => {
    const command = GATEWAYS.decode.start({ upstream: round.upstream, folder });
    return withServer(command, (server) => readWhile(server, round.seconds));
  });
}

/** Reading under load. */
export const saturation: Suite = {
  name: 'saturation',
  title: 'Reading 24 KB while 16 requests are re-encoded on the same core',
  columns: [OURS],
  rows: [
    {
      what: 'p50 ÷ idle',
      target: { atMost: 1.2 },
      readings: { [OURS]: ratio(figure('saturated p50 ms'), figure('idle p50 ms')) },
    },
    {
      what: 'p99 ÷ idle',
      target: { atMost: 3 },
      readings: { [OURS]: ratio(figure('saturated p99 ms'), figure('idle p99 ms')) },
    },
    { what: 'idle p50 · p99, ms', readings: { [OURS]: [figure('idle p50 ms'), figure('idle p99 ms')] } },
  ],
  run,
};

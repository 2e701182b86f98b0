/** A closed loop of connections, each of which asks again as soon as it was answered. */
import { Agent, type IncomingMessage, request } from 'node:http';

/** What is asked, and how long. */
export interface Load {
  /** Whom. */
  readonly url: string;
  /** `POST` with a body, `GET` without. */
  readonly body?: string | undefined;
  /** Sent along. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Connections at once. */
  readonly connections: number;
  /** When to stop asking. */
  readonly until: Until;
  /** What is expected. @defaultValue `200` */
  readonly status?: number | undefined;
}

/** After so many answers and so many seconds, whichever comes later. */
export interface Until {
  /** Seconds. @defaultValue `0` */
  readonly seconds?: number | undefined;
  /** Answers. @defaultValue `0` */
  readonly answers?: number | undefined;
  /** After so many seconds in any case. @defaultValue no end */
  readonly mostSeconds?: number | undefined;
}

/** What came back. */
export interface LoadResult {
  /** Answers in all. */
  readonly answers: number;
  /** Bytes of their bodies. */
  readonly bytes: number;
  /** How long it took. */
  readonly seconds: number;
  /** How long each took to arrive in full, ascending, in milliseconds. */
  readonly latenciesMs: readonly number[];
}

// A server that takes longer has lost a request.
const MOST_SILENT_MS = 120_000;

/** Runs a load to its end. Throws when an answer has another status than the one expected, or does not come. */
export async function runLoad(load: Load): Promise<LoadResult> {
  const agent = new Agent({ keepAlive: true, maxSockets: load.connections, timeout: MOST_SILENT_MS });
  const { seconds = 0, answers = 0, mostSeconds = Number.POSITIVE_INFINITY } = load.until;
  const latenciesMs: number[] = [];
  const begun = performance.now();
  let asked = 0;
  let bytes = 0;
  const elapsed = () => (performance.now() - begun) / 1000;
  const isOver = () => (asked >= answers && elapsed() >= seconds) || elapsed() >= mostSeconds;
  async function connection(): Promise<void> {
    while (!isOver()) {
      asked += 1;
      const start = performance.now();
      const received = await ask(load, agent);
      bytes += received;
      latenciesMs.push(performance.now() - start);
    }
  }
  try {
    await Promise.all(Array.from({ length: load.connections }, connection));
  } finally {
    agent.destroy();
  }
  return {
    answers: latenciesMs.length,
    bytes,
    seconds: elapsed(),
    latenciesMs: latenciesMs.sort((one, other) => one - other),
  };
}

/** The value below which a share of ascending values lies. */
export function percentile(ascending: readonly number[], share: number): number {
  return ascending[Math.min(ascending.length - 1, Math.floor(ascending.length * share))] ?? Number.NaN;
}

function ask({ url, body, headers, status = 200 }: Load, agent: Agent): Promise<number> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      url,
      { agent, headers, method: body === undefined ? 'GET' : 'POST' },
      (answer) => {
        if (answer.statusCode !== status) {
          readText(answer).then(
            (text) => reject(new Error(`${url} answered ${answer.statusCode}: ${text}`)),
            reject,
          );
          return;
        }
        let bytes = 0;
        answer.on('data', (chunk: Buffer) => {
          bytes += chunk.length;
        });
        answer.on('end', () => resolve(bytes));
        answer.on('error', reject);
      },
    );
    outgoing.on('error', reject);
    outgoing.on('timeout', () => outgoing.destroy(new Error(`${url} sent nothing for ${MOST_SILENT_MS} ms`)));
    outgoing.end(body);
  });
}

async function readText(answer: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of answer) text += chunk;
  return text.slice(0, 500);
}

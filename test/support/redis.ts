/** Real Redis servers, each in a folder of its own, and connections to them. */
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { Cluster, Redis } from 'ioredis';
import { createClient, createCluster } from 'redis';
import type { SendCommand } from '../../src/budgets/redis.js';
import { freePort } from './free-port.js';
import { temporaryFolder } from './temporary-folder.js';

/** Settings fit for money. */
const DURABLE = { appendonly: 'yes', appendfsync: 'always', 'maxmemory-policy': 'noeviction' };

/**
 * For the `skip` option of suites that need a server: why there is none, else `false`. In CI it is always `false`, so
 * that they fail where the server is missing.
 */
export const withoutRedis: string | false = reasonToSkip();

function reasonToSkip(): string | false {
  try {
    execFileSync('redis-server', ['--version'], { stdio: 'ignore' });
    return false;
  } catch {
    if (process.env.CI === 'true') return false;
    return 'NOT TESTED: there is no redis-server here (Debian: apt-get install redis-server)';
  }
}

/** A running server. */
export interface RedisServer {
  /** On 127.0.0.1, the same one after a restart. */
  readonly port: number;
  /** Connects with the `redis` package, or `ioredis`, or as to a cluster; closed when the server is. */
  connect(client?: keyof typeof CLIENTS): Promise<SendCommand>;
  /** Freezes it: it takes connections and answers nothing. */
  pause(): void;
  /** Ends a pause. */
  resume(): void;
  /** Ends it as a crash does, with SIGKILL. */
  kill(): Promise<void>;
  /** Starts it again on what it had written, after {@link kill}. */
  start(): Promise<void>;
}

/** What can run something when it ends, such as a test. */
interface Scope {
  after(clean: () => Promise<void>): void;
}

/** Starts a server that ends with the test. `settings` come on top of those that are fit for money. */
export async function startRedis(
  scope: Scope,
  settings: Readonly<Record<string, string>> = {},
): Promise<RedisServer> {
  const folder = await temporaryFolder(scope);
  const port = await freePort();
  const options = { ...DURABLE, save: '', bind: '127.0.0.1', port: String(port), dir: folder, ...settings };
  const args = Object.entries(options).flatMap(([name, value]) => [`--${name}`, value]);
  const connections: Connection[] = [];
  let server: ChildProcess;

  const start = async () => {
    server = spawn('redis-server', args, { stdio: ['ignore', 'pipe', 'inherit'] });
    await ready(server);
  };
  const kill = async () => {
    if (server.exitCode !== null || server.signalCode !== null) return;
    const exit = once(server, 'exit');
    server.kill('SIGKILL');
    await exit;
  };
  scope.after(async () => {
    for (const { close } of connections) close();
    await kill();
  });
  await start();
  return {
    ...{ port, start, kill },
    async connect(client = 'redis') {
      const connection = await CLIENTS[client](port);
      connections.push(connection);
      return connection.send;
    },
    pause: () => assert.ok(server.kill('SIGSTOP'), 'the server is there to be paused'),
    resume: () => assert.ok(server.kill('SIGCONT'), 'the server is there to go on'),
  };
}

interface Connection {
  readonly send: SendCommand;
  readonly close: () => void;
}

// A lost connection is what some tests are about: commands reject, and the event needs a listener.
const ignored = () => undefined;

async function connectRedis(port: number, RESP: 2 | 3): Promise<Connection> {
  const client = createClient({ socket: { host: '127.0.0.1', port }, RESP });
  await client.on('error', ignored).connect();
  return { send: (...command) => client.sendCommand(command), close: () => client.destroy() };
}

const CLIENTS = {
  redis: (port) => connectRedis(port, 2),
  'redis-resp3': (port) => connectRedis(port, 3),
  'redis-cluster': async (port) => {
    const cluster = createCluster({ rootNodes: [{ socket: { host: '127.0.0.1', port } }] });
    await cluster.on('error', ignored).connect();
    return {
      send: (...command) => cluster.sendCommand(command[3], false, command),
      close: () => cluster.destroy(),
    };
  },
  ioredis: async (port) => {
    const client = new Redis(port, '127.0.0.1').on('error', ignored);
    return { send: (...command) => client.call(...command), close: () => client.disconnect() };
  },
  'ioredis-buffers': async (port) => {
    const client = new Redis(port, '127.0.0.1').on('error', ignored);
    return { send: (...command) => client.callBuffer(...command), close: () => client.disconnect() };
  },
  'ioredis-cluster': async (port) => {
    const cluster = new Cluster([{ host: '127.0.0.1', port }], { maxRedirections: 3 }).on('error', ignored);
    return { send: (...command) => cluster.call(...command), close: () => cluster.disconnect() };
  },
} satisfies Record<string, (port: number) => Promise<Connection>>;

/** Waits until the server takes commands, also after reading its files; what it says later is dropped. */
async function ready(server: ChildProcess): Promise<void> {
  let said = '';
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.once('exit', () => reject(new Error(`redis-server ended instead of starting: ${said}`)));
    server.stdout?.on('data', (chunk) => {
      said = (said + chunk).slice(-10_000);
      if (said.includes('Ready to accept connections')) resolve();
    });
  });
}

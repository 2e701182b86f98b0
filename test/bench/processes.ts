/** Servers and tasks in processes of their own, on the core of the server, and what they cost. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { type AddressInfo, connect, createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { onServerCore } from './cores.js';
import type { ProbeQuestion, ProbeReport } from './probe.js';

/** What a process cost between two moments. */
export interface Cost {
  /** CPU of all its threads, user and system, in milliseconds. */
  readonly cpuMs: number;
  /** By how much its memory grew at most, in bytes. */
  readonly grownBytes: number;
  /** The longest stall of the event loop, in milliseconds; `undefined` where there is no event loop to ask. */
  readonly stallMs: number | undefined;
}

/** A server in a process of its own. */
export interface RunningServer {
  /** Its origin. */
  readonly url: string;
  /** Collects garbage as a server that has been idle does, where it is a Node process. */
  rest(): Promise<void>;
  /** Runs something and tells what it cost the server meanwhile. */
  measure<T>(work: () => Promise<T>): Promise<{ readonly result: T; readonly cost: Cost }>;
  /** Ends it. */
  stop(): Promise<void>;
}

/** How a server is started. */
export interface ServerCommand {
  /** Program and arguments. */
  command(port: number): readonly string[];
  /** Whether it is a Node process with the probe in it. */
  readonly probed: boolean;
  /** Added to its environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Where it runs instead of the server's core: beside the harness. */
  readonly besideHarness?: boolean;
}

/** Where the benchmark lies. */
export const BENCH: string = fileURLToPath(new URL('./', import.meta.url));

/** Where the package lies. */
export const ROOT: string = fileURLToPath(new URL('../../', import.meta.url));

/** Arguments of Node for a TypeScript program with the probe in it. */
export function probedNode(file: string, ...args: readonly string[]): readonly string[] {
  return [process.execPath, '--import', 'tsx', '--import', `${BENCH}probe.ts`, file, ...args];
}

/** A server of this folder, which takes its port and settings as arguments. */
export function benchServer(name: string, settings: object): ServerCommand {
  return {
    command: (port) => probedNode(`${BENCH}servers/${name}.ts`, String(port), JSON.stringify(settings)),
    probed: true,
  };
}

/** Starts a server on a free port of 127.0.0.1 and waits until it listens. */
export async function startServer(server: ServerCommand): Promise<RunningServer> {
  const port = await freePort();
  const plain = server.command(port);
  const [program = '', ...args] = server.besideHarness ? plain : onServerCore(plain);
  const child = spawn(program, args, {
    cwd: ROOT,
    env: { ...process.env, NODE_ENV: 'production', ...server.env },
    stdio: ['ignore', 'ignore', 'inherit', ...(server.probed ? (['ipc'] as const) : [])],
  });
  await untilListening(port, child);
  const pid = child.pid ?? 0;
  return {
    url: `http://127.0.0.1:${port}`,
    async rest() {
      if (server.probed) await askProbe(child, 'rest');
    },
    async measure(work) {
      const ask = server.probed ? (question: ProbeQuestion) => askProbe(child, question) : undefined;
      const restingBytes = memoryOf(pid, 'VmRSS');
      forgetPeak(pid);
      const before = ask ? await ask('begin') : { cpuMs: ticksOf(pid), stallMs: undefined };
      const result = await work();
      const after = ask ? await ask('end') : { cpuMs: ticksOf(pid), stallMs: undefined };
      const grownBytes = Math.max(0, memoryOf(pid, 'VmHWM') - restingBytes);
      return { result, cost: { cpuMs: after.cpuMs - before.cpuMs, grownBytes, stallMs: after.stallMs } };
    },
    async stop() {
      const exited = child.exitCode === null ? once(child, 'exit') : undefined;
      if (server.probed) child.disconnect();
      else child.kill();
      await exited;
    },
  };
}

/** Starts a server in a folder of its own, which goes when it stops; `undefined` where it is not installed. */
export async function startInFolder(
  scratch: string,
  command: (folder: string) => ServerCommand | undefined,
): Promise<RunningServer | undefined> {
  const folder = await mkdtemp(join(scratch, 'server-'));
  const remove = () => rm(folder, { recursive: true, force: true });
  const wanted = command(folder);
  const server = wanted && (await startServer(wanted));
  if (server === undefined) {
    await remove();
    return undefined;
  }
  return { ...server, stop: () => server.stop().finally(remove) };
}

/** Runs a task of this folder in a process of its own and returns what it sends. */
export async function runTask<T>(name: string, input: object = {}): Promise<T> {
  const command = probedNode(`${BENCH}tasks/${name}.ts`, JSON.stringify(input));
  const [program = '', ...args] = onServerCore(command);
  const child = spawn(program, args, { cwd: ROOT, stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  const failed = once(child, 'exit').then(([code]) => {
    throw new Error(`the task ${name} ended with ${code} and no result`);
  });
  const [result] = await Promise.race([once(child, 'message'), failed]);
  failed.catch(() => undefined);
  child.disconnect();
  return result;
}

async function askProbe(child: ChildProcess, question: ProbeQuestion): Promise<ProbeReport> {
  const stop = new AbortController();
  const { signal } = stop;
  const ended = once(child, 'exit', { signal }).then(([code, killedBy]) => {
    throw new Error(`${child.spawnargs.join(' ')} ended (${code ?? killedBy}) and was not told to`);
  });
  try {
    const answered = once(child, 'message', { signal });
    child.send(question);
    const [report] = await Promise.race([answered, ended]);
    return report;
  } finally {
    ended.catch(() => undefined);
    stop.abort();
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

async function untilListening(port: number, child: ChildProcess): Promise<void> {
  const deadline = Date.now() + 30_000;
  while (Date.now() < deadline && child.exitCode === null) {
    const socket = connect(port, '127.0.0.1');
    const listens = await once(socket, 'connect').then(
      () => true,
      () => false,
    );
    socket.destroy();
    if (listens) return;
    await sleep(20);
  }
  child.kill();
  throw new Error(`${child.spawnargs.join(' ')} does not listen on ${port}`);
}

/** CPU of a process in milliseconds, to the tick of the kernel: a hundredth of a second. */
function ticksOf(pid: number): number {
  // The second field is the program's name, which may hold anything.
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /s, '')
    .split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

function memoryOf(pid: number, field: 'VmRSS' | 'VmHWM'): number {
  const [, kilobytes] =
    new RegExp(`${field}:\\s+(\\d+) kB`).exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Number(kilobytes) * 1024;
}

/** Begins a new peak (proc(5), clear_refs). */
function forgetPeak(pid: number): void {
  writeFileSync(`/proc/${pid}/clear_refs`, '5');
}

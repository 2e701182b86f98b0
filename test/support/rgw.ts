/**
 * A real S3 server on 127.0.0.1: Ceph's gateway over one monitor and one OSD that keeps everything in memory, all in a
 * folder of their own. It refuses wrong, changed and expired signatures and removes what lifecycle rules expire; one
 * of its days lasts a second for them.
 */
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { freePort } from './free-port.js';

// A cluster that does not come up would be waited for without end.
const START_MS = 120_000;

const run = (program: string, args: readonly string[]) =>
  promisify(execFile)(program, args, { timeout: START_MS, killSignal: 'SIGKILL' });

/**
 * For the `skip` option of suites that need a server: why there is none, else `false`. In CI it is always `false`, so
 * that they fail where the server is missing.
 */
export const withoutRgw: string | false = reasonToSkip();

function reasonToSkip(): string | false {
  try {
    for (const program of ['radosgw', 'ceph-mon', 'ceph-osd']) {
      execFileSync(program, ['--version'], { stdio: 'ignore' });
    }
    return false;
  } catch {
    if (process.env.CI === 'true') return false;
    return 'NOT TESTED: there is no S3 server here (Debian: apt-get install radosgw ceph-mon ceph-osd ceph-mgr ceph-common)';
  }
}

/** Keys of the only account. */
export const RGW_KEYS = { accessKeyId: 'AKTEST', secretAccessKey: 'SKTEST' };

/** A running server. */
export interface RgwServer {
  /** `http://127.0.0.1:<port>`, the same one after a restart. */
  readonly endpoint: string;
  /** Ends the gateway as a crash does, with SIGKILL; what it has stored stays. */
  kill(): Promise<void>;
  /** Starts the gateway again after {@link kill}. */
  start(): Promise<void>;
}

/** What can run something when it ends, such as a test. */
interface Scope {
  after(clean: () => Promise<void>): void;
}

/** Starts a server that ends with the scope. Takes some seconds. */
export async function startRgw(scope: Scope): Promise<RgwServer> {
  const folder = await mkdtemp(join(tmpdir(), 'images-router-'));
  const running: Daemon[] = [];
  scope.after(async () => {
    for (const daemon of running.reverse()) await daemon.kill();
    await rm(folder, { recursive: true, force: true });
  });
  const port = await freePort();
  const cluster = await prepare(folder, port);
  const launch = (program: string, name: string) => {
    const daemon = startDaemon(program, ['-f', ...cluster.settings, '-n', name]);
    running.push(daemon);
    return daemon;
  };

  launch('ceph-mon', 'mon.a');
  await cluster.makeOsd();
  launch('ceph-osd', 'osd.0');
  await run('ceph', [
    ...cluster.settings,
    'osd',
    'crush',
    'add',
    'osd.0',
    '1.0',
    'root=default',
    'host=localhost',
  ]);
  let gateway = launch('radosgw', 'client.rgw.a');
  await gateway.listening(port);
  const account = ['--uid=test', '--display-name=test', '--access-key=AKTEST', '--secret=SKTEST'];
  await run('radosgw-admin', [...cluster.settings, 'user', 'create', ...account]);
  return {
    endpoint: `http://127.0.0.1:${port}`,
    kill: () => gateway.kill(),
    async start() {
      gateway = launch('radosgw', 'client.rgw.a');
      await gateway.listening(port);
    },
  };
}

function configuration(folder: string, gatewayPort: number, monitorPort: number): string {
  return `
[global]
fsid = ${randomUUID()}
mon host = [v2:127.0.0.1:${monitorPort}]
public network = 127.0.0.0/8
keyring = ${folder}/keyring
run dir = ${folder}
admin socket = ${folder}/$name.asok
log file = ${folder}/$name.log
pid file =
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
osd crush update on start = false
mon allow pool size one = true
mon data avail crit = 1
mon data avail warn = 2
# Each pool the gateway makes takes some rounds of the monitor's, which otherwise waits a second for company.
paxos propose interval = 0.05
paxos min wait = 0.01
[mon.a]
mon data = ${folder}/mon
[osd.0]
osd data = ${folder}/osd
osd objectstore = memstore
memstore device bytes = 4294967296
public addr = 127.0.0.1
cluster addr = 127.0.0.1
[client.rgw.a]
rgw frontends = beast endpoint=127.0.0.1:${gatewayPort}
rgw run sync thread = false
rgw lc debug interval = 1
# A gateway that was killed would otherwise be waited for when the next one changes a bucket.
rgw cache enabled = false
`;
}

/** Writes what daemons read. */
async function prepare(folder: string, gatewayPort: number) {
  const file = (name: string) => join(folder, name);
  const settings = ['-c', file('ceph.conf')];
  const monitorPort = await freePort();
  await mkdir(file('mon'));
  await mkdir(file('osd'));
  await writeFile(file('ceph.conf'), configuration(folder, gatewayPort, monitorPort));
  await run('ceph-authtool', ['-C', file('keyring'), '--gen-key', '-n', 'mon.', '--cap', 'mon', 'allow *']);
  for (const [name, ...caps] of [
    ['client.admin', 'mon', 'allow *', 'osd', 'allow *', 'mgr', 'allow *'],
    ['client.rgw.a', 'mon', 'allow rw', 'osd', 'allow rwx'],
    ['osd.0', 'mon', 'allow profile osd', 'mgr', 'allow profile osd', 'osd', 'allow *'],
  ] as const) {
    const pairs = caps.flatMap((cap, place) => (place % 2 === 0 ? ['--cap', cap] : [cap]));
    await run('ceph-authtool', [file('keyring'), '--gen-key', '-n', name, ...pairs]);
  }
  const map = ['--create', '--addv', 'a', `[v2:127.0.0.1:${monitorPort}]`, file('monmap')];
  await run('monmaptool', map);
  await run('ceph-mon', [
    ...settings,
    '--mkfs',
    '-i',
    'a',
    '--monmap',
    file('monmap'),
    '--keyring',
    file('keyring'),
  ]);
  return {
    settings,
    async makeOsd() {
      const uuid = randomUUID();
      const { stdout } = await run('ceph-authtool', [file('keyring'), '-n', 'osd.0', '-p']);
      await writeFile(file('secret'), JSON.stringify({ cephx_secret: stdout.trim() }));
      await run('ceph', [...settings, 'osd', 'new', uuid, '-i', file('secret')]);
      await run('ceph-osd', [...settings, '-i', '0', '--mkfs', '--osd-uuid', uuid]);
    },
  };
}

interface Daemon {
  kill(): Promise<void>;
  listening(port: number): Promise<void>;
}

function startDaemon(program: string, args: readonly string[]): Daemon {
  const child: ChildProcess = spawn(program, args, { stdio: 'ignore' });
  const isGone = () => child.exitCode !== null || child.signalCode !== null;
  return {
    async kill() {
      if (isGone()) return;
      const exit = once(child, 'exit');
      child.kill('SIGKILL');
      await exit;
    },
    async listening(port) {
      const signal = AbortSignal.timeout(START_MS);
      const answers = () =>
        fetch(`http://127.0.0.1:${port}`, { signal }).then(
          () => true,
          () => false,
        );
      while (!(await answers())) {
        if (isGone()) throw new Error(`${program} ended instead of starting`);
        if (signal.aborted) throw new Error(`${program} does not answer on port ${port}`);
        await sleep(50);
      }
    },
  };
}

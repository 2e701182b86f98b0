/** Installs the gateways the benchmark runs beside ours, where there is a network. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { BENCH } from './processes.js';

const INSTALL = [
  'install',
  '--ignore-scripts',
  '--no-package-lock',
  '--no-audit',
  '--no-fund',
  '--loglevel=error',
];

/** Makes sure they are there; where they are not their columns say so, and so does this. */
export function installRivals(): void {
  const folder = `${BENCH}rivals`;
  if (existsSync(`${folder}/node_modules`)) return;
  console.log(`Installing what is in ${folder}/package.json`);
  const { status } = spawnSync('npm', INSTALL, { cwd: folder, stdio: ['ignore', 'ignore', 'inherit'] });
  if (status !== 0) console.error('MISSING: Portkey and http-proxy-middleware could not be installed.');
}

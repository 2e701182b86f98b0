import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync } from 'node:fs';
import { readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';

/**
 * The npm packages a fresh Node process has loaded after it ran a program: the coverage it leaves behind names every
 * script, ES module and CommonJS alike, with no loader or hook that could change what is loaded.
 */
export async function loadedPackages(options: {
  readonly program: string;
  readonly cwd: string;
  readonly nodeArguments?: readonly string[];
}): Promise<string[]> {
  const { program, cwd, nodeArguments = [] } = options;
  const folder = mkdtempSync(join(tmpdir(), 'images-router-loaded-'));
  try {
    const child = spawn(process.execPath, [...nodeArguments, '--input-type=module', '--eval', program], {
      cwd,
      env: { ...process.env, NODE_V8_COVERAGE: folder },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    const [stderr, [code]] = await Promise.all([text(child.stderr), once(child, 'close')]);
    if (code !== 0) throw new Error(`the program failed with ${code}: ${stderr}`);
    const files = await readdir(folder);
    const reports = await Promise.all(files.map((file) => readFile(join(folder, file), 'utf8')));
    return packagesIn(reports.join('\n'));
  } finally {
    await rm(folder, { recursive: true });
  }
}

function packagesIn(reports: string): string[] {
  const names = reports.matchAll(/"url":"file:[^"]*\/node_modules\/((?:@[^/"]+\/)?[^/"]+)\//g);
  return [...new Set([...names].map(([, name]) => name ?? ''))].sort();
}

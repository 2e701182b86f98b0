/** A real browser without a window. */
import { execFileSync } from 'node:child_process';
import { type Browser, chromium } from 'playwright-core';

const EXECUTABLE = '/usr/bin/chromium';

/**
 * For the `skip` option of suites that need a browser: why there is none, else `false`. In CI it is always `false`, so
 * that they fail where it is missing.
 */
export const withoutBrowser: string | false = reasonToSkip();

function reasonToSkip(): string | false {
  try {
    execFileSync(EXECUTABLE, ['--version'], { stdio: 'ignore' });
    return false;
  } catch {
    if (process.env.CI === 'true') return false;
    return 'NOT TESTED: there is no chromium here (Debian: apt-get install chromium)';
  }
}

/** Starts a browser; whoever starts it closes it. */
export function startBrowser(): Promise<Browser> {
  const args = ['--no-sandbox', '--disable-dev-shm-usage'];
  return chromium.launch({ executablePath: EXECUTABLE, args });
}

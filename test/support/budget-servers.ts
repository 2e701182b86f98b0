/** Server processes with the router on a durable budget store, to be asked, stopped and killed. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Budget, Caller } from '../../src/core/caller.js';
import { imageCount, total, usd } from '../../src/core/windows.js';
import type { DurableKind } from './durable-budgets.js';

const PROGRAM = fileURLToPath(new URL('../http/budget-server.ts', import.meta.url));

/** What a server process is told. */
export interface ServerSettings {
  /** The kind of its budget store. */
  readonly kind: DurableKind;
  /** Where that is. */
  readonly where: string;
  /** Where it draws. */
  readonly upstream: string;
  /** Where it keeps pictures. */
  readonly folder: string;
  /** Pictures each tenant may draw. */
  readonly limit: number;
  /** How long a hold is kept, where not as long as usual. */
  readonly leaseMs?: number;
  /** Makes the ledger a faulty one, which looks first and adds later. */
  readonly checkThenAdd?: boolean;
}

/** The budgets every tenant of such a server has. */
export function budgetsOf(limit: number): readonly [Budget, ...Budget[]] {
  return [total(imageCount(limit), { name: 'pictures' }), total(usd(1_000), { name: 'money' })];
}

/** The caller with this API key. */
export function callerOf(key: string, limit: number): Caller {
  return { tenant: key, models: 'all', budgets: budgetsOf(limit) };
}

/** A server process. */
export interface BudgetServer {
  /** Where it listens. */
  readonly url: string;
  /** Waits until it has printed this line, for a minute at most. */
  says(line: string): Promise<void>;
  /** Ends it with SIGKILL. */
  kill(): Promise<void>;
}

/** What can run something when it ends, such as a test. */
interface Scope {
  after(clean: () => Promise<void>): void;
}

/** Starts a server process that is ended with the scope at the latest. */
export async function startBudgetServer(scope: Scope, settings: ServerSettings): Promise<BudgetServer> {
  const child = spawn(process.execPath, ['--import', 'tsx', PROGRAM, JSON.stringify(settings)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const ended = once(child, 'close');
  const kill = async () => {
    child.kill('SIGKILL');
    await ended;
  };
  scope.after(kill);
  let said = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    said += text;
  });
  const until = async (holds: () => boolean) => {
    const signal = AbortSignal.timeout(60_000);
    while (!holds()) {
      assert.ok(child.stdout.readable, `the server ended; it had said ${said}`);
      await Promise.race([once(child.stdout, 'data', { signal }), ended]);
    }
  };
  await until(() => said.includes('\n'));
  return {
    url: said.split('\n', 1)[0] ?? '',
    says: (line) => until(() => said.includes(`${line}\n`)),
    kill,
  };
}

/** What a request is sent with. */
export interface Question {
  /** Whom to ask. */
  readonly url: string;
  /** Who asks. */
  readonly key: string;
  /** What to draw. */
  readonly prompt: string;
  /** Which API to speak. @defaultValue `'native'` */
  readonly surface?: 'native' | 'openai';
  /** More headers. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** What it was answered. */
export interface Answer {
  /** The status. */
  readonly status: number;
  /** True when it is that of an earlier request. */
  readonly replayed: boolean;
  /** The body, without what is new with each answer: URLs and the request's id. */
  readonly lasting: unknown;
  /** The first picture's URL, where there is one. */
  readonly picture: string | undefined;
}

const PATHS = { native: '/v1/inference/images/generate', openai: '/oai/v1/images/generations' } as const;
const FRESH = ['url', 'expires_at', 'request_id'];

/** Asks a server for a picture; rejects when it is killed meanwhile. */
export async function ask({ url, key, prompt, surface = 'native', headers }: Question): Promise<Answer> {
  const response = await fetch(url + PATHS[surface], {
    method: 'POST',
    headers: { Authorization: key, 'Content-Type': 'application/json', ...headers },
    body: JSON.stringify({ model: 'openai/gpt-image-1', prompt }),
  });
  const text = await response.text();
  const lasting = JSON.parse(text, (name, value) => (FRESH.includes(name) ? undefined : value));
  const replayed = response.headers.get('idempotency-replayed') === 'true';
  return { status: response.status, replayed, lasting, picture: /"url":"([^"]+)"/.exec(text)?.[1] };
}

/**
 * A budget store on a Redis server, for several processes and machines. Each operation is one script and so one atomic
 * step; the server's clock decides leases.
 */
import type { Balance, BudgetStore, CommitLine, ReserveResult, Seen } from '../core/budget.js';
import { decodeText, encodeText } from '../database/text.js';
import { ConfigError } from '../errors.js';
import { checkCommit, checkOnce, checkReserve, checkText } from './arguments.js';
import { findRisks, type SendCommand } from './redis-durability.js';
import { COMMIT, READ, RECALL, RELEASE, RESERVE, type Script } from './redis-scripts.js';

export type { SendCommand };

/** How {@link redisBudget} reaches its server. */
export interface RedisBudgetOptions {
  /**
   * Sends one command on the host's own connection and answers the reply, as strings or Buffers; rejects with the
   * server's error, its message beginning with the server's code. Sending a command again after a lost connection
   * is harmless.
   */
  readonly send: SendCommand;
  /**
   * Names the ledger: every key begins with it in braces, `{images}:`. Two prefixes are two ledgers.
   * @defaultValue `'images'`
   */
  readonly prefix?: string | undefined;
  /**
   * Told once per store, after its first operation, when the server's settings let it forget what was spent.
   * @defaultValue `process.emitWarning`
   */
  readonly onWarning?: ((message: string) => void) | undefined;
}

/**
 * Keeps budgets in Redis. The connection is the host's: any client that sends a command as it is given will do.
 *
 * ```ts
 * // The package `redis`: createClient(), createCluster()
 * redisBudget({ send: (...command) => client.sendCommand(command) })
 * redisBudget({ send: (...command) => cluster.sendCommand(command[3], false, command) })
 * // The package `ioredis`: Redis or Cluster
 * redisBudget({ send: (...command) => client.call(...command) })
 * ```
 *
 * The braces put all keys of a ledger into one slot of a cluster, because one reservation may draw on any of its
 * buckets together. So one ledger is as fast as one node, which is some thousand requests a second; a cluster spreads
 * several ledgers with a prefix each, not one.
 *
 * A server that holds money needs `appendonly yes`, `appendfsync always` and `maxmemory-policy noeviction`. A replica
 * that takes over may lack what its primary acknowledged last: Redis replicates asynchronously.
 * Throws `ConfigError` for an empty prefix or one with braces.
 */
export function redisBudget(options: RedisBudgetOptions): BudgetStore {
  const run = createRunner(options);
  return {
    async reserve(request) {
      checkReserve(request);
      const { once, leaseMs } = request;
      const [id, onceKey] = [encodeText(request.id), encodeText(once?.key ?? '')];
      const lines = encodeKeys(request.lines);
      const terms = request.lines.map(({ limit, expiresAt }) => ({ limit, expiresAt: expiresAt ?? NEVER }));
      const names = [`hold:${id}`, ...(once ? [`once:${onceKey}`] : []), ...bucketNames(lines)];
      const args = [id, JSON.stringify(lines), JSON.stringify(terms), String(leaseMs)];
      const answer = await run(RESERVE, names, [...args, onceKey, encodeText(once?.fingerprint ?? '')]);
      return resultOf(request.id, answer);
    },
    async recall(once) {
      checkOnce(once);
      const key = encodeText(once.key);
      const [verdict, ...seen] = await run(RECALL, [`once:${key}`], [key, encodeText(once.fingerprint)]);
      return verdict === 'unknown' ? undefined : seenOf(seen);
    },
    async commit(hold, lines, outcome) {
      checkText('hold.id', hold.id);
      // The amounts now; whether the keys are held is for the hold on record to say, where there is one.
      checkCommit(lines, lines);
      const id = encodeText(hold.id);
      const names = [`hold:${id}`, ...bucketNames(encodeKeys(hold.lines))];
      const args = [JSON.stringify(encodeKeys(lines)), outcome === undefined ? '' : JSON.stringify(outcome)];
      const [verdict, held] = await run(COMMIT, names, [id, ...args]);
      if (verdict === 'settled') return verdict;
      checkCommit(held === undefined ? hold.lines : linesOf(held), lines);
      return verdict as 'already' | 'unknown';
    },
    async release(id) {
      checkText('id', id);
      const encoded = encodeText(id);
      const [verdict] = await run(RELEASE, [`hold:${encoded}`], [encoded]);
      return verdict as 'released' | 'already' | 'unknown';
    },
    async read(keys) {
      if (keys.length === 0) return [];
      const encoded = keys.map(encodeText);
      const names = bucketNames(encoded.map((key) => ({ key })));
      return balancesOf(keys, await run(READ, names, encoded));
    },
  };
}

// A time Redis can be told and nobody will see.
const NEVER = Number.MAX_SAFE_INTEGER;

/**
 * Runs a script and answers its list of strings. `names` are all keys known beforehand: while a slot of a cluster moves
 * to another node, it is by them that Redis refuses (`TRYAGAIN`), instead of taking a bucket still to come for empty.
 */
type Run = (script: Script, names: readonly string[], args: readonly string[]) => Promise<string[]>;

function createRunner({ send, prefix: name = 'images', onWarning = warn }: RedisBudgetOptions): Run {
  if (typeof send !== 'function') throw new ConfigError('send', 'must be a function that sends a command');
  if (name === '' || /[{}]/.test(name)) throw new ConfigError('prefix', 'must be a name without braces');
  const prefix = `{${name}}:`;
  let checked = false;

  async function checkServer(): Promise<void> {
    if (checked) return;
    checked = true;
    const risks = await findRisks(send);
    if (risks.length > 0) onWarning(risks.join(' '));
  }

  return async (script, names, args) => {
    const rest = [String(names.length), ...names.map((each) => prefix + each), prefix, ...args];
    const reply = await send('EVALSHA', script.sha1, ...rest).catch((error: unknown) => {
      if (!/^NOSCRIPT/.test((error as Error).message)) throw error;
      return send('EVAL', script.text, ...rest);
    });
    // Beside the operation: what it finds, or a warning that throws, is not for the request to wait for or fail by.
    void checkServer().catch(() => undefined);
    if (!Array.isArray(reply)) throw new TypeError('send answered something else than the reply of a script');
    return reply.map(String);
  };
}

function bucketNames(lines: readonly { readonly key: string }[]): string[] {
  return lines.flatMap(({ key }) => [`bucket:${key}`, `pending:${key}`]);
}

function warn(message: string): void {
  process.emitWarning(message, { code: 'IMAGES_ROUTER_BUDGET' });
}

function encodeKeys(lines: readonly CommitLine[]): CommitLine[] {
  return lines.map(({ key, amount }) => ({ key: encodeText(key), amount }));
}

/** The lines of a hold as they are kept. */
function linesOf(text: string): CommitLine[] {
  const lines: CommitLine[] = JSON.parse(text);
  return lines.map(({ key, amount }) => ({ key: decodeText(key), amount }));
}

function resultOf(id: string, [verdict, ...rest]: readonly string[]): ReserveResult {
  if (verdict === 'closed') return { ok: false, closed: true };
  if (verdict === 'seen') return { ok: false, seen: seenOf(rest) };
  if (verdict === 'refused') {
    const refused = pairs(rest).map(([key, left]) => ({ key: decodeText(key), left: Number(left) }));
    return { ok: false, refused };
  }
  const [held = '', ...sums] = rest;
  const lines = linesOf(held);
  const keys = lines.map(({ key }) => key);
  return { ok: true, hold: { id, lines }, balances: balancesOf(keys, sums) };
}

function seenOf([state, outcome]: readonly string[]): Seen {
  return { state: state as Seen['state'], ...(outcome ? { outcome: JSON.parse(outcome) } : {}) };
}

function balancesOf(keys: readonly string[], sums: readonly string[]): readonly Balance[] {
  const amounts = pairs(sums);
  return keys.map((key, place) => {
    const [spent, held] = amounts[place] ?? [];
    return { key, spent: Number(spent), held: Number(held) };
  });
}

function pairs(flat: readonly string[]): (readonly [string, string])[] {
  return flat.flatMap((first, place) => (place % 2 === 0 ? [[first, flat[place + 1] ?? ''] as const] : []));
}

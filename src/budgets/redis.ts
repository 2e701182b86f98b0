/**
 * A budget store on a Redis server (6.2 or newer, or Valkey), for several processes and machines. Each operation is
 * one script and so one atomic step; the server's clock decides leases.
 */
import type {
  Balance,
  BudgetStore,
  CommitLine,
  ReserveRequest,
  ReserveResult,
  Seen,
} from '../core/budget.js';
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
 * redisBudget({ send: (...command) => client.sendCommand(command) })           // `redis`: createClient()
 * redisBudget({ send: (...command) => cluster.sendCommand(command[3], false, command) })   // createCluster()
 * redisBudget({ send: (...command) => client.call(...command) })               // `ioredis`, single or cluster
 * ```
 *
 * The braces put all keys of a ledger into one slot of a cluster, because one reservation may draw on any of its
 * buckets together. So one ledger is as fast as one node, which is thousands of requests a second; a cluster spreads
 * several ledgers with a prefix each, not one.
 *
 * A server that holds money needs `appendonly yes`, `appendfsync always` and `maxmemory-policy noeviction`. A replica
 * that takes over may lack what its primary acknowledged last: Redis replicates asynchronously.
 * Throws `ConfigError` for an empty prefix or one with braces.
 */
export function redisBudget(options: RedisBudgetOptions): BudgetStore {
  const { send, prefix: name = 'images', onWarning = warn } = options;
  if (typeof send !== 'function') throw new ConfigError('send', 'must be a function that sends a command');
  if (name === '' || /[{}]/.test(name)) throw new ConfigError('prefix', 'must be a name without braces');
  const prefix = `{${name}}:`;
  let checked = false;

  /** Runs a script and answers its list of strings. `names` are all the keys known beforehand. */
  async function run(script: Script, names: readonly string[], args: readonly string[]): Promise<string[]> {
    const rest = [String(names.length), ...names.map((each) => prefix + each), prefix, ...args];
    const reply = await send('EVALSHA', script.sha1, ...rest).catch((error: unknown) => {
      if (!/^NOSCRIPT/.test((error as Error).message)) throw error;
      return send('EVAL', script.text, ...rest);
    });
    if (!checked) {
      checked = true;
      void findRisks(send)
        .then((risks) => risks.length > 0 && onWarning(risks.join(' ')))
        .catch(() => undefined);
    }
    if (!Array.isArray(reply)) throw new TypeError('send answered something else than the reply of a script');
    return reply.map(String);
  }

  return {
    async reserve(request) {
      checkReserve(request);
      const { id, once, leaseMs } = request;
      const lines = request.lines.map(({ key, amount }) => ({ key, amount }));
      const terms = request.lines.map(({ limit, expiresAt }) => ({ limit, expiresAt: expiresAt ?? NEVER }));
      const names = [`hold:${id}`, ...(once ? [`once:${once.key}`] : []), ...bucketNames(lines)];
      const args = [id, JSON.stringify(lines), JSON.stringify(terms), String(leaseMs)];
      return resultOf(
        request,
        await run(RESERVE, names, [...args, once?.key ?? '', once?.fingerprint ?? '']),
      );
    },
    async recall(once) {
      checkOnce(once);
      const [verdict, ...seen] = await run(RECALL, [`once:${once.key}`], [once.key, once.fingerprint]);
      return verdict === 'unknown' ? undefined : seenOf(seen);
    },
    async commit(hold, lines, outcome) {
      checkText('hold.id', hold.id);
      checkCommit(hold.lines, lines);
      const names = [
        `hold:${hold.id}`,
        ...hold.lines.flatMap(({ key }) => [`bucket:${key}`, `pending:${key}`]),
      ];
      const amounts = JSON.stringify(lines.map(({ key, amount }) => ({ key, amount })));
      const args = [hold.id, amounts, outcome === undefined ? '' : JSON.stringify(outcome)];
      const [verdict, key] = await run(COMMIT, names, args);
      if (verdict === 'foreign') throw new TypeError(`lines: ${key} is not in the hold`);
      return verdict as 'settled' | 'already' | 'unknown';
    },
    async release(id) {
      checkText('id', id);
      const [verdict] = await run(RELEASE, [`hold:${id}`], [id]);
      return verdict as 'released' | 'already' | 'unknown';
    },
    async read(keys) {
      if (keys.length === 0) return [];
      const names = bucketNames(keys.map((key) => ({ key })));
      return balancesOf(keys, await run(READ, names, keys));
    },
  };
}

// A time Redis can be told and nobody will see.
const NEVER = Number.MAX_SAFE_INTEGER;

function bucketNames(lines: readonly { readonly key: string }[]): string[] {
  return lines.flatMap(({ key }) => [`bucket:${key}`, `pending:${key}`]);
}

function warn(message: string): void {
  process.emitWarning(message, { code: 'IMAGES_ROUTER_BUDGET' });
}

function resultOf({ id }: ReserveRequest, [verdict, ...rest]: readonly string[]): ReserveResult {
  if (verdict === 'closed') return { ok: false, closed: true };
  if (verdict === 'seen') return { ok: false, seen: seenOf(rest) };
  if (verdict === 'refused') {
    return { ok: false, refused: pairs(rest).map(([key, left]) => ({ key, left: Number(left) })) };
  }
  const [held = '', ...sums] = rest;
  const lines: CommitLine[] = JSON.parse(held);
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

/** A budget store in PostgreSQL: durable, and shared by any number of servers. */
import type { Balance, BudgetStore, CommitLine, Once, ReserveResult, Seen } from '../core/budget.js';
import { ask, checkQuery, type PostgresAnswer, type PostgresQuery } from '../database/postgres.js';
import { decodeText, encodeText } from '../database/text.js';
import { checkCommit, checkOnce, checkReserve, checkText } from './arguments.js';
import { postgresBudgetSchema } from './postgres-schema.js';

export { type PostgresAnswer, type PostgresQuery, postgresBudgetSchema };

/** Options of {@link postgresBudget}. */
export interface PostgresBudgetOptions {
  /** Runs a statement. It should give up in a few seconds when the server does not answer. */
  readonly query: PostgresQuery;
}

type Operation = 'reserve' | 'recall' | 'commit' | 'release' | 'read';

// What the functions answer, with every text encoded.
type ReserveAnswer =
  | { readonly ok: true; readonly lines: readonly CommitLine[]; readonly balances: readonly Balance[] }
  | { readonly ok: false; readonly refused: readonly { readonly key: string; readonly left: number }[] }
  | { readonly ok: false; readonly seen: SeenAnswer }
  | { readonly ok: false; readonly closed: true };
type SeenAnswer = { readonly state: Seen['state']; readonly outcome?: string | null };
type CommitAnswer = 'settled' | 'already' | 'unknown' | { readonly held: readonly CommitLine[] };

/**
 * Keeps budgets in a PostgreSQL database, version 12 or later, in the schema `images_router`. Exact under concurrency
 * of many servers. Every operation is one statement, a call of a function: run {@link postgresBudgetSchema} in a
 * migration first, and again with every new version of this package. Without it the first operation rejects and says
 * so. Whoever calls needs `USAGE` of the schema, and `SELECT`, `INSERT`, `UPDATE` and `DELETE` on its tables.
 *
 * Leases are on the database's clock. A commit is on disk when it is answered, even where `synchronous_commit` is off.
 *
 * Throws a `ConfigError` for a `query` that is no function. Its methods reject with what `query` rejects with.
 */
export function postgresBudget(options: PostgresBudgetOptions): BudgetStore {
  const query = checkQuery(options?.query);

  async function call<Answer>(operation: Operation, request: unknown): Promise<Answer> {
    const statement = `SELECT images_router.budget_${operation}_v1($1) AS answer`;
    const values = [JSON.stringify(request)];
    const [row] = await ask<{ readonly answer: string }>(query, 'postgresBudgetSchema', statement, values);
    if (typeof row?.answer !== 'string') throw new Error('query must answer { rows }, with rows as objects');
    return JSON.parse(row.answer) as Answer;
  }

  return {
    async reserve(request) {
      checkReserve(request);
      const { id, once, leaseMs } = request;
      const lines = encodeKeys(request.lines);
      const asked = { id: encodeText(id), ...encodeOnce(once), leaseMs, lines };
      return toResult(id, await call<ReserveAnswer>('reserve', asked));
    },
    async recall(once) {
      checkOnce(once);
      const seen = await call<SeenAnswer | null>('recall', encodeOnce(once));
      return seen === null ? undefined : toSeen(seen);
    },
    async commit(hold, lines, outcome) {
      checkText('hold.id', hold.id);
      // The amounts now; whether the keys are held is for the hold on record to say, where there is one.
      checkCommit(lines, lines);
      const kept = outcome === undefined ? null : encodeText(outcome);
      const asked = { id: encodeText(hold.id), lines: encodeKeys(lines), outcome: kept };
      const answer = await call<CommitAnswer>('commit', asked);
      if (answer === 'settled') return answer;
      const held = typeof answer === 'string' ? hold.lines : decodeKeys(answer.held);
      checkCommit(held, lines);
      return answer as 'already' | 'unknown';
    },
    async release(id) {
      checkText('id', id);
      return call('release', { id: encodeText(id) });
    },
    async read(keys) {
      return decodeKeys(await call<readonly Balance[]>('read', keys.map(encodeText)));
    },
  };
}

function encodeKeys<T extends { readonly key: string }>(lines: readonly T[]): T[] {
  return lines.map((line) => ({ ...line, key: encodeText(line.key) }));
}

function decodeKeys<T extends { readonly key: string }>(lines: readonly T[]): T[] {
  return lines.map((line) => ({ ...line, key: decodeText(line.key) }));
}

function encodeOnce(
  once: Once | undefined,
): { readonly onceKey: string; readonly fingerprint: string } | undefined {
  return once && { onceKey: encodeText(once.key), fingerprint: encodeText(once.fingerprint) };
}

function toResult(id: string, answer: ReserveAnswer): ReserveResult {
  if (answer.ok) {
    const lines = decodeKeys(answer.lines).map(({ key, amount }) => ({ key, amount }));
    return { ok: true, hold: { id, lines }, balances: decodeKeys(answer.balances) };
  }
  if ('refused' in answer) return { ok: false, refused: decodeKeys(answer.refused) };
  return 'seen' in answer ? { ok: false, seen: toSeen(answer.seen) } : answer;
}

function toSeen({ state, outcome }: SeenAnswer): Seen {
  if (state !== 'settled') return { state };
  return { state, outcome: outcome == null ? undefined : decodeText(outcome) };
}

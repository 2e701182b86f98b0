/**
 * A budget store of your own: every hold and booking is a row of a team's own database, never purged, to be joined
 * with its customers and invoices. Here the database is SQLite; with another one the statements are the same and the
 * transaction is yours. The conformance kit runs on it first, then a router with a budget of three pictures.
 * Run it with: npx tsx --tsconfig test/tsconfig.json examples/custom-budget.ts
 */
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import express from 'express';
import {
  anyone,
  type BudgetStore,
  type CommitLine,
  createImagesRouter,
  imageCount,
  type Once,
  type ReserveRequest,
  type ReserveResult,
  type Seen,
  total,
} from 'express-images-router';
import { placeholder } from 'express-images-router/providers/placeholder';
import { memoryStorage } from 'express-images-router/storage/memory';
import { budgetChecks } from 'express-images-router/testing';
import Database from 'libsql';

/** For a migration. A bucket's balance is the sum of its lines; those of a hold past its lease count as spent. */
const SCHEMA = `
  CREATE TABLE image_holds (
    id TEXT PRIMARY KEY,
    state TEXT NOT NULL CHECK (state IN ('pending', 'settled', 'released')),
    lapses_at INTEGER NOT NULL,
    once_key TEXT UNIQUE,
    fingerprint TEXT,
    outcome TEXT
  );
  CREATE TABLE image_hold_lines (
    hold TEXT NOT NULL REFERENCES image_holds,
    bucket TEXT NOT NULL,
    amount INTEGER NOT NULL,
    PRIMARY KEY (hold, bucket)
  );
  CREATE INDEX image_hold_lines_by_bucket ON image_hold_lines (bucket);`;

const FIND = 'SELECT state, lapses_at, fingerprint, outcome FROM image_holds';
const LINES = 'SELECT bucket AS key, amount FROM image_hold_lines WHERE hold = ?';
const ADD_HOLD = `INSERT INTO image_holds (id, state, lapses_at, once_key, fingerprint) VALUES (?, ?, ?, ?, ?)`;
const ADD_LINE = 'INSERT INTO image_hold_lines (hold, bucket, amount) VALUES (?, ?, ?)';
const BALANCE = `
  SELECT min(coalesce(sum(CASE WHEN pending THEN 0 ELSE amount END), 0), ${Number.MAX_SAFE_INTEGER}) AS spent,
         min(coalesce(sum(CASE WHEN pending THEN amount ELSE 0 END), 0), ${Number.MAX_SAFE_INTEGER}) AS held
  FROM (SELECT amount, state = 'pending' AND lapses_at > ? AS pending
        FROM image_hold_lines JOIN image_holds ON id = hold WHERE bucket = ?)`;

interface HoldRow {
  readonly state: 'pending' | 'settled' | 'released';
  readonly lapses_at: number;
  readonly fingerprint: string | null;
  readonly outcome: string | null;
}

/** Keeps budgets in the tables of {@link SCHEMA}. */
function tableBudget(database: Database.Database): BudgetStore {
  const find = (where: string, value: string) =>
    database.prepare(`${FIND} WHERE ${where} = ?`).get(value) as HoldRow | undefined;
  const run = (statement: string, ...values: unknown[]) => database.prepare(statement).run(...values);

  /** Everything of an operation, or nothing: also what a second process does comes before it or after it. */
  async function atomically<T>(operation: () => T): Promise<T> {
    database.exec('BEGIN IMMEDIATE');
    try {
      const answer = operation();
      database.exec('COMMIT');
      return answer;
    } catch (error) {
      database.exec('ROLLBACK');
      throw error;
    }
  }

  function balance(key: string) {
    const { spent, held } = database.prepare(BALANCE).get(Date.now(), key) as { spent: number; held: number };
    return { key, spent, held };
  }

  function replaceLines(id: string, lines: readonly CommitLine[]): void {
    run('DELETE FROM image_hold_lines WHERE hold = ?', id);
    for (const { key, amount } of lines) run(ADD_LINE, id, key, amount);
  }

  function lookUp({ key, fingerprint }: Once): Seen | undefined {
    const row = find('once_key', key);
    if (row === undefined) return undefined;
    if (row.fingerprint !== fingerprint) return { state: 'conflict' };
    if (row.state === 'settled') return { state: 'settled', outcome: row.outcome ?? undefined };
    return { state: row.lapses_at > Date.now() ? 'pending' : 'lapsed' };
  }

  function reserve({ id, once, lines, leaseMs }: ReserveRequest): ReserveResult {
    const known = find('id', id);
    if (known && (known.state !== 'pending' || known.lapses_at <= Date.now())) {
      return { ok: false, closed: true };
    }
    if (known === undefined) {
      const seen = once && lookUp(once);
      if (seen) return { ok: false, seen };
      const refused = lines.flatMap(({ key, limit, amount }) => {
        const { spent, held } = balance(key);
        const left = limit - spent - held;
        return amount > left ? [{ key, left: Math.max(0, left) }] : [];
      });
      if (refused.length > 0) return { ok: false, refused };
      run(ADD_HOLD, id, 'pending', Date.now() + leaseMs, once?.key ?? null, once?.fingerprint ?? null);
      replaceLines(id, lines);
    }
    const held = database.prepare(LINES).all(id) as CommitLine[];
    return { ok: true, hold: { id, lines: held }, balances: held.map(({ key }) => balance(key)) };
  }

  return {
    async reserve(request) {
      checkLines(request.lines, (line) => [line.amount, line.limit]);
      return atomically(() => reserve(request));
    },
    recall: (once) => atomically(() => lookUp(once)),
    async commit(hold, lines, outcome) {
      checkLines(lines, (line) => [line.amount]);
      const foreign = lines.find(({ key }) => !hold.lines.some((line) => line.key === key));
      if (foreign) throw new TypeError(`${foreign.key} is not in the hold`);
      return atomically(() => {
        const row = find('id', hold.id);
        if (row?.state !== 'pending') return row ? 'already' : 'unknown';
        replaceLines(hold.id, lines);
        run(`UPDATE image_holds SET state = 'settled', outcome = ? WHERE id = ?`, outcome ?? null, hold.id);
        return 'settled';
      });
    },
    release: (id) =>
      atomically(() => {
        const row = find('id', id);
        // The tombstone: a reserve that is still on its way must find its id closed.
        if (row === undefined) run(ADD_HOLD, id, 'released', 0, null, null);
        if (row?.state !== 'pending') return row ? 'already' : 'unknown';
        replaceLines(id, []);
        run(`UPDATE image_holds SET state = 'released', once_key = NULL WHERE id = ?`, id);
        return 'released';
      }),
    read: (keys) => atomically(() => keys.map(balance)),
    close: async () => void database.close(),
  };
}

function checkLines<Line extends { readonly key: string }>(
  lines: readonly Line[],
  numbersOf: (line: Line) => readonly number[],
): void {
  if (new Set(lines.map(({ key }) => key)).size < lines.length) throw new TypeError('a key is there twice');
  if (!lines.flatMap(numbersOf).every((number) => Number.isSafeInteger(number) && number >= 0)) {
    throw new TypeError('an amount or limit is no safe integer of 0 or more');
  }
}

const folder = mkdtempSync(join(tmpdir(), 'custom-budget-'));
const file = join(folder, 'team.db');
const database = new Database(file);
database.exec(SCHEMA);

for (const check of budgetChecks) await check.run(() => tableBudget(new Database(file)));
console.log(`All ${budgetChecks.length} checks of the kit pass.`);

const images = createImagesRouter({
  providers: [placeholder()],
  storage: memoryStorage(),
  media: { secrets: 'a secret of at least thirty-two bytes' },
  identify: anyone({ tenant: 'demo', models: 'all', budgets: [total(imageCount(3), { name: 'trial' })] }),
  budget: tableBudget(database),
});
const server = express().use(images).listen(0, '127.0.0.1');
await once(server, 'listening');

const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/inference/images/generate`;
for (const prompt of ['a lighthouse', 'a harbour', 'a storm', 'a wreck']) {
  const headers = { 'Content-Type': 'application/json' };
  const body = JSON.stringify({ model: 'placeholder/sketch', prompt });
  const answer = await fetch(url, { method: 'POST', headers, body });
  const { error } = (await answer.json()) as { error?: { message: string } };
  console.log(answer.status, prompt, error?.message ?? '');
}
const sums = database.prepare('SELECT bucket, sum(amount) AS pictures FROM image_hold_lines GROUP BY bucket');
const rows = sums.all() as { readonly bucket: string; readonly pictures: number }[];
for (const { bucket, pictures } of rows) {
  if (bucket.includes('/trial/')) console.log(`${pictures} pictures are booked in ${bucket}`);
}

server.close();
await images.close();
rmSync(folder, { recursive: true });

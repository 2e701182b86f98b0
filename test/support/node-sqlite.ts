/** `node:sqlite`, which the Node of development may not have yet. */
import { test } from 'node:test';
import type { SqliteDatabase } from '../../src/database/sqlite.js';
import type { Check } from '../../src/testing/check.js';
import { testChecks } from './run-checks.js';

interface NodeSqlite {
  readonly DatabaseSync: new (path: string) => SqliteDatabase;
}

// Not a literal: Node 20 has no types of it.
const NAME: string = 'node:sqlite';

/** Opens a database by `node:sqlite`; `undefined` where this Node has none. */
export const openNodeSqlite: ((path: string) => SqliteDatabase) | undefined = await import(NAME).then(
  ({ DatabaseSync }: NodeSqlite) =>
    (path) =>
      new DatabaseSync(path),
  () => undefined,
);

/** Runs every check of a kit on a store in `node:sqlite`. */
export function testOnNodeSqlite<Store>(kit: {
  readonly checks: readonly Check<() => Store>[];
  readonly create: (database: SqliteDatabase) => Store;
  readonly file: string;
}): void {
  const { checks, create, file } = kit;
  const open = openNodeSqlite;
  if (open === undefined) {
    test('the kit on node:sqlite', { skip: 'this Node has no node:sqlite: Node 22.13 or later does' });
    return;
  }
  testChecks('node:sqlite', checks, () => create(open(file)));
}

/**
 * A storage of your own: pictures in tables of a SQL database, here libSQL in memory. It is held to the contract of
 * storages, then a router draws into it and serves from it.
 * Run it with: npx tsx --tsconfig test/tsconfig.json examples/custom-storage.ts
 */
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import express from 'express';
import {
  anyone,
  createImagesRouter,
  ImagesError,
  type MediaStorage,
  type StoredInfo,
} from 'express-images-router';
import { memoryBudget } from 'express-images-router/budgets/memory';
import { placeholder } from 'express-images-router/providers/placeholder';
import { storageChecks } from 'express-images-router/testing';
import Database from 'libsql';

// Bytes are rows of their own, so that a picture can be read piece by piece. Each put makes a version: who reads one
// that is replaced meanwhile finds no more pieces, rather than pieces of another.
const TABLES = `
CREATE TABLE pictures (
  key TEXT PRIMARY KEY, version TEXT NOT NULL, expires_at INTEGER NOT NULL, info TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX pictures_expiring ON pictures (expires_at);
CREATE TABLE pieces (version TEXT, place INTEGER, bytes BLOB, PRIMARY KEY (version, place)) STRICT;
CREATE TRIGGER pieces_go AFTER DELETE ON pictures BEGIN DELETE FROM pieces WHERE version = OLD.version; END;
`;
const KEY = /^(?=.{1,200}$)[a-z0-9_-][a-z0-9_.-]*(\/[a-z0-9_-][a-z0-9_.-]*)*$/;
const PIECE_BYTES = 256 * 1024;
const PAGE = 500;

/** Keys that start with `prefix` are those from it up to, and without, this: `0` is what follows `/` in ASCII. */
const endOf = (prefix: string) => (prefix === '' ? '~' : `${prefix.slice(0, -1)}0`);

/** Keeps pictures in a database with a synchronous driver. A driver of promises would look the same, with awaits. */
function sqlStorage(database: Database.Database): MediaStorage {
  database.exec(TABLES);
  const remove = database.prepare('DELETE FROM pictures WHERE key = ?');
  const removeRange = database.prepare('DELETE FROM pictures WHERE key >= ? AND key < ?');
  const removeExpired = database.prepare('DELETE FROM pictures WHERE expires_at <= ?');
  const insert = database.prepare('INSERT INTO pictures VALUES (?, ?, ?, ?)');
  const insertPiece = database.prepare('INSERT INTO pieces VALUES (?, ?, ?)');
  const find = database.prepare('SELECT version, info FROM pictures WHERE key = ? AND expires_at > ?');
  const measure = database.prepare('SELECT sum(length(bytes)) AS size FROM pieces WHERE version = ?');
  const findPiece = database.prepare('SELECT bytes FROM pieces WHERE version = ? AND place = ?');
  const page = database.prepare('SELECT key FROM pictures WHERE key > ? AND key < ? ORDER BY key LIMIT ?');

  const check = (key: string) => {
    if (!KEY.test(key)) throw new TypeError(`${JSON.stringify(key)} is no key`);
  };
  const checkPrefix = (prefix: string) => {
    if (!prefix.endsWith('/')) throw new TypeError(`${JSON.stringify(prefix)} is no prefix`);
    check(prefix.slice(0, -1));
  };
  const store = database.transaction((key: string, info: StoredInfo, body: Uint8Array) => {
    const version = randomUUID();
    remove.run(key);
    insert.run(key, version, info.expiresAt, JSON.stringify(info));
    for (let at = 0; at < body.length; at += PIECE_BYTES) {
      insertPiece.run(version, at / PIECE_BYTES, Buffer.from(body.subarray(at, at + PIECE_BYTES)));
    }
  });
  const lookUp = (key: string) => {
    check(key);
    const row = find.get(key, Date.now()) as { version: string; info: string } | undefined;
    return row && { version: row.version, info: JSON.parse(row.info) as StoredInfo };
  };
  async function* read(version: string, start: number, end: number, signal: AbortSignal | undefined) {
    for (let at = start; at <= end; ) {
      signal?.throwIfAborted();
      const place = Math.floor(at / PIECE_BYTES);
      const row = findPiece.get(version, place) as { bytes: Uint8Array } | undefined;
      if (row === undefined) throw new ImagesError('STORAGE_ERROR', 'The picture was replaced or removed.');
      const offset = place * PIECE_BYTES;
      const piece = row.bytes.subarray(at - offset, end + 1 - offset);
      yield piece;
      at += piece.length;
    }
  }

  return {
    async put(key, body, { signal, ...facts }) {
      check(key);
      signal?.throwIfAborted();
      store(key, { ...facts, size: body.length, storedAt: Date.now() }, body);
    },
    async get(key, { range, signal } = {}) {
      const found = lookUp(key);
      if (found === undefined) return undefined;
      const { version, info } = found;
      const { size } = measure.get(version) as { size: number | null };
      if ((size ?? 0) !== info.size) {
        throw new ImagesError('STORAGE_ERROR', 'A stored picture is damaged.', { reason: 'damaged' });
      }
      const { start, end } = range ?? { start: 0, end: info.size - 1 };
      return { ...info, body: read(version, start, end, signal) };
    },
    stat: async (key) => lookUp(key)?.info,
    async delete(key) {
      check(key);
      remove.run(key);
    },
    async deletePrefix(prefix, { signal } = {}) {
      checkPrefix(prefix);
      signal?.throwIfAborted();
      removeRange.run(prefix, endOf(prefix));
    },
    async sweep({ before, signal }) {
      signal?.throwIfAborted();
      return { removed: removeExpired.run(before).changes, orphans: 0 };
    },
    async *list(prefix, { signal } = {}) {
      if (prefix !== '') checkPrefix(prefix);
      for (let after = prefix; ; ) {
        signal?.throwIfAborted();
        const rows = page.all(after, endOf(prefix), PAGE) as { key: string }[];
        yield* rows.map(({ key }) => key);
        const last = rows.at(-1);
        if (last === undefined) return;
        after = last.key;
      }
    },
    close: async () => void database.close(),
  };
}

const storage = sqlStorage(new Database(':memory:'));

// Checks close what they made; this storage is used afterwards.
const { close: _, ...checked } = storage;
for (const check of storageChecks) {
  const skipped = await check.run(() => checked);
  console.log(skipped === undefined ? 'ok     ' : 'skipped', check.id, skipped?.notApplicable ?? '');
}

const images = createImagesRouter({
  providers: [placeholder()],
  storage,
  media: { secrets: 'a secret of at least thirty-two bytes' },
  identify: anyone({ tenant: 'demo', models: 'all', budgets: 'unlimited' }),
  budget: memoryBudget(),
});
const server = express().use(images).listen(0, '127.0.0.1');
await once(server, 'listening');

const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/inference/images/generate`;
const answer = await fetch(url, {
  method: 'POST',
  headers: { 'Content-Type': 'application/json' },
  body: JSON.stringify({ model: 'placeholder/sketch', prompt: 'A harbour in the fog' }),
});
const { data } = (await answer.json()) as { data: { data: readonly { url: string }[] } };
const picture = await fetch(data.data[0]?.url ?? '');
const bytes = (await picture.arrayBuffer()).byteLength;
console.log(picture.status, picture.headers.get('content-type'), `${bytes} bytes from the database`);
console.log(await images.sweep({ verify: true }));

server.close();
await images.close();

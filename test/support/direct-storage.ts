/**
 * A storage whose clients can fetch from it directly, by signed URLs of a server of its own; with a flaw, if wanted.
 */
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import type { DirectUrlOptions, MediaStorage } from '../../src/core/storage.js';
import { memoryStorage } from '../../src/storage/memory.js';

/** What its URLs get wrong. */
export type DirectFlaw =
  | 'ignores expiry'
  | 'adds an hour'
  | 'ignores signatures'
  | 'signs no key'
  | 'signs no answer'
  | 'forgets the type'
  | 'forgets the disposition'
  | 'sends other bytes'
  | 'takes any method'
  | 'answers no URL';

/** What can run something when it ends, such as a test. */
interface Scope {
  after(clean: () => Promise<void>): void;
}

const SECRET = 'the secret of direct URLs';

/** Starts one; its server ends with the scope. */
export async function startDirectStorage(scope: Scope, flaw?: DirectFlaw): Promise<MediaStorage> {
  const storage = memoryStorage();
  const sign = (key: string, { expires, method, ...answer }: Record<string, string>) => {
    const signed = [expires, method, flaw !== 'signs no key' && key, flaw !== 'signs no answer' && answer];
    return createHmac('sha256', SECRET).update(JSON.stringify(signed)).digest('hex');
  };

  async function serve({ method = '', url = '' }: IncomingMessage, res: ServerResponse, body: Buffer) {
    const { pathname, searchParams } = new URL(url, 'http://x');
    const key = pathname.slice(1);
    const { signature, ...query } = Object.fromEntries(searchParams);
    const isSigned = flaw === 'ignores signatures' || signature === sign(key, query);
    const isLate = flaw !== 'ignores expiry' && Number(query.expires) <= Date.now();
    const isAllowed = flaw === 'takes any method' || method === query.method;
    const info = await storage.stat(key).catch(() => undefined);
    if (!isSigned || isLate || !isAllowed || info === undefined) return void res.writeHead(403).end();
    if (method === 'DELETE') await storage.delete(key);
    if (method === 'PUT') await storage.put(key, body, info);
    if (flaw !== 'forgets the type') res.setHeader('Content-Type', query.type ?? info.contentType);
    if (flaw !== 'forgets the disposition' && query.disposition) {
      res.setHeader('Content-Disposition', query.disposition);
    }
    for await (const chunk of (await storage.get(key))?.body ?? []) {
      res.write(flaw === 'sends other bytes' ? chunk.map((byte) => byte ^ 1) : chunk);
    }
    res.end();
  }

  const server = createServer(async (req, res) => serve(req, res, await buffer(req)));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  scope.after(async () => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;

  return {
    ...storage,
    async directUrl(key: string, { method, expiresAt, contentType, disposition }: DirectUrlOptions) {
      if (flaw === 'answers no URL') return undefined;
      const expires = String(flaw === 'adds an hour' ? expiresAt + 3_600_000 : expiresAt);
      const query = { expires, method, type: contentType, disposition };
      const url = new URL(key, `http://127.0.0.1:${port}`);
      url.search = String(new URLSearchParams({ ...query, signature: sign(key, query) }));
      return url.href;
    },
  };
}

/** Pictures of a folder, read once and served by Express with nothing asked or checked. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import express from 'express';
import { PORT, readSettings } from './arguments.js';
import type { FolderSettings } from './settings.js';

const { folder } = readSettings<FolderSettings>();
const names = readdirSync(folder).filter((name) => statSync(join(folder, name)).isFile());
const files = new Map(names.map((name) => [`/${name}`, readFileSync(join(folder, name))]));
const ETAG = '"the only one"';

express()
  .use((req, res) => {
    const file = files.get(req.url);
    const isUnchanged = req.headers['if-none-match'] === ETAG;
    res.statusCode = file === undefined ? 404 : isUnchanged ? 304 : 200;
    res.setHeader('ETag', ETAG);
    if (!isUnchanged) res.setHeader('Content-Length', file?.byteLength ?? 0);
    res.end(isUnchanged ? undefined : file);
  })
  .listen(PORT, '127.0.0.1');

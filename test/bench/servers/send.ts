/** Pictures of a folder, served by `send` alone. */
import { createServer } from 'node:http';
import send from 'send';
import { PORT, readSettings } from './arguments.js';
import type { FolderSettings } from './settings.js';

const { folder } = readSettings<FolderSettings>();

createServer((req, res) => {
  send(req, req.url ?? '/', { root: folder }).pipe(res);
}).listen(PORT, '127.0.0.1');

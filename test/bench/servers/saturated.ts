/**
 * What the machine allows while it encodes: pictures of a folder by `send`, and for each post one encoding of a
 * photograph, as many at once as the router has.
 */
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import send from 'send';
import sharp from 'sharp';
import { encodePicture } from '../../../src/pipeline/encode.js';
import { imageJobs } from '../../../src/pipeline/gate.js';
import { openPicture } from '../../../src/pipeline/inspect.js';
import { PORT, readSettings } from './arguments.js';
import type { FolderSettings } from './settings.js';

const { folder } = readSettings<FolderSettings>();
const photo = readFileSync(`${folder}/photo.png`);
const MAX_PIXELS = 20_000_000;

sharp.concurrency(1);
sharp.cache(false);

function encode(): Promise<Uint8Array> {
  const webp = { format: 'webp', compression: undefined } as const;
  return imageJobs.run(() => encodePicture(openPicture(photo, MAX_PIXELS), webp));
}

createServer((req, res) => {
  if (req.method === 'GET') {
    send(req, req.url ?? '/', { root: folder }).pipe(res);
    return;
  }
  req.resume();
  encode().then(
    (picture) => res.end(picture),
    () => res.destroy(),
  );
}).listen(PORT, '127.0.0.1');

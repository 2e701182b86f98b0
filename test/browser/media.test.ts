/**
 * Served pictures in a real browser: nothing that is stored ever runs, downloads have the right names, versions show.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Browser, BrowserContext } from 'playwright-core';
import type { Size } from '../../src/core/image.js';
import { memoryStorage } from '../../src/storage/memory.js';
import { createTestApp, type TestApp } from '../support/app.js';
import { startBrowser, withoutBrowser } from '../support/browser.js';
import { draw, LINK_SECRET, place } from '../support/media.js';
import { picture, pngChunk, withPngChunks } from '../support/pictures.js';

/** What a script does that runs: it asks for this, which the host counts, and renames its page. */
const RUN = "fetch('/ran');navigator.sendBeacon&&navigator.sendBeacon('/ran');document.title='ran'";
const HTML = `<!doctype html><html><body><script>${RUN}</script><img src=x onerror="${RUN}"></body></html>`;
const SVG =
  `<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64" onload="${RUN.replaceAll('&', '&amp;')}">` +
  `<script><![CDATA[${RUN}]]></script></svg>`;

interface Hostile {
  readonly name: string;
  readonly bytes: Buffer;
  readonly contentType?: string;
}

/** Objects as somebody might have written them who can write to storage, and is not us. */
async function hostileSet(): Promise<readonly Hostile[]> {
  const [png, jpeg] = [await picture('png'), await picture('jpeg')];
  const text = (body: string) => pngChunk('tEXt', Buffer.from(`Comment\0${body}`, 'latin1'));
  const comment = Buffer.from(HTML);
  const length = Buffer.alloc(2);
  length.writeUInt16BE(comment.length + 2);
  const jpegComment = Buffer.concat([Buffer.from([0xff, 0xfe]), length, comment]);
  const asScript = Buffer.from(`/*\xff\xd8\xff*/${RUN}//`, 'latin1');
  return [
    { name: 'HTML after a PNG', bytes: Buffer.concat([png, Buffer.from(HTML)]) },
    { name: 'HTML in a chunk of a PNG', bytes: withPngChunks(png, [text(HTML)]) },
    {
      name: 'HTML in a comment of a JPEG',
      contentType: 'image/jpeg',
      bytes: Buffer.concat([jpeg.subarray(0, 2), jpegComment, jpeg.subarray(2)]),
    },
    {
      name: 'JavaScript after a JPEG',
      contentType: 'image/jpeg',
      bytes: Buffer.concat([jpeg, Buffer.from(`\n;${RUN}`)]),
    },
    { name: 'HTML called a PNG', bytes: Buffer.from(HTML) },
    { name: 'HTML called a WebP', contentType: 'image/webp', bytes: Buffer.from(HTML) },
    { name: 'JavaScript called a PNG', bytes: Buffer.from(RUN) },
    { name: 'JavaScript called a JPEG', contentType: 'image/jpeg', bytes: asScript },
    { name: 'SVG called a PNG', bytes: Buffer.from(SVG) },
    { name: 'SVG called an AVIF', contentType: 'image/avif', bytes: Buffer.from(SVG) },
    { name: 'HTML of its own type', contentType: 'text/html', bytes: Buffer.from(HTML) },
    { name: 'SVG of its own type', contentType: 'image/svg+xml', bytes: Buffer.from(SVG) },
  ];
}

/** Ways a page can take something in. */
const EMBEDDINGS = {
  iframe: (url: string) => `<iframe src="${url}"></iframe>`,
  img: (url: string) => `<img src="${url}">`,
  script: (url: string) => `<script src="${url}"></script>`,
  module: (url: string) => `<script type="module" src="${url}"></script>`,
  object: (url: string) => `<object data="${url}"></object>`,
  'object as SVG': (url: string) => `<object data="${url}" type="image/svg+xml"></object>`,
  embed: (url: string) => `<embed src="${url}">`,
  'embed as HTML': (url: string) => `<embed src="${url}" type="text/html">`,
} as const satisfies Record<string, (url: string) => string>;

describe('served pictures in a browser', { skip: withoutBrowser }, () => {
  const cleaners: (() => Promise<void>)[] = [];
  const storage = memoryStorage();
  let app: TestApp;
  let browser: Browser;
  let context: BrowserContext;
  let ran = 0;
  let page = '';

  before(async () => {
    app = await createTestApp(
      { after: (clean) => void cleaners.push(clean) },
      {
        storage,
        media: { secrets: LINK_SECRET },
        before: (host) => {
          host.all('/ran', (_req, res) => {
            ran += 1;
            res.end();
          });
          host.get('/page', (_req, res) => void res.type('html').send(page));
          host.get('/plain', (_req, res) => void res.type('html').send(HTML));
        },
      },
    );
    browser = await startBrowser();
    context = await browser.newContext({ acceptDownloads: true });
  });

  after(async () => {
    await browser?.close();
    for (const clean of cleaners) await clean();
  });

  async function show(path: string): Promise<string> {
    const tab = await context.newPage();
    await tab.goto(app.url + path, { waitUntil: 'load' }).catch(() => undefined);
    // What runs late would run by now: images that fail, frames that load.
    await tab.waitForTimeout(50);
    const title = await tab.title();
    await tab.close();
    return title;
  }

  it('the same page served as HTML does run, so that silence means something', async () => {
    ran = 0;
    assert.equal(await show('/plain'), 'ran');
    assert.ok(ran > 0, 'a script that runs is noticed');
  });

  it('nothing in them runs, opened as a page or taken into one', async () => {
    ran = 0;
    for (const { name, bytes, contentType = 'image/png' } of await hostileSet()) {
      const { path } = await place(storage, bytes, { contentType });
      const paths = [path, `${path}&w=32`, `${path}&format=auto`];
      for (const each of paths) assert.notEqual(await show(each), 'ran', name);
      for (const [how, embed] of Object.entries(EMBEDDINGS)) {
        page = `<!doctype html><title>page</title>${paths.map(embed).join('')}`;
        assert.equal(await show('/page'), 'page', `${name} in ${how}`);
        assert.equal(ran, 0, `${name} in ${how}`);
      }
    }
  });

  it('download=1 saves them under their names, versions under the extension of their format', async () => {
    const { id, url } = await draw(app);
    const names: Record<string, string> = {
      '': `${id}.png`,
      '&w=64&format=webp': `${id}.webp`,
      '&format=jpeg': `${id}.jpg`,
      '&format=auto': `${id}.avif`,
    };
    for (const [query, name] of Object.entries(names)) {
      page = `<!doctype html><a href="${url}${query}&download=1">save</a>`;
      const tab = await context.newPage();
      await tab.setExtraHTTPHeaders({ accept: 'image/avif,image/webp,*/*' });
      await tab.goto(`${app.url}/page`);
      const [download] = await Promise.all([tab.waitForEvent('download'), tab.click('a')]);
      assert.equal(download.suggestedFilename(), name);
      await tab.close();
    }
  });

  it('versions show in srcset and picture, with the pixels asked for', async () => {
    const size: Size = { width: 1024, height: 512 };
    const { path } = await place(storage, await picture('png', size), { size });
    const at = (query: string) => `${app.url}${path}&${query}`;
    page = `<!doctype html>
      <img id="set" sizes="200px" srcset="${at('w=256')} 256w, ${at('w=512')} 512w, ${at('w=1024')} 1024w">
      <picture><source type="image/avif" srcset="${at('w=384&format=avif')}"><img id="choice" src="${at('w=64')}"></picture>
      <img id="auto" src="${at('w=128&format=auto')}">
      <img id="square" src="${at('w=128&h=128&fit=cover')}">
      <img id="webp" src="${at('w=640&format=webp&q=50')}">`;
    const tab = await context.newPage();
    const types = new Map<string, string | undefined>();
    tab.on('response', (answer) => types.set(answer.url(), answer.headers()['content-type']));
    await tab.goto(`${app.url}/page`, { waitUntil: 'load' });
    const shown = await tab.$$eval('img', (images) =>
      images.map((image) => [image.id, image.currentSrc, image.naturalWidth, image.naturalHeight] as const),
    );
    const facts = Object.fromEntries(
      shown.map(([id, url, width, height]) => [id, [types.get(url), width, height]]),
    );
    // With srcset the natural width counts in CSS pixels of `sizes`.
    assert.deepEqual(facts, {
      set: ['image/png', 200, 100],
      choice: ['image/avif', 384, 192],
      auto: ['image/avif', 128, 64],
      square: ['image/png', 128, 128],
      webp: ['image/webp', 640, 320],
    });
    assert.ok(
      shown.some(([id, url]) => id === 'set' && url.endsWith('w=256')),
      'the smallest that suffices is taken',
    );
    await tab.close();
  });
});

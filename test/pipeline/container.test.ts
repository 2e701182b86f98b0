import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { deflateSync } from 'node:zlib';
import fc from 'fast-check';
import { readContainer } from '../../src/pipeline/container.js';
import { animations, foreignFiles, truncated } from '../support/hostile-pictures.js';
import { picture, pngChunk, withPngChunks } from '../support/pictures.js';
import { runs } from '../support/runs.js';

const FORMATS = ['png', 'jpeg', 'webp', 'avif'] as const;

describe('a container', () => {
  for (const format of FORMATS) {
    it(`is known as ${format} by its own bytes, wherever they lie in memory`, async () => {
      const bytes = await picture(format);
      const shifted = Uint8Array.from([0, 0, 0, ...bytes]).subarray(3);
      for (const view of [bytes, shifted]) {
        assert.deepEqual(readContainer(view), { format, bytes: view });
      }
    });
  }

  for (const format of ['png', 'webp', 'avif'] as const) {
    it(`ends where the ${format} ends`, async () => {
      const bytes = await picture(format);
      for (const more of ['\0', 'PK\x03\x04', '<html></html>', 'x'.repeat(1000)]) {
        const container = readContainer(Buffer.concat([bytes, Buffer.from(more, 'latin1')]));
        assert.deepEqual(container, { format, bytes });
      }
    });
  }

  it('is nothing when it is of no known format', () => {
    for (const { name, bytes } of foreignFiles()) {
      assert.deepEqual(readContainer(bytes), { fault: 'unknown' }, name);
    }
  });

  it('is broken when it is cut short, before any decoder is asked', async () => {
    for (const { name, bytes } of await truncated()) {
      if (name === 'PNG without pixels') continue;
      assert.deepEqual(readContainer(bytes), { fault: 'broken' }, name);
    }
  });

  it('is broken when a chunk of a WebP reaches past its end', async () => {
    const webp = Buffer.from(await picture('webp'));
    webp.writeUInt32LE(webp.readUInt32LE(16) + 2, 16);
    assert.deepEqual(readContainer(webp), { fault: 'broken' });
  });

  it('is refused when it holds an animation', async () => {
    for (const { name, bytes } of await animations()) {
      assert.deepEqual(readContainer(bytes), { fault: 'animated' }, name);
    }
  });

  it('may hold compressed text of ordinary length, well-formed', async () => {
    const png = await picture('png');
    const text = (data: Uint8Array) =>
      pngChunk('zTXt', Buffer.concat([Buffer.from('Comment\0\0', 'latin1'), data]));
    const ordinary = withPngChunks(png, [text(deflateSync(Buffer.alloc(1_000_000, 'a')))]);
    assert.deepEqual(readContainer(ordinary), { format: 'png', bytes: ordinary });
    assert.deepEqual(readContainer(withPngChunks(png, [text(Buffer.from('no zlib'))])), { fault: 'broken' });
  });

  it('of any bytes after a known beginning is read without an error', () => {
    const beginnings = [
      '\x89PNG\r\n\x1a\n',
      '\xff\xd8\xff',
      'RIFF\x40\0\0\0WEBP',
      '\0\0\0\x10ftypavif\0\0\0\0',
    ];
    const beginning = fc.constantFrom(...beginnings).map((text) => Buffer.from(text, 'latin1'));
    fc.assert(
      fc.property(beginning, fc.uint8Array({ maxLength: 200 }), (head, tail) => {
        const bytes = Buffer.concat([head, tail]);
        const container = readContainer(bytes);
        assert.ok('fault' in container || container.bytes.length <= bytes.length);
      }),
      runs(2_000),
    );
  });
});

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import sharp from 'sharp';
import type { ImageFormat } from '../../src/core/image.js';
import { readContainer } from '../../src/pipeline/container.js';
import { putTogether, takeApart } from '../support/container-parts.js';
import {
  animations,
  foreignFiles,
  refusedPictures,
  textBombs,
  truncated,
} from '../support/hostile-pictures.js';
import { drawing, picture, pngChunk, restartedJpeg, withPngChunks } from '../support/pictures.js';
import { runs } from '../support/runs.js';
import type { Steps } from './container-steps.js';

const FORMATS = ['png', 'jpeg', 'webp', 'avif'] as const;

function assertWhole(container: ReturnType<typeof readContainer>, format: ImageFormat, bytes: Uint8Array) {
  assert.ok(!('fault' in container), 'it was refused');
  assert.deepEqual([container.format, Buffer.from(container.bytes)], [format, Buffer.from(bytes)]);
}

describe('a container', () => {
  for (const format of FORMATS) {
    it(`is known as ${format} by its own bytes, wherever they lie in memory`, async () => {
      const bytes = await picture(format);
      const shifted = Uint8Array.from([0, 0, 0, ...bytes]).subarray(3);
      for (const view of [bytes, shifted]) {
        assertWhole(readContainer(view), format, view);
      }
    });
  }

  for (const format of FORMATS) {
    it(`ends where the ${format} ends`, async () => {
      const bytes = await picture(format);
      for (const more of ['\0', 'PK\x03\x04', '<html></html>', 'x'.repeat(1000)]) {
        assertWhole(readContainer(Buffer.concat([bytes, Buffer.from(more, 'latin1')])), format, bytes);
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

  it('is broken when a checksum of a PNG is wrong, in pixels or anywhere else', async () => {
    const png = withPngChunks(await picture('png'), [pngChunk('tEXt', Buffer.from('Comment\0hello'))]);
    for (const type of ['IHDR', 'tEXt', 'IDAT', 'IEND']) {
      const damaged = Buffer.from(png);
      const at = damaged.indexOf(type) + 3;
      damaged[at] = (damaged[at] ?? 0) ^ 0x20;
      assert.deepEqual(readContainer(damaged), { fault: 'broken' }, type);
    }
  });

  it('of a JPEG ends behind its last scan, not with the thumbnail in its EXIF', async () => {
    const thumbnail = await picture('jpeg', { width: 8, height: 8 });
    const body = Buffer.concat([Buffer.from('Exif\0\0'), thumbnail]);
    for (const progressive of [false, true]) {
      const jpeg = await drawing({ width: 64, height: 64 }).jpeg({ progressive }).toBuffer();
      const bytes = putTogether('jpeg', [{ type: '\xe1', body }, ...takeApart('jpeg', jpeg)]);
      assertWhole(readContainer(Buffer.concat([bytes, thumbnail])), 'jpeg', bytes);
    }
  });

  it('of a JPEG with restarts is whole', async () => {
    const bytes = restartedJpeg(20);
    const { width, height } = await sharp(bytes, { failOn: 'warning' }).metadata();
    assert.deepEqual({ width, height }, { width: 8, height: 160 });
    assertWhole(readContainer(bytes), 'jpeg', bytes);
  });

  it('of eight times as many parts takes eight times the work, whatever is in it', () => {
    const program = fileURLToPath(new URL('container-steps.ts', import.meta.url));
    // Compilers leave blocks out of the count.
    const args = ['--no-opt', '--no-maglev', '--import', 'tsx', program, '1000', '8000'];
    const env = { ...process.env, NODE_V8_COVERAGE: undefined };
    const done: Steps = JSON.parse(execFileSync(process.execPath, args, { env, encoding: 'utf8' }));
    for (const [name, [few, many]] of Object.entries(done)) {
      for (const what of ['blocks', 'bytes'] as const) {
        const said = `${name}: ${many[what]} ${what} where there were ${few[what]}`;
        assert.ok(many[what] < 9 * few[what], said);
      }
      assert.ok(many.blocks > 7 * few.blocks, `${name}: ${many.blocks} blocks are not all of it`);
    }
  });

  it('is broken when a WebP claims another canvas than its picture has', async () => {
    const liar = (await refusedPictures()).find(({ name }) => name.startsWith('WebP that claims a canvas'));
    assert.ok(liar, 'the fixture is gone');
    assert.deepEqual(readContainer(liar.bytes), { fault: 'broken' });
  });

  it('is broken when a WebP says that its picture has no width or no height', async () => {
    const webp = await sharp(await picture('png'))
      .webp()
      .toBuffer();
    const frame = webp.indexOf('\x9d\x01\x2a', 'latin1');
    assert.ok(frame > 0, 'a lossy picture');
    for (const side of [frame + 3, frame + 5]) {
      const flat = Buffer.from(webp);
      flat.writeUInt16LE(0, side);
      assert.deepEqual(readContainer(flat), { fault: 'broken' });
    }
  });

  it('is refused when it holds an animation', async () => {
    for (const { name, bytes } of await animations()) {
      assert.deepEqual(readContainer(bytes), { fault: 'animated' }, name);
    }
  });

  it('of a PNG loses its compressed text, which no decoder needs and every one inflates', async () => {
    const png = await picture('png');
    const plain = pngChunk('iTXt', Buffer.from('Comment\0\0\0\0\0hello'));
    const hidden = pngChunk('zTXt', Buffer.from('Comment\0\0hello'));
    assertWhole(
      readContainer(withPngChunks(png, [hidden, plain, hidden])),
      'png',
      withPngChunks(png, [plain]),
    );
    for (const { name, bytes } of await textBombs()) {
      const container = readContainer(bytes);
      assert.ok(!('fault' in container), name);
      assert.deepEqual(Buffer.from(container.bytes), png, name);
    }
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

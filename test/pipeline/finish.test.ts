import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { describe, it } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import fc from 'fast-check';
import sharp from 'sharp';
import type { ImageFormat, Size } from '../../src/core/image.js';
import type { FinishedPicture } from '../../src/core/picture.js';
import { isImagesError } from '../../src/errors.js';
import { imageJobs } from '../../src/pipeline/gate.js';
import { putTogether, takeApart } from '../support/container-parts.js';
import { orderOf as order, testFinisher } from '../support/orders.js';
import { drawing, noise, picture } from '../support/pictures.js';
import { runs } from '../support/runs.js';

const finish = testFinisher();
const encodeAlways = testFinisher({ reencode: 'always' });
const WORTH_GIVING_BACK = 128 * 1024;
const FORMATS = ['png', 'jpeg', 'webp', 'avif'] as const satisfies readonly ImageFormat[];

async function pixels(bytes: Uint8Array): Promise<Buffer> {
  return sharp(bytes).removeAlpha().raw().toBuffer();
}

async function pixelAt(bytes: Uint8Array, left: number, top: number): Promise<readonly number[]> {
  return [...(await sharp(bytes).extract({ left, top, width: 1, height: 1 }).raw().toBuffer())];
}

async function assertIs(finished: FinishedPicture, format: ImageFormat, size: Size): Promise<void> {
  const header = await sharp(finished.bytes).metadata();
  assert.equal(header.format, format === 'avif' ? 'heif' : format);
  assert.deepEqual({ width: header.width, height: header.height }, size);
  assert.deepEqual(finished.size, size);
  assert.equal(finished.contentType, `image/${format}`);
}

/** A PNG whose container is whole and whose pixels are not. */
async function damagedPixels(): Promise<Buffer> {
  const parts = takeApart('png', await picture('png'));
  const damaged = parts.map(({ type, body }) => {
    return type === 'IDAT' ? { type, body: Buffer.from(body).fill(0, body.length >> 1) } : { type, body };
  });
  return putTogether('png', damaged);
}

function differsAtMost5Percent(drawn: Size, asked: Size): boolean {
  const ratios = [drawn.width / drawn.height, asked.width / asked.height];
  return Math.max(...ratios) / Math.min(...ratios) < 1.05 + 1e-9;
}

function isMismatch(error: unknown): boolean {
  return isImagesError(error) && error.code === 'UPSTREAM_SHAPE_MISMATCH';
}

describe('a finished picture', () => {
  for (const from of FORMATS) {
    for (const to of FORMATS) {
      it(`is ${to} when ${to} was ordered and ${from} came`, async () => {
        const size = { width: 64, height: 48 };
        await assertIs(await finish(order(await picture(from, size), { size, format: to })), to, size);
      });
    }
  }

  for (const to of FORMATS) {
    it(`that was encoded as ${to} lies in memory that can be given back`, async () => {
      const { bytes, release } = await encodeAlways(
        order(await noise(512), { format: to, compression: 100 }),
      );
      assert.ok(bytes.byteLength > WORTH_GIVING_BACK, 'it is large enough to be given back');
      release?.();
      assert.equal(bytes.byteLength, 0);
    });
  }

  it('keeps format and size when none were ordered', async () => {
    const size = { width: 33, height: 21 };
    await assertIs(await finish(order(await picture('webp', size))), 'webp', size);
  });

  it('keeps every pixel of a PNG', async () => {
    const bytes = await picture('png');
    const finished = await finish(order(bytes));
    assert.deepEqual(await pixels(finished.bytes), await pixels(bytes));
  });

  it('is smaller with a smaller output_compression, down to 0, except as PNG', async () => {
    const bytes = await picture('png', { width: 256, height: 256 });
    for (const format of ['jpeg', 'webp', 'avif'] as const) {
      const [worst, best] = await Promise.all(
        [0, 100].map((compression) => finish(order(bytes, { format, compression }))),
      );
      assert.ok(worst && best && worst.bytes.length < best.bytes.length, format);
    }
    const [one, other] = await Promise.all(
      [0, 100].map((compression) => finish(order(bytes, { compression }))),
    );
    assert.deepEqual(one?.bytes, other?.bytes);
  });

  it('is white as JPEG where it was transparent, and stays transparent in the other formats', async () => {
    const clear = { width: 16, height: 16, channels: 4, background: { r: 0, g: 0, b: 0, alpha: 0 } } as const;
    const bytes = await sharp({ create: clear }).png().toBuffer();
    for (const format of ['png', 'webp', 'avif'] as const) {
      const finished = await finish(order(bytes, { format }));
      assert.equal((await pixelAt(finished.bytes, 8, 8))[3], 0, format);
    }
    const jpeg = await finish(order(bytes, { format: 'jpeg' }));
    assert.deepEqual(await pixelAt(jpeg.bytes, 8, 8), [255, 255, 255]);
  });
});

describe('the size that was ordered', () => {
  it('is met exactly for every picture whose aspect ratio is at most 5 % off, and for no other', async () => {
    const edge = fc.integer({ min: 8, max: 64 });
    const factor = fc.double({ min: 0.5, max: 2, noNaN: true });
    const stretch = fc.double({ min: 0.9, max: 1.1, noNaN: true });
    await fc.assert(
      fc.asyncProperty(edge, edge, factor, stretch, async (width, height, scale, stretched) => {
        const asked = { width, height };
        const drawn = { width: Math.round(width * scale * stretched), height: Math.round(height * scale) };
        const isNear = differsAtMost5Percent(drawn, asked);
        const finished = finish(order(await picture('png', drawn), { size: asked }));
        if (!isNear) return assert.rejects(finished, isMismatch);
        await assertIs(await finished, 'png', asked);
      }),
      runs(60),
    );
  });

  it('is met when the aspect ratio is exactly 5 % off, and not just beyond', async () => {
    const asked = { width: 200, height: 200 };
    for (const drawn of [
      { width: 210, height: 200 },
      { width: 200, height: 210 },
    ]) {
      await assertIs(await finish(order(await picture('png', drawn), { size: asked })), 'png', asked);
    }
    for (const drawn of [
      { width: 211, height: 200 },
      { width: 200, height: 211 },
    ]) {
      await assert.rejects(finish(order(await picture('png', drawn), { size: asked })), isMismatch);
    }
  });

  it('is cut from the middle', async () => {
    const bands = drawing({ width: 104, height: 100 });
    const left = await sharp({ create: { width: 2, height: 100, channels: 3, background: 'red' } })
      .png()
      .toBuffer();
    const bytes = await bands
      .composite([
        { input: left, left: 0, top: 0 },
        { input: left, left: 102, top: 0 },
      ])
      .png()
      .toBuffer();
    const finished = await finish(order(bytes, { size: { width: 100, height: 100 } }));
    for (const column of [0, 99]) {
      assert.notDeepEqual((await pixelAt(finished.bytes, column, 50)).slice(0, 3), [255, 0, 0]);
    }
  });

  it('may be a quarter of what was drawn', async () => {
    const size = { width: 256, height: 256 };
    const bytes = await picture('png', { width: 1024, height: 1024 });
    await assertIs(await finish(order(bytes, { size })), 'png', size);
  });

  it('names both sizes when the shape is another', async () => {
    const bytes = await picture('png', { width: 64, height: 32 });
    await assert.rejects(finish(order(bytes, { size: { width: 64, height: 64 } })), {
      code: 'UPSTREAM_SHAPE_MISMATCH',
      message: 'The provider drew 64x32 pixels where 64x64 were asked for.',
    });
  });

  it('bounds what is decoded: far more pixels are refused, also of the same shape', async () => {
    const flat = { width: 3000, height: 3000, channels: 3, background: 'red' } as const;
    const bytes = await sharp({ create: flat }).png().toBuffer();
    await assert.rejects(finish(order(bytes, { size: { width: 64, height: 64 } })), {
      code: 'UPSTREAM_SHAPE_MISMATCH',
      message: 'The provider answered with a picture that has far more pixels than were asked for.',
    });
    await assertIs(await finish(order(bytes)), 'png', { width: 3000, height: 3000 });
  });

  it('never raises the ceiling', async () => {
    const small = testFinisher({ maxPixels: 64 * 64 });
    const bytes = await picture('png', { width: 65, height: 64 });
    await assert.rejects(small(order(bytes)), isMismatch);
    await assert.rejects(small(order(bytes, { size: { width: 65, height: 64 } })), isMismatch);
  });
});

describe('a picture of another kind', () => {
  it('is turned the right way up before it is measured', async () => {
    const lying = await drawing({ width: 60, height: 40 }).jpeg().withMetadata({ orientation: 6 }).toBuffer();
    const finished = await finish(order(lying, { size: { width: 40, height: 60 }, format: 'png' }));
    const upright = await sharp(lying).autoOrient().raw().toBuffer();
    assert.deepEqual(await pixels(finished.bytes), upright);
    assert.equal((await sharp(finished.bytes).metadata()).orientation, undefined);
  });

  it('becomes ordinary sRGB with eight bits when it is encoded', async () => {
    const kinds = {
      '16 bits': drawing({ width: 32, height: 32 }).toColourspace('rgb16').png(),
      palette: drawing({ width: 32, height: 32 }).png({ palette: true }),
      interlaced: drawing({ width: 32, height: 32 }).png({ progressive: true }),
      grey: drawing({ width: 32, height: 32 }).toColourspace('b-w').png(),
      CMYK: drawing({ width: 32, height: 32 }).toColourspace('cmyk').jpeg(),
      progressive: drawing({ width: 32, height: 32 }).jpeg({ progressive: true }),
    };
    for (const [kind, source] of Object.entries(kinds)) {
      const finished = await encodeAlways(order(await source.toBuffer(), { format: 'png' }));
      const header = await sharp(finished.bytes).metadata();
      assert.deepEqual([header.space, header.depth, header.isPalette], ['srgb', 'uchar', false], kind);
    }
  });

  it('shows the same colours without its colour profile', async () => {
    const green = sharp({ create: { width: 16, height: 16, channels: 3, background: '#4a7' } });
    const bytes = await green.withIccProfile('p3').png().toBuffer();
    const stored = await sharp(bytes, { ignoreIcc: true }).raw().toBuffer();
    assert.notDeepEqual([...stored.subarray(0, 3)], [0x44, 0xaa, 0x77]);
    const finished = await finish(order(bytes));
    const shown = await pixelAt(finished.bytes, 8, 8);
    [0x44, 0xaa, 0x77].forEach((colour, channel) => {
      assert.ok(Math.abs(colour - (shown[channel] ?? 0)) <= 2, `${shown}`);
    });
    assert.equal((await sharp(finished.bytes).metadata()).icc, undefined);
  });
});

describe('a failure', () => {
  it('of ours is not blamed on the provider', async () => {
    // WebP has at most 16383 pixels a side.
    const wide = { width: 20_000, height: 4, channels: 3, background: 'red' } as const;
    const bytes = await sharp({ create: wide }).png().toBuffer();
    await assert.rejects(finish(order(bytes, { format: 'webp' })), (error) => {
      return error instanceof Error && !isImagesError(error);
    });
  });

  it('says what was wrong in our words and keeps the decoder’s for events', async () => {
    await assert.rejects(finish(order(await damagedPixels())), (error) => {
      assert.ok(isImagesError(error) && error.cause instanceof Error);
      assert.equal(error.message, 'The provider answered with a picture that is damaged or cut short.');
      return true;
    });
  });
});

describe('an aborted order', () => {
  const reason = { why: 'the client left' };

  it('is not begun', async () => {
    const signal = AbortSignal.abort(reason);
    for (const bytes of [await picture('png'), Buffer.from('no picture')]) {
      await assert.rejects(finish(order(bytes, { signal })), (error) => error === reason);
    }
  });

  it('stops waiting for a worker', async () => {
    const held = new EventEmitter();
    const job = async () => void (await once(held, 'end'));
    const jobs = Array.from({ length: imageJobs.limit }, () => imageJobs.run(job));
    const control = new AbortController();
    const waiting = finish(order(await picture('png'), { signal: control.signal }));
    await setImmediate();
    control.abort(reason);
    await assert.rejects(waiting, (error) => error === reason);
    held.emit('end');
    await Promise.all(jobs);
  });

  it('passes on the reason, not a fault of the picture, when aborted while it is looked at', async () => {
    for (const format of [undefined, 'webp'] as const) {
      const control = new AbortController();
      const finishing = finish(order(await damagedPixels(), { format, signal: control.signal }));
      control.abort(reason);
      await assert.rejects(finishing, (error) => error === reason);
    }
  });
});

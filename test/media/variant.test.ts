import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { Transform } from '../../src/core/variant.js';
import { pictureKey } from '../../src/media/picture-id.js';
import { type Original, planVariant, type VariantRequest, variantSize } from '../../src/media/variant.js';
import { runs } from '../support/runs.js';

const FORMATS = ['png', 'jpeg', 'webp', 'avif'] as const;
const ID = `img_20260303_${'a'.repeat(32)}_${'b'.repeat(32)}`;

const side = fc.integer({ min: 1, max: 16_383 });
const box = fc.option(side, { nil: undefined });

const transforms: fc.Arbitrary<Transform> = fc.record({
  width: box,
  height: box,
  fit: fc.constantFrom('inside' as const, 'cover' as const),
  format: fc.constantFrom(...FORMATS, 'auto' as const, undefined),
  quality: fc.option(fc.integer({ min: 1, max: 100 }), { nil: undefined }),
});

const requests: fc.Arbitrary<VariantRequest> = fc.record({
  transform: transforms,
  accept: fc.option(fc.constantFrom('image/avif,image/webp', 'image/webp', '*/*'), { nil: undefined }),
  original: fc.record({
    sha256: fc.constantFrom('1'.repeat(64), '2'.repeat(64)),
    contentType: fc.constantFrom(...FORMATS.map((format) => `image/${format}` as const)),
    size: fc.record({ width: side, height: side }),
  }),
  formats: fc.subarray([...FORMATS]),
  encoderId: fc.constant((format) => `${format}1234`.slice(0, 8)),
});

describe('the size of a version', () => {
  it('is never larger than the original or the box, and at least a pixel', () => {
    fc.assert(
      fc.property(side, side, transforms, (width, height, transform) => {
        const size = variantSize({ width, height }, transform);
        assert.ok(size.width >= 1 && size.width <= width, `${size.width} of ${width}`);
        assert.ok(size.height >= 1 && size.height <= height, `${size.height} of ${height}`);
        assert.ok(size.width <= (transform.width ?? width), 'inside the width asked for');
        assert.ok(size.height <= (transform.height ?? height), 'inside the height asked for');
      }),
      runs(1_000),
    );
  });

  it('keeps the shape of the original inside a box, and has that of the box when it covers it', () => {
    fc.assert(
      fc.property(side, side, transforms, (width, height, transform) => {
        const size = variantSize({ width, height }, transform);
        const covers =
          transform.fit === 'cover' && transform.width !== undefined && transform.height !== undefined;
        const shape = covers
          ? { width: transform.width ?? 1, height: transform.height ?? 1 }
          : { width, height };
        // The scales that round to each side; a side is never less than a pixel, however small the scale.
        const scales = (to: number, from: number) =>
          [to === 1 ? 0 : (to - 0.5) / from, (to + 0.5) / from] as const;
        const [leastAcross, mostAcross] = scales(size.width, shape.width);
        const [leastDown, mostDown] = scales(size.height, shape.height);
        assert.ok(leastAcross <= mostDown && leastDown <= mostAcross, `${size.width}x${size.height}`);
      }),
      runs(1_000),
    );
  });

  it('is exactly what was asked for where the original is large enough', () => {
    fc.assert(
      fc.property(side, side, side, (width, height, asked) => {
        const wanted = Math.min(asked, width);
        const of = {
          width: wanted,
          height: undefined,
          fit: 'inside',
          format: undefined,
          quality: undefined,
        } as const;
        assert.equal(variantSize({ width, height }, of).width, wanted);
      }),
      runs(1_000),
    );
  });
});

describe('a version', () => {
  it('has a name that may stand in a key, and a tag that is no other version’s', () => {
    const seen = new Map<string, string>();
    fc.assert(
      fc.property(requests, (request) => {
        const variant = planVariant(request);
        if (variant === undefined) return;
        assert.ok(pictureKey(ID, variant.name).endsWith(variant.name), variant.name);
        assert.match(variant.tag, /^[0-9a-f]{64}$/);
        const what = `${request.original.sha256} ${variant.name}`;
        assert.equal(seen.get(variant.tag) ?? what, what);
        seen.set(variant.tag, what);
      }),
      runs(1_000),
    );
  });

  it('is the original where nothing would change', () => {
    fc.assert(
      fc.property(requests, (request) => {
        const { size, contentType } = request.original;
        const variant = planVariant(request);
        if (variant === undefined) return;
        const changes =
          variant.size.width !== size.width ||
          variant.size.height !== size.height ||
          variant.contentType !== contentType ||
          variant.quality !== undefined;
        assert.ok(changes, variant.name);
      }),
      runs(1_000),
    );
  });

  it('is another one once the encoder is', () => {
    const original: Original = {
      sha256: '1'.repeat(64),
      contentType: 'image/png',
      size: { width: 9, height: 9 },
    };
    const transform: Transform = { width: 5, height: undefined, fit: 'inside', format: 'webp', quality: 75 };
    const of = (id: string) =>
      planVariant({ transform, accept: undefined, original, formats: FORMATS, encoderId: () => id });
    const [one, other] = [of('aaaaaaaa'), of('bbbbbbbb')];
    assert.equal(one?.name, '5x5-webp-q75-aaaaaaaa');
    assert.notEqual(one?.name, other?.name);
    assert.notEqual(one?.tag, other?.tag);
  });
});

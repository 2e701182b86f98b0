import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  createPictureId,
  mediaFile,
  parseMediaFile,
  parsePictureId,
  pictureKey,
  picturePrefix,
  tenantPrefix,
  tenantTag,
} from '../../src/media/picture-id.js';
import { runs } from '../support/runs.js';

const NEW_YEAR = Date.UTC(2026, 0, 1);
const tag = tenantTag('acme');
const id = createPictureId('acme', NEW_YEAR);
const random = id.slice(-32);

describe('a picture id', () => {
  it('says the UTC day and the tenant, and is never made twice', () => {
    assert.match(id, new RegExp(`^img_20260101_${tag}_[0-9a-f]{32}$`));
    assert.match(createPictureId('acme', NEW_YEAR - 1), /^img_20251231_/);
    assert.notEqual(createPictureId('acme', NEW_YEAR), id);
  });

  it('comes apart again, whoever and whenever', () => {
    const instant = fc.integer({ min: 0, max: Date.UTC(9999, 11, 31) });
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), instant, (tenant, now) => {
        const made = createPictureId(tenant, now);
        const day = new Date(now).toISOString().slice(0, 10).replaceAll('-', '');
        assert.deepEqual(parsePictureId(made), { id: made, day, tag: tenantTag(tenant) });
      }),
      runs(200),
    );
  });

  it('is nothing in any other spelling', () => {
    const wrong = {
      empty: '',
      'upper case': id.toUpperCase(),
      'upper-case digits': id.replace(random, 'A'.repeat(32)),
      shorter: id.slice(0, -1),
      longer: `${id}0`,
      'a line feed after it': `${id.slice(0, -1)}\n`,
      'a line feed more': `${id}\n`,
      'a path': `../${id.slice(3)}`,
      'a NUL': `${id.slice(0, -1)}\0`,
      'no leap year': id.replace('20260101', '20260229'),
      'day 0': id.replace('20260101', '20260100'),
      'month 13': id.replace('20260101', '20261301'),
      'April 31': id.replace('20260101', '20260431'),
      'digits of another script': id.replace('20260101', '２０２６０１０１'),
    };
    for (const [what, text] of Object.entries(wrong)) assert.equal(parsePictureId(text), undefined, what);
    assert.ok(parsePictureId(id.replace('20260101', '20240229')), 'a leap day');
  });
});

describe('a storage key', () => {
  it('nests tenant, day and picture', () => {
    assert.equal(pictureKey(id), `${tag}/2026/01/01/${id}/original`);
    assert.equal(pictureKey(id, 'w640_webp'), `${tag}/2026/01/01/${id}/w640_webp`);
    assert.ok(pictureKey(id).startsWith(picturePrefix(id)));
    assert.ok(pictureKey(id).startsWith(tenantPrefix('acme')));
  });

  it('is never made of anything else', () => {
    for (const other of ['', '../../etc/passwd', `${id}/..`])
      assert.throws(() => pictureKey(other), TypeError);
    for (const variant of ['', '.', '..', 'a/b', 'A', 'a b', '_a', 'a\n', 'x'.repeat(65)]) {
      assert.throws(() => pictureKey(id, variant), TypeError, variant);
    }
  });
});

describe('a media file', () => {
  it('is the id and the extension of its type', () => {
    const types = {
      'image/png': 'png',
      'image/jpeg': 'jpg',
      'image/webp': 'webp',
      'image/avif': 'avif',
    } as const;
    for (const [contentType, extension] of Object.entries(types)) {
      const file = mediaFile(id, contentType as keyof typeof types);
      assert.equal(file, `${id}.${extension}`);
      assert.deepEqual(parseMediaFile(file), { id, contentType });
    }
  });

  it('has no other spelling', () => {
    const others = [
      '',
      id,
      `${id}.`,
      `${id}.jpeg`,
      `${id}.PNG`,
      `${id}.png.html`,
      `${id}png`,
      `${id}_png`,
      `x${id}.png`,
    ];
    for (const file of [...others, `${id}.constructor`, `${id}.png\0`]) {
      assert.equal(parseMediaFile(file), undefined, file);
    }
  });

  it('of any text is either refused or that text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 120 }), (text) => {
        assert.equal(parseMediaFile(text), undefined);
      }),
      runs(200),
    );
  });
});

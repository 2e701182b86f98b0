import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { ConfigError } from '../../src/errors.js';
import { createLinkSigner, type LinkVerdict, linkExpiry } from '../../src/media/link.js';
import { createPictureId, mediaFile } from '../../src/media/picture-id.js';
import { runs } from '../support/runs.js';

const [old, current, foreign] = ['old', 'current', 'foreign'].map((name) => name.padEnd(32, '-')) as [
  string,
  string,
  string,
];
const EXPIRY = Date.UTC(2026, 5, 1);
const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
const file = mediaFile(createPictureId('acme', EXPIRY), 'image/png');
const signer = createLinkSigner({ secrets: [current, old] });
const token = signer.sign(file, EXPIRY);

function verdict(changed: string, nowMs = EXPIRY - 1, of = file): LinkVerdict {
  return signer.verify({ file: of, token: changed, nowMs });
}

describe('a link', () => {
  it('is valid until just before it expires, and expired from then on', () => {
    assert.deepEqual(verdict(token), { state: 'valid', expiresAtMs: EXPIRY });
    assert.deepEqual(verdict(token, EXPIRY), { state: 'expired', expiresAtMs: EXPIRY });
    assert.deepEqual(verdict(token, EXPIRY + 1e12), { state: 'expired', expiresAtMs: EXPIRY });
  });

  it('is the same for the same file and expiry', () => {
    assert.equal(signer.sign(file, EXPIRY), token);
  });

  it('opens no other file', () => {
    const others = [
      mediaFile(createPictureId('acme', EXPIRY), 'image/png'),
      file.replace('.png', '.webp'),
      '',
    ];
    for (const other of others) assert.deepEqual(verdict(token, EXPIRY - 1, other), { state: 'invalid' });
  });

  it('cannot be changed in a single character', () => {
    for (let at = 0; at < token.length; at += 1) {
      for (const character of `${ALPHABET}+/=. \0é`) {
        if (character === token[at]) continue;
        const changed = token.slice(0, at) + character + token.slice(at + 1);
        assert.deepEqual(verdict(changed), { state: 'invalid' }, `${character} at ${at}`);
      }
    }
  });

  it('has no second spelling of the same bytes', () => {
    const bytes = Buffer.from(token, 'base64url');
    const same = [...ALPHABET].map((last) => token.slice(0, -1) + last);
    const spellings = same.filter((text) => Buffer.from(text, 'base64url').equals(bytes));
    assert.equal(spellings.length, 4);
    assert.deepEqual(
      spellings.filter((text) => verdict(text).state === 'valid'),
      [token],
    );
  });

  it('does not say of a forged token that it expired', () => {
    const forged = createLinkSigner({ secrets: [foreign] }).sign(file, EXPIRY);
    assert.deepEqual(verdict(forged, EXPIRY + 1), { state: 'invalid' });
    const later = signer.sign(file, EXPIRY + 60_000);
    const mixed = later.slice(0, 16) + token.slice(16);
    assert.deepEqual(verdict(mixed, EXPIRY + 120_000), { state: 'invalid' });
  });

  it('refuses anything else, of any length', () => {
    const cut = Array.from(token, (_, length) => token.slice(0, length));
    for (const text of [...cut, `${token}A`, ` ${token.slice(1)}`, 'A'.repeat(1e6), `${token}\n`]) {
      assert.deepEqual(verdict(text), { state: 'invalid' });
    }
    fc.assert(
      fc.property(fc.string({ unit: 'binary', minLength: 59, maxLength: 59 }), (text) => {
        assert.deepEqual(verdict(text), { state: 'invalid' });
      }),
      runs(200),
    );
  });
});

describe('secrets', () => {
  it('rotate without a refused link', () => {
    const before = createLinkSigner({ secrets: [old] });
    const link = { file, token: before.sign(file, EXPIRY), nowMs: EXPIRY - 1 };
    assert.equal(signer.verify(link).state, 'valid');
    assert.equal(before.verify({ ...link, token }).state, 'invalid');
    assert.equal(createLinkSigner({ secrets: [current] }).verify(link).state, 'invalid');
  });

  it('sign with the first', () => {
    assert.equal(createLinkSigner({ secrets: [current] }).sign(file, EXPIRY), token);
  });

  it('have at least 32 bytes and are at least one', () => {
    const path = (secrets: readonly string[], where: string) =>
      assert.throws(
        () => createLinkSigner({ secrets }),
        (error) => error instanceof ConfigError && error.path === where && !error.message.includes('short-'),
      );
    path([], 'media.secrets');
    path([current, `short-${'x'.repeat(25)}`], 'media.secrets[1]');
    assert.ok(createLinkSigner({ secrets: ['é'.repeat(16)] }));
  });
});

describe('the expiry of a link', () => {
  it('is the same for a whole minute, never sooner than asked and less than a minute later', () => {
    const instant = fc.integer({ min: 0, max: 4e12 });
    fc.assert(
      fc.property(instant, fc.integer({ min: 1, max: 86_400 }), (nowMs, ttlSeconds) => {
        const expiry = linkExpiry({ nowMs, ttlSeconds, pictureExpiresAtMs: Number.MAX_SAFE_INTEGER });
        const exact = nowMs + ttlSeconds * 1000;
        assert.equal(expiry % 60_000, 0);
        assert.ok(expiry >= exact && expiry < exact + 60_000);
      }),
      runs(200),
    );
  });

  it('is the picture’s own when that comes first', () => {
    const life = { nowMs: EXPIRY, ttlSeconds: 3600 };
    assert.equal(linkExpiry({ ...life, pictureExpiresAtMs: EXPIRY + 1234 }), EXPIRY + 1234);
    assert.equal(linkExpiry({ ...life, pictureExpiresAtMs: EXPIRY + 3_600_000 }), EXPIRY + 3_600_000);
  });
});

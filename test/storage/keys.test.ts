import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { checkKey, checkPrefix } from '../../src/storage/keys.js';

const soak = process.env.SOAK ? 100 : 1;

test('keys of the router are taken', () => {
  const tag = 'a'.repeat(32);
  for (const name of ['original', 'w400_h300-cover.webp', '1.2.3']) {
    checkKey(`${tag}/2026/11/22/img_20261122_${tag}_${tag}/${name}`);
  }
  checkKey('x'.repeat(200));
});

const refused = {
  empty: '',
  absolute: '/a',
  'ending in a slash': 'a/',
  'with an empty segment': 'a//b',
  'leading up': '../a',
  'leading up inside': 'a/../b',
  'with a dot segment': 'a/./b',
  hidden: 'a/.htaccess',
  'with NUL': 'a\0b',
  'with a backslash': 'a\\b',
  'with a line break': 'a\n',
  'with an escape': 'a%2fb',
  'in upper case': 'A',
  'not in ASCII': 'é',
  'of 201 bytes': 'x'.repeat(201),
} satisfies Record<string, string>;

for (const [what, key] of Object.entries(refused)) {
  test(`a key ${what} is refused`, () => {
    assert.throws(() => checkKey(key), TypeError);
  });
}

test('a key that is not a string is refused', () => {
  for (const key of [undefined, null, 1, ['a'], { toString: () => 'a' }]) {
    assert.throws(() => checkKey(key as never), TypeError);
  }
});

test('a prefix ends in a slash and is a key otherwise', () => {
  checkPrefix('a/b/');
  for (const prefix of ['', '/', 'a', 'a/b', '../', 'a//', '/a/']) {
    assert.throws(() => checkPrefix(prefix), TypeError, JSON.stringify(prefix));
  }
});

test('whatever is taken stays below the folder it is joined to', () => {
  const text = fc.string({ unit: fc.constantFrom('a', '.', '/', '-', '_', '\\', '\0', '%', '~', '@') });
  fc.assert(
    fc.property(text, (key) => {
      try {
        checkKey(key);
      } catch {
        return;
      }
      const url = new URL(key, 'file:///root/');
      assert.equal(url.href, `file:///root/${key}`);
    }),
    { numRuns: 1000 * soak },
  );
});

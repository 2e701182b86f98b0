import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { createPictureJson } from '../../src/providers/picture-json.js';
import { type Reading, readingOf, withoutBadStrings } from '../support/json-readings.js';
import { brokenJson, jsonTexts } from '../support/json-texts.js';
import { runs } from '../support/runs.js';

/** The bytes in chunks that end at these places, each its own memory. */
function* cut(bytes: Buffer, places: readonly number[]): Generator<Uint8Array> {
  const edges = places.map((place) => place % (bytes.length + 1)).sort((a, b) => a - b);
  let start = 0;
  for (const edge of [...edges, bytes.length]) {
    yield Uint8Array.from(bytes.subarray(start, edge));
    start = edge;
  }
}

/** What is read of a text, or that it is no JSON. */
function read(text: string | Buffer, places: readonly number[] = [], list?: string): Reading {
  const json = createPictureJson({ picture: 'b64_json', list });
  try {
    const elements = [...cut(Buffer.from(text), places)].flatMap((chunk) => json.write(chunk));
    return { elements, rest: json.end() };
  } catch (error) {
    assert.ok(error instanceof SyntaxError, String(error));
    return 'no JSON';
  }
}

const places = fc.array(fc.nat(), { maxLength: 12 });
/** Byte by byte: every escape, every character of several bytes and every name is cut. */
const everywhere = (text: string) => [...Buffer.from(text).keys()];

test('whatever JSON comes, however it is cut, is read as JSON.parse reads it', () => {
  const property = fc.property(jsonTexts, places, (text, at) => {
    const whole = readingOf(text);
    if (!text.includes('b64_json') && whole !== 'no JSON') assert.deepEqual(whole.rest, JSON.parse(text));
    for (const list of ['data', undefined]) {
      const expected = readingOf(text, list);
      for (const edges of [[], at, everywhere(text)]) assert.deepEqual(read(text, edges, list), expected);
    }
  });
  fc.assert(property, runs(300));
});

test('whatever is broken is no JSON, or what JSON.parse makes of it', () => {
  const property = fc.property(brokenJson, places, (bytes, at) => {
    const text = bytes.toString();
    for (const list of ['data', undefined]) {
      const actual = read(bytes, at, list);
      const expected = readingOf(text, list);
      // A control character or a wrong escape in base64 is an unreadable picture, whatever else it is.
      const isPicture = expected === 'no JSON' && actual !== 'no JSON';
      assert.deepEqual(actual, isPicture ? readingOf(withoutBadStrings(text), list) : expected);
    }
  });
  // White space, but not to JSON.
  const odd = ['\u00a0', '\ufeff', '\v', '\u2028'].map((space) => Buffer.from(`{"data":[${space}]}`));
  fc.assert(property, { ...runs(1_000), examples: odd.map((bytes) => [bytes, []]) });
});

test('escaped slashes are read, in base64 as well', () => {
  const bytes = Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
  const text = `{"data":[{"b64_json":"${bytes.toString('base64').replaceAll('/', '\\/')}"}]}`;
  for (let at = 0; at < text.length; at += 1) {
    assert.deepEqual(read(text, [at], 'data'), { elements: [{ b64_json: bytes }], rest: { data: [] } });
  }
});

test('base64 is read whichever of its characters are written as escapes, and however it is cut', () => {
  // Long ones are decoded before all of them is there.
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 100 }),
    fc.uint8Array({ minLength: 300, maxLength: 600 }),
  );
  const base64 = bytes.map((picture) => Buffer.from(picture).toString('base64'));
  const escaped = fc.tuple(base64, fc.array(fc.constantFrom('as it is', 'upper', 'lower'), { minLength: 9 }));
  const property = fc.property(escaped, places, ([text, ways], at) => {
    const written = [...text].map((character, place) => {
      const hex = character.charCodeAt(0).toString(16).padStart(4, '0');
      const way = ways[place % ways.length];
      return way === 'as it is' ? character : `\\u${way === 'upper' ? hex.toUpperCase() : hex}`;
    });
    const json = `{"data":[{"b64_json":"${written.join('')}"}]}`;
    for (const edges of [at, everywhere(json)])
      assert.deepEqual(read(json, edges, 'data'), readingOf(json, 'data'));
  });
  fc.assert(property, runs(300));
  for (const odd of ['QUJD\\\\u0041', 'QUJ\\u00e4', 'QUJD\\\\/', '\\u005cu0051UJD', 'QUJ\\n']) {
    const json = `{"data":[{"b64_json":"${odd}"}]}`;
    for (let at = 0; at < json.length; at += 1)
      assert.deepEqual(read(json, [at], 'data'), readingOf(json, 'data'));
  }
});

test('base64 of any length is decoded where it lies as Node does it, or found to be none', () => {
  const fault = fc.option(fc.tuple(fc.nat(), fc.constantFrom('', '=', '-', ' ', '\\/', '\\u0041', 'QQ==')));
  const expected = fc.constantFrom(undefined, 1, 100_000, 10_000_000);
  const length = fc.oneof(fc.nat({ max: 100 }), fc.nat({ max: 300_000 }));
  const property = fc.property(length, fault, expected, places, (byteLength, change, expectedBytes, at) => {
    let base64 = randomBytes(byteLength).toString('base64');
    if (change !== null) {
      const place = change[0] % (base64.length + 1);
      base64 = base64.slice(0, place) + change[1] + base64.slice(place + 1);
    }
    const text = `{"b64_json":"${base64}"}`;
    const json = createPictureJson({ picture: 'b64_json', expectedBytes });
    for (const chunk of cut(Buffer.from(text), at)) json.write(chunk);
    assert.deepEqual({ elements: [], rest: json.end() }, readingOf(text));
  });
  fc.assert(property, runs(50));
});

test('a list that comes again is left as it is, and no more is parsed for it than there is', (t) => {
  const text = `{"data":[1],${'"data":[],'.repeat(4_000)}"data":[{"b64_json":"QUJD"}],"usage":3}`;
  const { parse } = JSON;
  let parsed = 0;
  JSON.parse = (part, ...more) => {
    parsed += part.length;
    return parse(part, ...more);
  };
  t.after(() => {
    JSON.parse = parse;
  });
  assert.deepEqual(read(text, [], 'data'), {
    elements: [1],
    rest: { data: [{ b64_json: Buffer.from('ABC') }], usage: 3 },
  });
  assert.ok(parsed < 2 * text.length, `${parsed} characters of ${text.length}`);
});

test('a text with more pictures than any answer has is none, before they fill memory', () => {
  const many = (count: number) => `{"b64_json":[${Array(count).fill('"QUJD"').join()}]}`;
  assert.notEqual(read(many(100)), 'no JSON');
  assert.equal(read(many(101)), 'no JSON');
});

test('a list with more elements than any answer has is none, before they take time', (t) => {
  const many = (count: number) => `{"data":[${Array(count).fill('{}').join()}]}`;
  assert.notEqual(read(many(100), [], 'data'), 'no JSON');
  assert.equal(read(many(101), [], 'data'), 'no JSON');
  assert.notEqual(read(many(101)), 'no JSON');
  let parsed = 0;
  const { parse } = JSON;
  t.after(() => void Object.assign(JSON, { parse }));
  JSON.parse = (...args) => {
    parsed += 1;
    return parse(...args);
  };
  assert.equal(read(many(200_000), [], 'data'), 'no JSON');
  assert.ok(parsed < 200, `${parsed} texts were parsed`);
});

for (const [what, most, text] of [
  ['elements', 10_000, (count: number) => `[${Array(count).fill('1').join()}]`],
  ['members', 10_000, (count: number) => `{${Array(count).fill('"a":1').join()}}`],
  ['lists', 5_000, (count: number) => `[${Array(count).fill('[]').join()}]`],
  ['objects', 5_000, (count: number) => `[${Array(count).fill('{}').join()}]`],
  ['bytes', 8 * 2 ** 20, (count: number) => `"${'a'.repeat(count - 2)}"`],
] as const) {
  test(`a text with more ${what} beside its pictures than any answer has is none, before it is parsed`, (t) => {
    const fitting = text(most);
    assert.deepEqual(read(fitting), { elements: [], rest: JSON.parse(fitting) });
    const { parse } = JSON;
    t.after(() => void Object.assign(JSON, { parse }));
    JSON.parse = () => assert.fail('it was parsed');
    assert.equal(read(text(most + 1)), 'no JSON');
  });
}

test('pictures do not count as what is beside them', () => {
  const base64 = Buffer.alloc(9 * 2 ** 20).toString('base64');
  assert.notEqual(read(`{"b64_json":"${base64}"}`), 'no JSON');
});

test('an element is handed over with the byte that ends it', () => {
  const json = createPictureJson({ picture: 'b64_json', list: 'data' });
  assert.deepEqual(json.write(Buffer.from('{"data":[{"b64_json":"QUJD"}')), []);
  assert.deepEqual(json.write(Buffer.from(',')), [{ b64_json: Buffer.from('ABC') }]);
  assert.deepEqual(json.write(Buffer.from('7]')), [7]);
});

test('nothing is handed over from what was no JSON from its first byte on', () => {
  for (const before of ['\ufeff', 'x', '\0', '"data":']) {
    const json = createPictureJson({ picture: 'b64_json', list: 'data' });
    assert.throws(() => json.write(Buffer.from(`${before}{"data":[{"b64_json":"QUJD"}]}`)), SyntaxError);
  }
});

for (const [what, text] of [
  ['nothing but brackets', '['.repeat(1_000_000)],
  ['nothing but backslashes', `{"a":"${'\\\\'.repeat(4_000_000)}`],
  ['nothing but escaped quotes', `{"b64_json":"${'\\"'.repeat(4_000_000)}`],
] as const) {
  test(`a text of ${what} is no JSON, and soon found out`, () => {
    assert.equal(read(text), 'no JSON');
  });
}

test('base64 that goes on after its end is unreadable, wherever it is cut', () => {
  const text = `{"b64_json":"${'QUJD'.repeat(150)}QUI=QUJD"}`;
  for (let at = 0; at < text.length; at += 1) {
    assert.deepEqual(read(text, [at]), { elements: [], rest: { b64_json: null } });
  }
});

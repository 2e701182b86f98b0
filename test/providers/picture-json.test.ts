import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { createPictureJson } from '../../src/providers/picture-json.js';
import { runs } from '../support/runs.js';

/** The text in chunks that end at these places. */
function* cut(text: string, places: readonly number[]): Generator<Uint8Array> {
  const bytes = Buffer.from(text);
  const edges = places.map((place) => place % (bytes.length + 1)).sort((a, b) => a - b);
  let start = 0;
  for (const edge of [...edges, bytes.length]) {
    yield Uint8Array.from(bytes.subarray(start, edge));
    start = edge;
  }
}

interface Reading {
  readonly elements: readonly unknown[];
  readonly rest: unknown;
}

/** What is read of a text, or that it is no JSON. */
function read(text: string, places: readonly number[] = [], list?: string): Reading | 'no JSON' {
  const json = createPictureJson({ picture: 'b64_json', list });
  try {
    const elements = [...cut(text, places)].flatMap((chunk) => json.write(chunk));
    return { elements, rest: json.end() };
  } catch (error) {
    assert.ok(error instanceof SyntaxError, String(error));
    return 'no JSON';
  }
}

/** What `JSON.parse` makes of the same text, its pictures decoded as Node does. */
function parsed(text: string, list?: string): Reading | 'no JSON' {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return 'no JSON';
  }
  const decoded = decode(value, '');
  const isListed = isObject(decoded) && list !== undefined && Array.isArray(decoded[list]);
  if (!isListed) return { elements: [], rest: decoded };
  return { elements: decoded[list] as unknown[], rest: { ...decoded, [list]: [] } };
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !Buffer.isBuffer(value);
}

function decode(value: unknown, name: string): unknown {
  if (Array.isArray(value)) return value.map((item) => decode(item, name));
  if (typeof value === 'string' && name === 'b64_json') return bytesOf(value);
  if (!isObject(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, decode(item, key)]));
}

const BASE64 = /^(?:[\w+/]{4})*(?:[\w+/]{2}==|[\w+/]{3}=)?$/;

/** The bytes a text stands for, `null` where it is no base64. */
function bytesOf(text: string): Buffer | null {
  return text !== '' && BASE64.test(text) && !text.includes('_') ? Buffer.from(text, 'base64') : null;
}

const places = fc.array(fc.nat(), { maxLength: 12 });
const base64 = fc.uint8Array({ maxLength: 400 }).map((bytes) => Buffer.from(bytes).toString('base64'));
// Text that is next to base64, and that it is confused with.
const oddText = fc.oneof(
  fc.string({ unit: 'grapheme' }),
  fc.constantFrom('\\', '"', '\\"', 'QUJD\\', 'QUI=QUI=', '_-_-', '=', 'A'),
);
const picture = fc.oneof({ weight: 4, arbitrary: base64 }, oddText, fc.constant(null), fc.integer());
const name = fc
  .oneof(fc.constantFrom('b64_json', 'data', 'b64', 'url'), oddText)
  .filter((key) => key !== '__proto__');
const { value } = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 5, withCrossShrink: true },
    fc.oneof(oddText, fc.double({ noNaN: true, noDefaultInfinity: true }), fc.boolean(), fc.constant(null)),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(name, tie('value'), { maxKeys: 4, noNullPrototype: true }),
    fc.record({ b64_json: picture, revised_prompt: oddText }),
    fc.record({ b64_json: fc.array(picture, { maxLength: 3 }) }),
  ),
}));
const answer = fc.record({ created: fc.integer(), data: fc.array(value, { maxLength: 5 }), usage: value });
const spaces = fc.constantFrom(undefined, 1, '\t');

test('whatever JSON comes, however it is cut, is read as JSON.parse reads it', () => {
  const property = fc.property(fc.oneof(answer, value), spaces, places, (json, indent, at) => {
    const text = JSON.stringify(json, undefined, indent);
    assert.deepEqual(read(text, at, 'data'), parsed(text, 'data'));
    assert.deepEqual(read(text, at), parsed(text));
  });
  fc.assert(property, runs(300));
});

test('whatever is broken is no JSON, or what JSON.parse makes of it', () => {
  const change = fc.record({
    at: fc.nat(),
    remove: fc.integer({ min: 0, max: 3 }),
    put: fc.string({ maxLength: 3 }),
  });
  const property = fc.property(
    answer,
    fc.array(change, { minLength: 1, maxLength: 3 }),
    places,
    (json, changes, at) => {
      let text = JSON.stringify(json);
      for (const { at: place, remove, put } of changes) {
        const start = place % text.length;
        text = text.slice(0, start) + put + text.slice(start + remove) || ' ';
      }
      // Half a surrogate pair is none in bytes.
      text = Buffer.from(text).toString();
      const expected = parsed(text);
      const actual = read(text, at);
      // A control character in base64 is an unreadable picture, whatever else it is.
      if (expected !== 'no JSON') return assert.deepEqual(actual, expected);
      assert.ok(actual === 'no JSON' || JSON.stringify(actual).includes('null'), text);
    },
  );
  fc.assert(property, runs(300));
});

test('escaped slashes are read, in base64 as well', () => {
  const bytes = Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
  const text = `{"data":[{"b64_json":"${bytes.toString('base64').replaceAll('/', '\\/')}"}]}`;
  for (let at = 0; at < text.length; at += 1) {
    assert.deepEqual(read(text, [at], 'data'), { elements: [{ b64_json: bytes }], rest: { data: [] } });
  }
});

test('base64 is read whichever of its characters are written as escapes, and however it is cut', () => {
  const escaped = fc.tuple(base64, fc.array(fc.constantFrom('as it is', 'upper', 'lower'), { minLength: 9 }));
  const property = fc.property(escaped, places, ([text, ways], at) => {
    const written = [...text].map((character, place) => {
      const hex = character.charCodeAt(0).toString(16).padStart(4, '0');
      const way = ways[place % ways.length];
      return way === 'as it is' ? character : `\\u${way === 'upper' ? hex.toUpperCase() : hex}`;
    });
    const json = `{"data":[{"b64_json":"${written.join('')}"}]}`;
    assert.deepEqual(read(json, at, 'data'), parsed(json, 'data'));
  });
  fc.assert(property, runs(300));
  for (const odd of ['QUJD\\\\u0041', 'QUJ\\u00e4', 'QUJD\\\\/', '\\u005cu0051UJD', 'QUJ\\n']) {
    const json = `{"data":[{"b64_json":"${odd}"}]}`;
    for (let at = 0; at < json.length; at += 1)
      assert.deepEqual(read(json, [at], 'data'), parsed(json, 'data'));
  }
});

test('a list that comes again is left as it is, and takes no longer than other text', {
  timeout: 20_000,
}, () => {
  const text = `{"data":[1],${'"data":[],'.repeat(10_000)}"data":[{"b64_json":"QUJD"}],"usage":3}`;
  assert.deepEqual(read(text, [], 'data'), {
    elements: [1],
    rest: { data: [{ b64_json: Buffer.from('ABC') }], usage: 3 },
  });
});

test('a text with more pictures than any answer has is none, before they fill memory', () => {
  const many = (count: number) => `{"b64_json":[${Array(count).fill('"QUJD"').join()}]}`;
  assert.notEqual(read(many(100)), 'no JSON');
  assert.equal(read(many(101)), 'no JSON');
});

test('an element is handed over with the byte that ends it', () => {
  const json = createPictureJson({ picture: 'b64_json', list: 'data' });
  assert.deepEqual(json.write(Buffer.from('{"data":[{"b64_json":"QUJD"}')), []);
  assert.deepEqual(json.write(Buffer.from(',')), [{ b64_json: Buffer.from('ABC') }]);
  assert.deepEqual(json.write(Buffer.from('7]')), [7]);
});

test('nothing is handed over from what was no JSON from its first byte on', () => {
  assert.equal(read('\ufeff{"data":[{"b64_json":"QUJD"}]}', [], 'data'), 'no JSON');
  assert.equal(read('x{"data":[{"b64_json":"QUJD"}]}', [], 'data'), 'no JSON');
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
  const text = `{"b64_json":"${'QUJD'.repeat(40)}QUI=QUJD"}`;
  for (let at = 0; at < text.length; at += 1) {
    assert.deepEqual(read(text, [at]), { elements: [], rest: { b64_json: null } });
  }
});

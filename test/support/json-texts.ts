/** JSON as no serializer writes it, whole and broken: for holding readers of it against `JSON.parse`. */
import fc, { type Arbitrary } from 'fast-check';

const space = fc.string({ unit: fc.constantFrom(' ', '\t', '\n', '\r'), maxLength: 2 });

/** Texts side by side, with white space before, between and behind them. */
function spaced(...parts: readonly Arbitrary<string>[]): Arbitrary<string> {
  const spacedParts = parts.flatMap((part) => [space, part]);
  return fc.tuple(...spacedParts, space).map((texts) => texts.join(''));
}

function listed(open: string, item: Arbitrary<string>, close: string): Arbitrary<string> {
  const items = fc.array(item, { maxLength: 4 }).map((texts) => texts.join(','));
  return spaced(fc.constant(open), items, fc.constant(close));
}

const hex = (code: number) => code.toString(16).padStart(4, '0');
/** A character as an escape in lower or in upper case, or as it is. */
const asEscape = fc.constantFrom(
  (character: string) => character,
  (character: string) => `\\u${hex(character.charCodeAt(0))}`,
  (character: string) => `\\u${hex(character.charCodeAt(0)).toUpperCase()}`,
);
/** ASCII, any of it written as escapes. */
function escaped(text: Arbitrary<string>): Arbitrary<string> {
  const ways = fc.array(asEscape, { minLength: 1, maxLength: 9 });
  const mixed = fc
    .tuple(text, ways)
    .map(([plain, how]) => [...plain].map((character, at) => how[at % how.length]?.(character)).join(''));
  const slashes = text.map((plain) => plain.replaceAll('/', '\\/'));
  return fc.oneof({ weight: 3, arbitrary: text }, slashes, mixed);
}

const piece = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 3 }).map((text) => JSON.stringify(text).slice(1, -1)),
  fc.constantFrom(
    '\\"',
    '\\\\',
    '\\/',
    '\\b',
    '\\n',
    '\\u0000',
    '\\u0022',
    '\\u005c',
    '{',
    '[',
    ',',
    ':',
    ']',
    '}',
  ),
  // Half a pair of surrogates, a whole one, and one the wrong way round.
  fc.constantFrom('\\ud83d', '\\uDE00', '\\ud83d\\ude00', '\\ude00\\ud83d', '\u{1f600}', '\u00a0', '\ufeff'),
);
const plainText = fc.array(piece, { maxLength: 4 }).map((pieces) => pieces.join(''));

const base64 = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes).toString('base64'));
const dataUrl = fc
  .tuple(fc.constantFrom('data:image/png;base64,', 'data:;base64,', 'data:image/svg+xml;base64,'), base64)
  .map((parts) => parts.join(''));
// Next to base64, and what it is confused with.
const nearBase64 = fc.constantFrom('QUI=QUI=', '_-_-', '=', 'A', 'QUJ', 'QUJD QUJD', 'QUJDé', 'data:,QUJD');
const pictureText = fc.oneof(
  { weight: 5, arbitrary: escaped(base64) },
  escaped(dataUrl),
  escaped(nearBase64),
  plainText,
  fc.constant(''),
);

const quoted = (text: Arbitrary<string>) => text.map((inside) => `"${inside}"`);
const names = [
  'b64_json',
  'data',
  '__proto__',
  'constructor',
  'toJSON',
  'b64',
  '',
  `b64_json${'x'.repeat(70)}`,
];
const name = quoted(fc.oneof({ weight: 3, arbitrary: escaped(fc.constantFrom(...names)) }, plainText));
const number = fc.oneof(
  fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => JSON.stringify(value)),
  fc.constantFrom(
    '-0',
    '1e400',
    '-1E+400',
    '1e-400',
    '9007199254740993',
    '0.10',
    `1${'0'.repeat(400)}`,
    '2E-7',
  ),
);
const leaf = fc.oneof(number, fc.constantFrom('true', 'false', 'null'), quoted(plainText));
const picture = quoted(pictureText);

const { value } = fc.letrec<{ value: string }>((tie) => {
  const pictured = spaced(
    fc.constant('"b64_json"'),
    fc.constant(':'),
    fc.oneof(picture, listed('[', picture, ']')),
  );
  const member = fc.oneof(pictured, spaced(name, fc.constant(':'), tie('value')));
  return {
    value: fc.oneof(
      { maxDepth: 5, withCrossShrink: true },
      leaf,
      picture,
      listed('[', tie('value'), ']'),
      listed('{', member, '}'),
      listed('{', pictured, '}'),
    ),
  };
});

const member = spaced(name, fc.constant(':'), value);
const data = spaced(fc.constant('"data"'), fc.constant(':'), listed('[', value, ']'));
/** An object with a list of `data` among its members, which may have that name, too. */
const answer = fc
  .tuple(fc.array(member, { maxLength: 2 }), data, fc.array(member, { maxLength: 2 }))
  .map(([before, list, behind]) => `{${[...before, list, ...behind].join(',')}}`);

/** In so many brackets that some are deeper than is read. */
const deep = fc
  .tuple(value, fc.integer({ min: 0, max: 70 }), fc.boolean())
  .map(
    ([inside, depth, isList]) =>
      `${(isList ? '[' : '{"data":').repeat(depth)}${inside}${(isList ? ']' : '}').repeat(depth)}`,
  );

/** JSON with pictures in it at expected and unexpected places, spaced, escaped and repeated as JSON allows. */
export const jsonTexts: Arbitrary<string> = fc.oneof(
  { weight: 4, arbitrary: answer },
  { weight: 3, arbitrary: value },
  deep,
);

const ODD_BYTES = [
  ...[
    '',
    ' ',
    ',',
    '"',
    '\\',
    '\\u',
    '[',
    ']',
    '{',
    '}',
    ':',
    '0',
    '-',
    'x',
    'null',
    '\0',
    '\u00a0',
    '\ufeff',
  ].map((text) => Buffer.from(text)),
  // Cut sequences of UTF-8, half a surrogate in it, and bytes that it does not have.
  ...['c3', 'e282', 'f09f98', 'eda080', '80', 'ff'].map((bytes) => Buffer.from(bytes, 'hex')),
];

const oddBytes = fc.constantFrom(...ODD_BYTES);
const change = fc.record({
  at: fc.nat(),
  remove: fc.integer({ min: 0, max: 3 }),
  put: fc.oneof({ weight: 3, arbitrary: oddBytes }, fc.uint8Array({ maxLength: 3 })),
});
const seldom = fc.oneof({ weight: 6, arbitrary: fc.constant(Buffer.alloc(0)) }, oddBytes);
/** How much is left. */
const share = fc.oneof({ weight: 6, arbitrary: fc.constant(1) }, fc.double({ min: 0, max: 1, noNaN: true }));

/** The same, broken in a few places, cut short, or with something before or behind it; some are whole all the same. */
export const brokenJson: Arbitrary<Buffer> = fc
  .tuple(jsonTexts, fc.array(change, { maxLength: 3 }), share, seldom, seldom)
  .map(([text, changes, kept, before, behind]) => {
    let bytes = Buffer.from(text);
    for (const { at, remove, put } of changes) {
      const start = at % (bytes.length + 1);
      bytes = Buffer.concat([bytes.subarray(0, start), put, bytes.subarray(start + remove)]);
    }
    return Buffer.concat([before, bytes.subarray(0, Math.ceil(kept * bytes.length)), behind]);
  });

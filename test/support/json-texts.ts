/** JSON as no serializer writes it, and what it means: for holding readers of JSON against `JSON.parse`. */
import fc, { type Arbitrary } from 'fast-check';

/** What is read of a text, or that it is no JSON. */
export type Reading = { readonly elements: readonly unknown[]; readonly rest: unknown } | 'no JSON';

const DEEPEST = 64;
const MOST_PICTURES = 100;
const PICTURE = 'b64_json';
// Whatever is between quotes, well written or not.
const STRING = /"(?:[^"\\]|\\[\s\S])*"/g;
const TOKEN = new RegExp(`[{}[\\],:]|${STRING.source}|[^\\s{}[\\],:"]+`, 'g');
const BASE64 = /^(?:[A-Za-z\d+/]{4})*(?:[A-Za-z\d+/]{2}==|[A-Za-z\d+/]{3}=)?$/;

/**
 * What a text is to be read as: what `JSON.parse` makes of it, with texts of `b64_json` decoded, and with the elements of
 * the outermost object's first `list` apart. Names count as they are written.
 */
export function readingOf(text: string, list?: string): Reading {
  const whole = parsed(text);
  if (whole === undefined) return 'no JSON';
  const tokens = text.match(TOKEN) ?? [];
  let at = 0;
  let elements: readonly unknown[] | undefined;
  let pictures = 0;
  let deepest = 0;

  function items(closer: string, item: () => void): void {
    for (at += 1; tokens[at] !== closer; ) {
      item();
      if (tokens[at] === ',') at += 1;
    }
    at += 1;
  }

  function valueAt(name: string, depth: number): unknown {
    const token = tokens[at] ?? '';
    deepest = Math.max(deepest, depth + (token === '[' || token === '{' ? 1 : 0));
    if (token === '[') {
      const isList = depth === 1 && name === list && elements === undefined;
      const values: unknown[] = [];
      if (isList) elements = values;
      items(']', () => values.push(valueAt(name, depth + 1)));
      return isList ? [] : values;
    }
    if (token === '{') {
      const entries: (readonly [string, unknown])[] = [];
      items('}', () => {
        const written = tokens[at] ?? '';
        at += 2;
        entries.push([JSON.parse(written), valueAt(written.slice(1, -1), depth + 1)]);
      });
      return Object.fromEntries(entries);
    }
    at += 1;
    const value: unknown = JSON.parse(token);
    if (typeof value !== 'string' || name !== PICTURE) return value;
    pictures += 1;
    return pictureOf(value);
  }

  const rest = valueAt('', 0);
  if (deepest > DEEPEST || pictures > MOST_PICTURES) return 'no JSON';
  return { elements: elements ?? [], rest };
}

/** The text with what is no string as JSON writes them made empty, which no picture can be read from either. */
export function withoutBadStrings(text: string): string {
  return text.replace(STRING, (string) => (parsed(string) === undefined ? '""' : string));
}

function parsed(text: string): { readonly value: unknown } | undefined {
  try {
    return { value: JSON.parse(text) };
  } catch {
    return undefined;
  }
}

/** The bytes a text stands for, `null` where it is no base64. */
function pictureOf(text: string): Buffer | null {
  const base64 = text.replace(/^data:[\w/+.-]{0,64};base64,/, '');
  return base64 !== '' && BASE64.test(base64) ? Buffer.from(base64, 'base64') : null;
}

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

/** What JSON with pictures in it means: for holding readers of it against `JSON.parse`. */

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

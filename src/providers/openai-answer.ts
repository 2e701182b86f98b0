/** From OpenAI's answer to pictures. Nothing in it is believed: servers that speak this protocol are many. */
import { decodeBase64 } from '../core/base64.js';
import type { EncodedImage } from '../core/image.js';
import type { ImageEvent, TokenUsage } from '../core/provider.js';
import { ProviderError } from '../errors.js';

/** What was asked, as far as reading the answer depends on it. */
export interface Expected {
  /** Pictures asked for; those beyond are dropped unread. */
  readonly n: number;
  /** The media type of pictures of which the answer does not tell. */
  readonly type: string;
}

/**
 * Reads an answer and yields its pictures one by one; returns the tokens it reports. Pictures that are missing do
 * not arrive. One that is unreadable fails the call with `shape`, but only after the good ones were yielded: they
 * were paid for.
 */
export async function* readImages(
  response: Response,
  expected: Expected,
): AsyncGenerator<ImageEvent, TokenUsage | undefined, undefined> {
  // Not `text()`, which swallows a byte order mark.
  const answer = parseObject(Buffer.from(await response.arrayBuffer()).toString('utf8'));
  const items: unknown[] | undefined = Array.isArray(answer?.data) ? answer.data : undefined;
  if (answer === undefined || items === undefined) throw shapeError('is not a list of pictures', response);
  const type = typeOf(answer) ?? expected.type;
  let unreadable = 0;
  for (let index = 0; index < Math.min(items.length, expected.n); index += 1) {
    const item = items[index];
    // The base64 text is the larger half of a picture: let it go before the next one.
    items[index] = undefined;
    const picture = isObject(item) ? readPicture(item, type) : undefined;
    if (picture === undefined) {
      unreadable += 1;
      continue;
    }
    yield { type: 'image', index, ...picture };
  }
  if (unreadable > 0) throw shapeError('holds a picture that cannot be read', response);
  return readUsage(answer.usage);
}

/** Any JSON object. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** True for an object that is no list. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Parses a JSON object; `undefined` for anything else. */
export function parseObject(text: string): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** The failure of an answer that is not what OpenAI documents. */
export function shapeError(what: string, response: Response): ProviderError {
  return new ProviderError('shape', `The provider's answer ${what}.`, {
    billed: 'unknown',
    status: response.status,
  });
}

const TYPES: ReadonlyMap<unknown, string> = new Map([
  ['png', 'image/png'],
  ['jpeg', 'image/jpeg'],
  ['webp', 'image/webp'],
]);

/** The media type an answer claims for its pictures. */
export function typeOf({ output_format: format }: JsonObject): string | undefined {
  return TYPES.get(format);
}

/** A picture as it lies in an answer, and the prompt as it was rewritten; `undefined` for one that is unreadable. */
export function readPicture(
  item: JsonObject,
  type: string,
): { readonly image: EncodedImage; readonly revisedPrompt: string | undefined } | undefined {
  const { b64_json: text, revised_prompt: revised } = item;
  const bytes = typeof text === 'string' ? decodeBase64(text) : undefined;
  if (bytes === undefined) return undefined;
  return { image: { bytes, type }, revisedPrompt: typeof revised === 'string' ? revised : undefined };
}

/** Passes on what is reported, however implausible; what is no number becomes NaN, which nobody mistakes for one. */
export function readUsage(usage: unknown): TokenUsage | undefined {
  if (!isObject(usage)) return undefined;
  const { input_tokens_details: input, output_tokens_details: output } = usage;
  return {
    textIn: count(isObject(input) ? input.text_tokens : usage.input_tokens),
    imageIn: isObject(input) ? count(input.image_tokens) : 0,
    imageOut: count(isObject(output) ? output.image_tokens : usage.output_tokens),
    textOut: isObject(output) ? count(output.text_tokens) : undefined,
  };
}

function count(value: unknown): number {
  return typeof value === 'number' ? value : Number.NaN;
}

/** From OpenAI's answer to pictures. Nothing in it is believed: servers that speak this protocol are many. */
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
  const answer = await readObject(response);
  const items: unknown[] | undefined = Array.isArray(answer?.data) ? answer.data : undefined;
  if (answer === undefined || items === undefined) throw shapeError('is not a list of pictures', response);
  const type = typeOf(answer.output_format) ?? expected.type;
  let unreadable = 0;
  for (let index = 0; index < Math.min(items.length, expected.n); index += 1) {
    const item = items[index];
    // The base64 text is the larger half of a picture: let it go before the next one.
    items[index] = undefined;
    const bytes = isObject(item) ? decodeBase64(item.b64_json) : undefined;
    if (bytes === undefined) {
      unreadable += 1;
      continue;
    }
    const { revised_prompt: revised } = item as { readonly revised_prompt?: unknown };
    const revisedPrompt = typeof revised === 'string' ? revised : undefined;
    yield { type: 'image', index, image: { bytes, type }, revisedPrompt };
  }
  if (unreadable > 0) throw shapeError('holds a picture that cannot be read', response);
  return readUsage(answer.usage);
}

type JsonObject = Readonly<Record<string, unknown>>;

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

async function readObject(response: Response): Promise<JsonObject | undefined> {
  // Not `text()`, which swallows a byte order mark.
  const text = Buffer.from(await response.arrayBuffer()).toString('utf8');
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function shapeError(what: string, response: Response): ProviderError {
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

function typeOf(format: unknown): string | undefined {
  return TYPES.get(format);
}

/**
 * Decodes canonical base64 only. Node skips whatever it does not know, takes two alphabets, and reads characters
 * beyond Latin-1 by their low byte; comparing lengths finds all of it at a fraction of what a pattern costs.
 */
function decodeBase64(text: unknown): Buffer | undefined {
  if (typeof text !== 'string' || text.length === 0 || text.length % 4 !== 0) return undefined;
  if (Buffer.byteLength(text) !== text.length || text.includes('-') || text.includes('_')) return undefined;
  const padding = text.endsWith('==') ? 2 : text.endsWith('=') ? 1 : 0;
  const bytes = Buffer.from(text, 'base64');
  return bytes.length === (text.length / 4) * 3 - padding ? bytes : undefined;
}

/** Passes on what is reported, however implausible; what is no number becomes NaN, which nobody mistakes for one. */
function readUsage(usage: unknown): TokenUsage | undefined {
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

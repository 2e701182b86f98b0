/** From OpenAI's answer to pictures. Nothing in it is believed: servers that speak this protocol are many. */
import { giveBack } from '../core/memory.js';
import type { ImageEvent, TokenUsage } from '../core/provider.js';
import { ProviderError } from '../errors.js';
import { isObject, type JsonObject } from './json-value.js';
import { readPictureAnswer } from './picture-answer.js';

/** What was asked, as far as reading the answer depends on it. */
export interface Expected {
  /** Pictures asked for; those beyond are dropped unread. */
  readonly n: number;
  /** The media type that was asked for. What the answer says of it may come after its pictures. */
  readonly type: string;
}

/**
 * Reads an answer as it arrives and yields its pictures one by one; returns the tokens it reports. Pictures that are
 * missing do not arrive. One that is unreadable fails the call with `shape`, but only after the good ones were yielded:
 * they were paid for.
 */
export async function* readImages(
  response: Response,
  { n, type }: Expected,
): AsyncGenerator<ImageEvent, TokenUsage | undefined, undefined> {
  let index = -1;
  let isUnreadable = false;
  const malformed = () => shapeError('is not a list of pictures', response);
  const answer = readPictureAnswer(response, { picture: 'b64_json', list: 'data', count: n, malformed });
  for await (const item of answer.elements) {
    index += 1;
    if (index >= n) continue;
    const picture = isObject(item) ? readPicture(item, type) : undefined;
    if (picture === undefined) isUnreadable = true;
    else yield { type: 'image', index, ...picture };
  }
  const rest = answer.rest();
  if (!isObject(rest) || !Array.isArray(rest.data)) throw malformed();
  if (isUnreadable) throw shapeError('holds a picture that cannot be read', response);
  return readUsage(rest.usage);
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

/** The media type an event claims for its picture. */
export function typeOf({ output_format: format }: JsonObject): string | undefined {
  return TYPES.get(format);
}

/** A picture as it lies in an answer, and the prompt as it was rewritten; `undefined` for one that is unreadable. */
export function readPicture(item: JsonObject, type: string): Omit<ImageEvent, 'type' | 'index'> | undefined {
  const { b64_json: bytes, revised_prompt: revised } = item;
  if (!Buffer.isBuffer(bytes)) return undefined;
  return {
    image: { bytes, type },
    revisedPrompt: typeof revised === 'string' ? revised : undefined,
    release: () => giveBack(bytes),
  };
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

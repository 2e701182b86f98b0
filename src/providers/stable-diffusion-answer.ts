/** Reading answers with pictures in them, which are as `createPictureJson` has them. */
import type { ProviderError } from '../errors.js';
import { isObject } from './json-value.js';
import { readPictureAnswer } from './picture-answer.js';
import { shapeError } from './stable-diffusion-errors.js';

/** Where an answer has its pictures. */
export interface PicturePlace {
  /** The property of the answer that is a list. */
  readonly list: string;
  /** The property of the list's elements that is a picture. */
  readonly picture: string;
}

/**
 * Reads an answer as it arrives and yields the elements of its list one by one. Throws a `ProviderError` for one that
 * has no list, if need be at its end.
 */
export async function* readList(
  response: Response,
  { list, picture }: PicturePlace,
): AsyncGenerator<unknown, void, undefined> {
  const answer = readPictureAnswer(response, { picture, list, malformed });
  yield* answer.elements;
  const rest = answer.rest();
  if (!isObject(rest) || !Array.isArray(rest[list])) throw shapeError('is not a list of pictures');
}

/**
 * Reads an answer to its end; the property named is a picture, or a list of pictures. Throws a `ProviderError` for what
 * is no JSON.
 */
export async function readWhole(response: Response, picture: string): Promise<unknown> {
  const answer = readPictureAnswer(response, { picture, malformed });
  for await (const _ of answer.elements);
  return answer.rest();
}

function malformed(): ProviderError {
  return shapeError('is not JSON');
}

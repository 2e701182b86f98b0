/** Reading answers with pictures in them, which are as `createPictureJson` has them. */

import { isObject } from './json-value.js';
import { createPictureJson } from './picture-json.js';
import { shapeError } from './stable-diffusion-errors.js';
import { bodyOf } from './upstream.js';

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
  const answer = createPictureJson({ picture, list });
  for await (const chunk of bodyOf(response)) yield* parsed(() => answer.write(chunk));
  const rest = parsed(answer.end);
  if (!isObject(rest) || !Array.isArray(rest[list])) throw shapeError('is not a list of pictures');
}

/**
 * Reads an answer to its end; the property named is a picture, or a list of pictures. Throws a `ProviderError` for what
 * is no JSON.
 */
export async function readWhole(response: Response, picture: string): Promise<unknown> {
  const answer = createPictureJson({ picture });
  for await (const chunk of bodyOf(response)) parsed(() => answer.write(chunk));
  return parsed(answer.end);
}

function parsed<T>(step: () => T): T {
  try {
    return step();
  } catch {
    throw shapeError('is not JSON');
  }
}
